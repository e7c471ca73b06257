package store

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Teller is a Handle that tells which of its records have changed.
type Teller interface {
	Handle

	// Changes tells of records by their names.
	Changes() *Changes

	// Name is what Changes calls the record of ours under key. What others keep in
	// the same place has its key as its name.
	Name(key string) string

	// Watch makes Changes tell of all names that begin with prefix as well.
	Watch(prefix string)
}

// Changes tells whether records have changed since they were read. What was made
// of them can so be kept, and costs the store nothing, until they do.
//
// It knows no records, but keeps a number of stamps, and a name has the one that
// its hash picks. A stamp is taken before a record is read; news of the record
// replaces it. So news that overtakes the read is not lost, and two names that
// share a stamp do no harm but a read too many.
type Changes struct {
	id     uint32
	seed   maphash.Seed
	stamps []atomic.Uint32 // the first stands for all names
	until  atomic.Int64    // when trust ends, by the clock of Now
	told   atomic.Uint64   // how often there was news

	mu       sync.Mutex // guards writing of prefixes
	prefixes atomic.Pointer[[]string]
}

// changesSlots is how many stamps there are: as many as there are records in a
// cache of usual size, so that news of one seldom hits another.
const changesSlots = 1 << 17

// changes are all that there have been, by their ids, which are never given twice;
// nil: ended.
var (
	changesMu sync.Mutex // guards writing
	changes   atomic.Pointer[[]*Changes]
)

// NewChanges makes one that tells of names with these prefixes. Nothing it says
// can be relied on before the first Trust.
func NewChanges(prefixes ...string) *Changes {
	c := &Changes{seed: maphash.MakeSeed(), stamps: make([]atomic.Uint32, changesSlots)}
	c.prefixes.Store(&prefixes)
	changesMu.Lock()
	defer changesMu.Unlock()
	var all []*Changes
	if known := changes.Load(); known != nil {
		all = append(all, *known...)
	}
	c.id = uint32(len(all)) //nolint:gosec // one a store
	all = append(all, c)
	changes.Store(&all)
	return c
}

// End makes all that was read worth nothing.
func (c *Changes) End() {
	changesMu.Lock()
	defer changesMu.Unlock()
	all := append([]*Changes(nil), *changes.Load()...)
	all[c.id] = nil
	changes.Store(&all)
}

// Forever is an end of trust that never comes.
const Forever = time.Duration(1<<63 - 1)

var started = time.Now()

// Now is the time since the process began, by the clock that nobody sets.
func Now() time.Duration { return time.Since(started) }

// Trust says that all news of what happened so far has been told, and that it can be
// relied on until then, by the clock of Now.
func (c *Changes) Trust(until time.Duration) { c.until.Store(int64(until)) }

// Trusted reports whether it can be relied on.
func (c *Changes) Trusted() bool { return Now() < time.Duration(c.until.Load()) }

// Changed tells that a record may have changed.
func (c *Changes) Changed(name string) {
	c.stamps[c.slot(name)].Add(1)
	c.told.Add(1)
}

// AllChanged tells that any record may have changed.
func (c *Changes) AllChanged() {
	c.stamps[0].Add(1)
	c.told.Add(1)
}

// Told is how often there was news, by Changed or AllChanged.
func (c *Changes) Told() uint64 { return c.told.Load() }

func (c *Changes) slot(name string) uint32 {
	return 1 + uint32(maphash.String(c.seed, name)%(changesSlots-1)) //nolint:gosec // is smaller
}

// Watch adds a prefix, and returns those that there are then, of which none begins
// with another; nil if that is no change.
func (c *Changes) Watch(prefix string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.covers(prefix) {
		return nil
	}
	list := []string{prefix}
	for _, p := range *c.prefixes.Load() {
		if !strings.HasPrefix(p, prefix) {
			list = append(list, p)
		}
	}
	c.prefixes.Store(&list)
	return list
}

// Prefixes are those of the names that it tells of.
func (c *Changes) Prefixes() []string { return *c.prefixes.Load() }

func (c *Changes) covers(name string) bool {
	for _, prefix := range *c.prefixes.Load() {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Stamp is the state of a record before it was read.
type Stamp struct {
	// Changes is the id of those that tell of the record.
	Changes uint32

	slot, of, all uint32
}

// Stamp takes a record's stamp. It must be taken before the record is read.
func (c *Changes) Stamp(name string) Stamp {
	slot := c.slot(name)
	return Stamp{c.id, slot, c.stamps[slot].Load(), c.stamps[0].Load()}
}

// Current reports whether the record has not changed since, and whether that can be
// relied on at a time by the clock of Now.
func (s Stamp) Current(now time.Duration) bool {
	all := *changes.Load()
	if int(s.Changes) >= len(all) || all[s.Changes] == nil {
		return false
	}
	c := all[s.Changes]
	return now < time.Duration(c.until.Load()) && c.stamps[s.slot].Load() == s.of && c.stamps[0].Load() == s.all
}

// StampSize is the size of a stamp in bytes.
const StampSize = 16

// AppendBinary appends a stamp in StampSize bytes.
func (s Stamp) AppendBinary(to []byte) ([]byte, error) {
	for _, part := range []uint32{s.Changes, s.slot, s.of, s.all} {
		to = binary.LittleEndian.AppendUint32(to, part)
	}
	return to, nil
}

// StampFrom reads what AppendBinary wrote.
func StampFrom(data []byte) Stamp {
	part := func(i int) uint32 { return binary.LittleEndian.Uint32(data[4*i:]) }
	return Stamp{part(0), part(1), part(2), part(3)}
}

// Reads collects which records a computation has read. It may be shared by
// goroutines.
type Reads struct {
	mu      sync.Mutex // guards what follows
	stamps  []Stamp
	ends    time.Time
	unknown bool
}

type readsKey struct{}

// Collecting gives a context in which all reads are collected.
func Collecting(ctx context.Context) (context.Context, *Reads) {
	r := new(Reads)
	return context.WithValue(ctx, readsKey{}, r), r
}

func readsOf(ctx context.Context) *Reads {
	r, _ := ctx.Value(readsKey{}).(*Reads)
	return r
}

// Reading notes that the record called name is about to be read.
func (c *Changes) Reading(ctx context.Context, name string) {
	r := readsOf(ctx)
	switch {
	case r == nil:
	case !c.covers(name):
		r.Unknown()
	default:
		stamp := c.Stamp(name)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stamps = append(r.stamps, stamp)
	}
}

// ReadingUnknown notes a read of what nobody tells changes of.
func ReadingUnknown(ctx context.Context) {
	if r := readsOf(ctx); r != nil {
		r.Unknown()
	}
}

// ReadUntil notes that a record that was read ends then.
func ReadUntil(ctx context.Context, end time.Time) {
	if r := readsOf(ctx); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ends.IsZero() || end.Before(r.ends) {
			r.ends = end
		}
	}
}

// Unknown notes that not all is known of what was read.
func (r *Reads) Unknown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown = true
}

// Known returns the stamps of what was read, and when the first of it ends, zero:
// never. It is not ok if not all of it is known.
func (r *Reads) Known() (stamps []Stamp, ends time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stamps, r.ends, !r.unknown
}
