// Package embedded keeps records in one file, for a single gateway that has no
// Redis. The file is bbolt's, which Caddy links already.
//
// A record that has expired is gone at once, whether or not it has been swept.
package embedded

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// The buckets: records by key; their keys by list and by expiry.
var (
	recordsBucket  = []byte("records")
	listsBucket    = []byte("lists")
	expiriesBucket = []byte("expiries")
)

// Store is a file of records. It is opened at first use.
type Store struct {
	path    string
	now     func() time.Time
	changes *store.Changes
	damage  atomic.Pointer[damageError] // what ended it before its time; nil: nothing
	held    atomic.Int64                // until when it takes no changes, in Unix nanoseconds
	writers *queue.Queue                // who change it, one at a time, as bbolt has it

	mu     sync.Mutex // guards what follows
	db     *bolt.DB
	failed error     // of the last opening
	since  time.Time // when it failed
	closed bool
	sweeps chan struct{} // closed by Destruct; ends the sweeper
	swept  chan struct{} // closed when the sweeper has ended
}

// Each change is written through to the disk, which takes milliseconds. Who waits for
// that is bounded in number and in time.
const (
	maxWriters   = 1000
	writeTimeout = 2 * time.Second
)

func newStore(path string) *Store {
	// Nobody else writes to the file, so nothing changes unheard.
	changes := store.NewChanges("")
	changes.Trust(store.Forever)
	return &Store{path: path, now: time.Now, changes: changes, writers: queue.New(1, maxWriters, queue.OldestFirst)}
}

// Changes tells of what this process writes; see store.Teller.
func (s *Store) Changes() *store.Changes { return s.changes }

// Name is the key.
func (*Store) Name(key string) string { return key }

// Watch has nothing to do: Changes tells of all.
func (*Store) Watch(string) {}

// entry is a record as it stands in the file.
type entry struct {
	Value   []byte   `json:"v"`
	Expires int64    `json:"e,omitempty"` // Unix nanoseconds; 0: never
	Lists   []string `json:"l,omitempty"`
}

// unreadableError says that a record is not as it was written.
type unreadableError struct{ cause error }

func (e *unreadableError) Error() string {
	return "embedded store: reading a record: " + e.cause.Error()
}

func decode(data []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, &unreadableError{err}
	}
	return e, nil
}

// view and change run a transaction, unless the caller has gone away. Who reads the
// keys that it changes is told once it is done, well or not. Counters, which strangers
// make it count, come after all else.
func (s *Store) view(ctx context.Context, run func(*bolt.Tx) error) error {
	return s.transact(ctx, (*bolt.DB).View, run)
}

func (s *Store) change(ctx context.Context, keys []string, run func(*bolt.Tx) error) error {
	return s.changeInTurn(queue.First(ctx), keys, run)
}

func (s *Store) changeInTurn(ctx context.Context, keys []string, run func(*bolt.Tx) error) error {
	waits, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := s.writers.Enter(waits); err != nil {
		return cmp.Or(ctx.Err(), fmt.Errorf("embedded store: %w", store.ErrBusy))
	}
	defer s.writers.Leave()
	err := s.transact(ctx, (*bolt.DB).Update, func(tx *bolt.Tx) error {
		if s.now().UnixNano() < s.held.Load() {
			return store.ErrHeld
		}
		return run(tx)
	})
	for _, key := range keys {
		s.changes.Changed(key)
	}
	return err
}

func (s *Store) transact(ctx context.Context, kind func(*bolt.DB, func(*bolt.Tx) error) error, run func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		db, err := s.open()
		if err != nil {
			return err
		}
		err = s.guarded(func() error { return kind(db, run) })
		if !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return err
		}
		// Another file has just taken its place.
	}
}

// read returns a live entry; store.ErrNotFound if there is none.
func (s *Store) read(tx *bolt.Tx, key string) (entry, error) {
	data := tx.Bucket(recordsBucket).Get([]byte(key))
	if data == nil {
		return entry{}, store.ErrNotFound
	}
	e, err := decode(data)
	if err != nil {
		return entry{}, err
	}
	if e.Expires != 0 && s.now().UnixNano() >= e.Expires {
		return entry{}, store.ErrNotFound
	}
	return e, nil
}

// Get returns a record.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	var record store.Record
	err := s.view(ctx, func(tx *bolt.Tx) error {
		e, err := s.read(tx, key)
		if err != nil {
			return err
		}
		record.Value = e.Value
		if e.Expires != 0 {
			record.TTL = time.Duration(e.Expires - s.now().UnixNano())
		}
		return nil
	})
	return record, err
}

// Put writes a record.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	if err := store.CheckPut(value, ttl); err != nil {
		return err
	}
	return s.change(ctx, []string{key}, func(tx *bolt.Tx) error {
		old, err := s.read(tx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return s.replace(tx, key, value, ttl, union(lists, old.Lists))
	})
}

// replace puts a record in the place of what is there, live or not.
func (s *Store) replace(tx *bolt.Tx, key string, value []byte, ttl time.Duration, lists []string) error {
	if err := remove(tx, key); err != nil {
		return err
	}
	e := entry{Value: value, Lists: lists}
	if ttl > 0 {
		e.Expires = s.now().Add(ttl).UnixNano()
	}
	return write(tx, key, e)
}

// Swap writes a record if the key still holds old.
func (s *Store) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error {
	if err := store.CheckPut(value, ttl); err != nil {
		return err
	}
	return s.change(ctx, []string{key}, func(tx *bolt.Tx) error {
		held, err := s.read(tx, key)
		switch none := errors.Is(err, store.ErrNotFound); {
		case err != nil && !none:
			return err
		case none != (old == nil), !bytes.Equal(held.Value, old):
			return store.ErrChanged
		}
		return s.replace(tx, key, value, ttl, union(lists, held.Lists))
	})
}

// Add adds to a counter, which is kept as a decimal number.
func (s *Store) Add(ctx context.Context, key string, delta int64, window time.Duration) (store.Count, error) {
	if window <= 0 {
		return store.Count{}, errors.New("a window must be positive")
	}
	count := store.Count{TTL: window}
	err := s.changeInTurn(ctx, []string{key}, func(tx *bolt.Tx) error {
		held, err := s.read(tx, key)
		switch {
		case err == nil:
			if count.Value, err = strconv.ParseInt(string(held.Value), 10, 64); err != nil {
				return &unreadableError{err}
			}
			count.TTL = time.Duration(held.Expires - s.now().UnixNano())
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		count.Value += delta
		return s.replace(tx, key, strconv.AppendInt(nil, count.Value, 10), count.TTL, nil)
	})
	return count, err
}

// union is the lists that a record is in once it has been replaced: it stays in
// those where it was.
func union(lists, old []string) []string {
	all := slices.Concat(lists, old)
	slices.Sort(all)
	return slices.Compact(all)
}

// write puts an entry and its places in the lists and in the order of expiry.
func write(tx *bolt.Tx, key string, e entry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := tx.Bucket(recordsBucket).Put([]byte(key), data); err != nil {
		return err
	}
	for _, list := range e.Lists {
		if err := tx.Bucket(listsBucket).Put(listEntry(list, key), nil); err != nil {
			return err
		}
	}
	if e.Expires == 0 {
		return nil
	}
	return tx.Bucket(expiriesBucket).Put(expiryEntry(e.Expires, key), nil)
}

// remove takes an entry out with its places, live or not.
func remove(tx *bolt.Tx, key string) error {
	data := tx.Bucket(recordsBucket).Get([]byte(key))
	if data == nil {
		return nil
	}
	e, err := decode(data)
	if err != nil {
		return err
	}
	for _, list := range e.Lists {
		if err := tx.Bucket(listsBucket).Delete(listEntry(list, key)); err != nil {
			return err
		}
	}
	if e.Expires != 0 {
		if err := tx.Bucket(expiriesBucket).Delete(expiryEntry(e.Expires, key)); err != nil {
			return err
		}
	}
	return tx.Bucket(recordsBucket).Delete([]byte(key))
}

// listEntry is where a key stands in a list. The length keeps lists apart
// whose names begin alike.
func listEntry(list, key string) []byte { return append(listPrefix(list), key...) }

func listPrefix(list string) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(list))), list...)
}

// expiryEntry sorts by the time of expiry.
func expiryEntry(expires int64, key string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(expires)), key...) //nolint:gosec // a time after 1970
}

// Delete ends records.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.change(ctx, keys, func(tx *bolt.Tx) error {
		for _, key := range keys {
			if err := remove(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Touch sets how long a record has still to live.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("a lifetime must be positive")
	}
	return s.change(ctx, []string{key}, func(tx *bolt.Tx) error {
		e, err := s.read(tx, key)
		if err != nil {
			return err
		}
		if err := remove(tx, key); err != nil {
			return err
		}
		e.Expires = s.now().Add(ttl).UnixNano()
		return write(tx, key, e)
	})
}

// List returns the live keys of a list; bbolt keeps them sorted.
func (s *Store) List(ctx context.Context, list string) ([]string, error) {
	var keys []string
	err := s.view(ctx, func(tx *bolt.Tx) error {
		prefix := listPrefix(list)
		cursor := tx.Bucket(listsBucket).Cursor()
		for place, _ := cursor.Seek(prefix); bytes.HasPrefix(place, prefix); place, _ = cursor.Next() {
			key := string(place[len(prefix):])
			_, err := s.read(tx, key)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		return nil
	})
	return keys, err
}

// Ping opens the file.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(*bolt.Tx) error { return nil })
}

// Destruct closes the file, if it is open.
func (s *Store) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changes.End()
	if s.db == nil {
		return nil
	}
	return s.shut()
}

// shut closes the file; s.mu is held, and it is open.
func (s *Store) shut() error {
	db := s.db
	s.db = nil
	close(s.sweeps)
	<-s.swept
	if s.damage.Load() != nil {
		go func() { _ = db.Close() }() // it may wait for ever for a lock that was lost on the way
		return nil                     //nolint:nilerr // the damage has been told
	}
	return db.Close()
}

var (
	_ store.Handle   = (*Store)(nil)
	_ store.Teller   = (*Store)(nil)
	_ store.Archiver = (*Store)(nil)
	_ store.Exporter = (*Store)(nil)
)
