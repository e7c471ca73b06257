// Package embedded keeps records in one file, for a single gateway that has no
// Redis. The file is bbolt's, which Caddy links already.
//
// A record that has expired is gone at once, whether or not it has been swept.
package embedded

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// The buckets: records by key; their keys by list and by expiry.
var (
	recordsBucket  = []byte("records")
	listsBucket    = []byte("lists")
	expiriesBucket = []byte("expiries")
)

const (
	lockTimeout = time.Second // how long the file may stay locked by another
	retryAfter  = time.Second // how long a failed opening is not tried again
	sweepEvery  = time.Minute
	sweepBatch  = 1000 // records a transaction; others must get in between
)

// Store is a file of records. It is opened at first use.
type Store struct {
	path string
	now  func() time.Time

	mu     sync.Mutex // guards what follows
	db     *bolt.DB
	failed error     // of the last opening
	since  time.Time // when it failed
	closed bool
	sweeps chan struct{} // closed by Destruct; ends the sweeper
	swept  chan struct{} // closed when the sweeper has ended
}

func newStore(path string) *Store {
	return &Store{path: path, now: time.Now}
}

// entry is a record as it stands in the file.
type entry struct {
	Value   []byte   `json:"v"`
	Expires int64    `json:"e,omitempty"` // Unix nanoseconds; 0: never
	Lists   []string `json:"l,omitempty"`
}

// Open opens the file if it is not open yet. It names the file, and what could
// be done, if it can't.
func (s *Store) Open() error {
	_, err := s.open()
	return err
}

func (s *Store) open() (*bolt.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errors.New("store is closed")
	case s.db != nil:
		return s.db, nil
	case s.failed != nil && s.now().Sub(s.since) < retryAfter:
		return nil, s.failed
	}
	db, err := openFile(s.path)
	if err != nil {
		s.failed, s.since = err, s.now()
		return nil, err
	}
	s.db, s.failed = db, nil
	s.sweeps, s.swept = make(chan struct{}), make(chan struct{})
	go s.sweepNowAndThen(db, s.sweeps, s.swept)
	return db, nil
}

func openFile(path string) (*bolt.DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("embedded store: %s is in use by another process, probably a second Caddy: stop that one, or give this one a file of its own (store embedded <path>), or let both use Redis", path)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded store: %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{recordsBucket, listsBucket, expiriesBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded store: %s: %w", path, err), db.Close())
	}
	return db, nil
}

// view and update run a transaction, unless the caller has gone away.
func (s *Store) view(ctx context.Context, run func(*bolt.Tx) error) error {
	return s.transact(ctx, (*bolt.DB).View, run)
}

func (s *Store) update(ctx context.Context, run func(*bolt.Tx) error) error {
	return s.transact(ctx, (*bolt.DB).Update, run)
}

func (s *Store) transact(ctx context.Context, kind func(*bolt.DB, func(*bolt.Tx) error) error, run func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db, err := s.open()
	if err != nil {
		return err
	}
	return kind(db, run)
}

// read returns a live entry; store.ErrNotFound if there is none.
func (s *Store) read(tx *bolt.Tx, key string) (entry, error) {
	data := tx.Bucket(recordsBucket).Get([]byte(key))
	if data == nil {
		return entry{}, store.ErrNotFound
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, fmt.Errorf("embedded store: reading a record: %w", err)
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
	switch {
	case ttl < 0:
		return errors.New("negative lifetime")
	case len(value) > store.MaxValue:
		return store.ErrTooLarge
	}
	e := entry{Value: value, Lists: lists}
	if e.Value == nil {
		e.Value = []byte{}
	}
	if ttl > 0 {
		e.Expires = s.now().Add(ttl).UnixNano()
	}
	return s.update(ctx, func(tx *bolt.Tx) error {
		if err := remove(tx, key); err != nil {
			return err
		}
		return write(tx, key, e)
	})
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
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("embedded store: reading a record: %w", err)
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
	return s.update(ctx, func(tx *bolt.Tx) error {
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
		return errors.New("negative lifetime")
	}
	return s.update(ctx, func(tx *bolt.Tx) error {
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
		for place, _ := cursor.Seek(prefix); hasPrefix(place, prefix); place, _ = cursor.Next() {
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

func hasPrefix(b, prefix []byte) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == string(prefix)
}

// Ping opens the file.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(*bolt.Tx) error { return nil })
}

// sweepNowAndThen deletes what has expired, until quit is closed.
func (s *Store) sweepNowAndThen(db *bolt.DB, quit <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		for full := true; full; {
			var err error
			if full, err = s.sweep(db); err != nil {
				break // an expired record is gone in any case; the next sweep tries again
			}
		}
	}
}

// sweep deletes one batch of expired records, and says whether it was full.
func (s *Store) sweep(db *bolt.DB) (bool, error) {
	count := 0
	err := db.Update(func(tx *bolt.Tx) error {
		now := s.now().UnixNano()
		var expired []string
		cursor := tx.Bucket(expiriesBucket).Cursor()
		for place, _ := cursor.First(); place != nil && len(expired) < sweepBatch; place, _ = cursor.Next() {
			if int64(binary.BigEndian.Uint64(place)) > now { //nolint:gosec // written by expiryEntry
				break
			}
			expired = append(expired, string(place[8:]))
		}
		count = len(expired)
		for _, key := range expired {
			if err := remove(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	return count == sweepBatch, err
}

// Destruct closes the file, if it is open.
func (s *Store) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.db == nil {
		return nil
	}
	close(s.sweeps)
	<-s.swept
	err := s.db.Close()
	s.db = nil
	return err
}

var _ store.Handle = (*Store)(nil)
