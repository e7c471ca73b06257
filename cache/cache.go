// Package cache keeps what was found out, for as long as it is true: until a record
// that it rests on changes, until it ends by itself, and until it is old. Which
// records those are, store.Collecting finds out by itself.
//
// The entries of a million users are no burden on the garbage collector, which sees
// a few thousand slabs without pointers.
package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Key names what was found out: a SHA-256, so that nobody can choose one.
type Key [sha256.Size]byte

// Entry is what was found out.
type Entry struct {
	// Value as it was put in. It is shared and never changes.
	Value string

	// Basis is a number of the caller's own, which says what else Value rests on.
	Basis uint64
}

// Cache keeps entries within a bound of bytes, whatever is put in.
//
// Each shard has two generations. What is new, or is used again, goes into the young
// one; when that is full it becomes the old one, and the old one is dropped: about as
// good as least-recently-used, without a list to keep.
type Cache struct {
	shards [shards]shard
	most   int // bytes in a generation of a shard

	hits, misses, stale atomic.Uint64
}

const (
	shards = 16

	// BytesPerEntry is what an entry is reckoned to take, on average.
	BytesPerEntry = 512

	slabSize  = 16 << 10
	maxEntry  = slabSize
	maxStamps = 31
)

type shard struct {
	mu         sync.Mutex // guards what follows
	young, old generation
}

// generation is entries one after the other in slabs, and where each stands. What
// has been written into a slab stays as it is for good: so values are handed out
// without a copy.
type generation struct {
	index map[uint64]uint32 // from the beginning of a key to where its entry begins
	slabs [][]byte
}

// New makes a cache that takes BytesPerEntry for each of entries at most.
func New(entries int) *Cache {
	return &Cache{most: max(entries*BytesPerEntry/(2*shards), slabSize)}
}

// Destruct has nothing to close; it lets the cache live in a pool of what is shared.
func (*Cache) Destruct() error { return nil }

// An entry is this head, a stamp for each record it rests on, and the value.
const (
	atKey   = 0           // the rest of the key, behind what is in the index
	atOld   = atKey + 24  // when it is old, by store.Now
	atEnd   = atOld + 8   // when it ends, in Unix nanoseconds; 0: never
	atBasis = atEnd + 8   //
	atValue = atBasis + 8 // length of the value
	atCount = atValue + 2 // number of stamps
	headLen = atCount + 1
)

// Get returns what was found out, if it is still true at now.
func (c *Cache) Get(key Key, now time.Time) (Entry, bool) {
	entry, found, current := c.shard(key).get(key, now, c.most)
	switch {
	case current:
		c.hits.Add(1)
	case found:
		c.stale.Add(1)
	default:
		c.misses.Add(1)
	}
	return entry, current
}

// Knew reports whether there is an entry, be it still true or not.
func (c *Cache) Knew(key Key) bool {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.young.find(key) != nil || s.old.find(key) != nil
}

// Put keeps what was found out until old, by store.Now, or until end at the latest,
// where that is not zero, and while all stamps are current. It does nothing where it
// is too large, or rests on too much.
func (c *Cache) Put(key Key, entry Entry, stamps []store.Stamp, old time.Duration, end time.Time) {
	size := headLen + len(stamps)*store.StampSize + len(entry.Value)
	if size > maxEntry || len(stamps) > maxStamps {
		return
	}
	data := make([]byte, 0, size)
	data = append(data, key[8:]...)
	data = binary.LittleEndian.AppendUint64(data, uint64(old)) //nolint:gosec // after the start
	var ends uint64
	if !end.IsZero() {
		ends = uint64(end.UnixNano()) //nolint:gosec // after 1970
	}
	data = binary.LittleEndian.AppendUint64(data, ends)
	data = binary.LittleEndian.AppendUint64(data, entry.Basis)
	data = binary.LittleEndian.AppendUint16(data, uint16(len(entry.Value))) //nolint:gosec // at most maxEntry
	data = append(data, byte(len(stamps)))                                  //nolint:gosec // at most maxStamps
	for _, stamp := range stamps {
		data, _ = stamp.AppendBinary(data) // never fails
	}
	data = append(data, entry.Value...)

	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(prefix(key), data, c.most)
}

func (c *Cache) shard(key Key) *shard { return &c.shards[key[31]%shards] }

// prefix is the part of a key that the index has. Two keys that share it take each
// other's place.
func prefix(key Key) uint64 { return binary.LittleEndian.Uint64(key[:8]) }

func (s *shard) get(key Key, now time.Time, most int) (entry Entry, found, current bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := s.young.find(key)
	aged := data == nil
	if aged {
		if data = s.old.find(key); data == nil {
			return entry, false, false
		}
	}
	stamps := int(data[atCount])
	length := int(binary.LittleEndian.Uint16(data[atValue:]))
	if !isCurrent(data, stamps, now) {
		return entry, true, false
	}
	begin := headLen + stamps*store.StampSize
	if aged {
		data = s.put(prefix(key), data[:begin+length], most)
	}
	entry.Basis = binary.LittleEndian.Uint64(data[atBasis:])
	if length > 0 {
		entry.Value = unsafe.String(&data[begin], length) //nolint:gosec // what is in a slab never changes
	}
	return entry, true, true
}

func isCurrent(data []byte, stamps int, now time.Time) bool {
	tick := store.Now()
	if tick >= time.Duration(binary.LittleEndian.Uint64(data[atOld:])) { //nolint:gosec // a duration before
		return false
	}
	if end := int64(binary.LittleEndian.Uint64(data[atEnd:])); end != 0 && now.UnixNano() >= end { //nolint:gosec // a time before
		return false
	}
	for i := range stamps {
		if !store.StampFrom(data[headLen+i*store.StampSize:]).Current(tick) {
			return false
		}
	}
	return true
}

// put adds to the young generation, and returns the entry as it stands there. s.mu
// is held.
func (s *shard) put(key uint64, data []byte, most int) []byte {
	if len(s.young.slabs)*slabSize >= most && !s.young.fits(len(data)) {
		s.old, s.young = s.young, generation{}
	}
	return s.young.add(key, data)
}

// find returns an entry, and what follows it in its slab; nil if there is none.
func (g *generation) find(key Key) []byte {
	place, ok := g.index[prefix(key)]
	if !ok {
		return nil
	}
	data := g.slabs[place/slabSize][place%slabSize:]
	if string(data[:atOld]) != string(key[8:]) {
		return nil
	}
	return data
}

// fits reports whether there is room for an entry in the last slab.
func (g *generation) fits(size int) bool {
	return len(g.slabs) > 0 && len(g.slabs[len(g.slabs)-1])+size <= slabSize
}

func (g *generation) add(key uint64, data []byte) []byte {
	if g.index == nil {
		g.index = make(map[uint64]uint32)
	}
	if !g.fits(len(data)) {
		g.slabs = append(g.slabs, make([]byte, 0, slabSize))
	}
	last := len(g.slabs) - 1
	begin := len(g.slabs[last])
	g.slabs[last] = append(g.slabs[last], data...)
	g.index[key] = uint32(last*slabSize + begin) //nolint:gosec // a generation is far smaller than 4 GiB
	return g.slabs[last][begin:]
}

// Clear forgets everything, and returns how many entries that were.
func (c *Cache) Clear() int {
	forgotten := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		forgotten += len(s.young.index) + len(s.old.index)
		s.young, s.old = generation{}, generation{}
		s.mu.Unlock()
	}
	return forgotten
}

// Stats says how a cache fares.
type Stats struct {
	// Hits were answered. Stale ones were found, and not true any more. Misses were
	// not found.
	Hits, Stale, Misses uint64

	// Entries is how many there are, those included that are not true any more.
	Entries int

	// Bytes that the entries take, without the index.
	Bytes int
}

// Stats counts.
func (c *Cache) Stats() Stats {
	stats := Stats{Hits: c.hits.Load(), Stale: c.stale.Load(), Misses: c.misses.Load()}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, g := range []generation{s.young, s.old} {
			stats.Entries += len(g.index)
			stats.Bytes += len(g.slabs) * slabSize
		}
		s.mu.Unlock()
	}
	return stats
}
