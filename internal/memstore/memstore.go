// Package memstore is a store in memory, for tests.
package memstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Store keeps records in a map. Make it with New; set its exported fields
// before others use it, or while nobody does.
type Store struct {
	// Fail is what every call returns, if anything, without doing anything.
	Fail error

	// Now is the clock.
	Now func() time.Time

	// Reads counts the calls of Get.
	Reads int

	mu      sync.Mutex // guards Reads, records and hashes
	records map[string]record
	hashes  map[string]map[string][]byte
}

type record struct {
	value   []byte
	expires time.Time // zero: never
	lists   []string
}

// New returns an empty store.
func New() *Store { return &Store{records: make(map[string]record), Now: time.Now} }

// lock takes the lock, unless the call is to fail.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.Fail != nil {
		return nil, s.Fail
	}
	s.mu.Lock()
	return s.mu.Unlock, nil
}

func (s *Store) live(key string) (record, bool) {
	r, ok := s.records[key]
	return r, ok && (r.expires.IsZero() || s.Now().Before(r.expires))
}

// ReadsSoFar is Reads, while others read.
func (s *Store) ReadsSoFar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Reads
}

// Get returns a record.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	s.Reads++
	s.mu.Unlock()
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Record{}, err
	}
	defer unlock()
	r, ok := s.live(key)
	if _, hash := s.hashes[key]; hash {
		return store.Record{}, store.ErrWrongType
	}
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	found := store.Record{Value: bytes.Clone(r.value)}
	if !r.expires.IsZero() {
		found.TTL = r.expires.Sub(s.Now())
	}
	return found, nil
}

// PutFields makes a hash.
func (s *Store) PutFields(key string, fields map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hashes == nil {
		s.hashes = make(map[string]map[string][]byte)
	}
	s.hashes[key] = fields
}

// Fields returns fields of a hash.
func (s *Store) Fields(ctx context.Context, key string, names ...string) (map[string][]byte, time.Duration, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	s.Reads++
	fields, ok := s.hashes[key]
	if !ok {
		return nil, 0, store.ErrNotFound
	}
	found := make(map[string][]byte)
	for _, name := range names {
		if value, ok := fields[name]; ok {
			found[name] = value
		}
	}
	return found, 0, nil
}

// Extend lets a record live for at least ttl.
func (s *Store) Extend(ctx context.Context, key string, ttl time.Duration) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, ok := s.live(key)
	if end := s.Now().Add(ttl); ok && !r.expires.IsZero() && r.expires.Before(end) {
		r.expires = end
		s.records[key] = r
	}
	return nil
}

// Put writes a record.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	if err := store.CheckPut(value, ttl); err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.replace(key, value, ttl, lists)
	return nil
}

func (s *Store) replace(key string, value []byte, ttl time.Duration, lists []string) {
	r := record{value: bytes.Clone(value), lists: slices.Clone(lists)}
	if ttl > 0 {
		r.expires = s.Now().Add(ttl)
	}
	if old, ok := s.live(key); ok {
		r.lists = append(r.lists, old.lists...)
	}
	s.records[key] = r
}

// Swap writes a record if the key still holds old.
func (s *Store) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error {
	if err := store.CheckPut(value, ttl); err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	held, ok := s.live(key)
	if ok != (old != nil) || ok && !bytes.Equal(held.value, old) {
		return store.ErrChanged
	}
	s.replace(key, value, ttl, lists)
	return nil
}

// Add adds to a counter.
func (s *Store) Add(ctx context.Context, key string, delta int64, window time.Duration) (store.Count, error) {
	if window <= 0 {
		return store.Count{}, errors.New("no window")
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Count{}, err
	}
	defer unlock()
	count := store.Count{TTL: window}
	if held, ok := s.live(key); ok {
		if count.Value, err = strconv.ParseInt(string(held.value), 10, 64); err != nil {
			return store.Count{}, err
		}
		count.TTL = held.expires.Sub(s.Now())
	}
	count.Value += delta
	s.replace(key, strconv.AppendInt(nil, count.Value, 10), count.TTL, nil)
	return count, nil
}

// Delete ends records.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, key := range keys {
		delete(s.records, key)
	}
	return nil
}

// Touch sets how long a record has still to live.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("no lifetime")
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, ok := s.live(key)
	if !ok {
		return store.ErrNotFound
	}
	r.expires = s.Now().Add(ttl)
	s.records[key] = r
	return nil
}

// List returns the live keys of a list, sorted.
func (s *Store) List(ctx context.Context, list string) ([]string, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var keys []string
	for key := range s.records {
		if r, ok := s.live(key); ok && slices.Contains(r.lists, list) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Ping asks whether calls are to fail.
func (s *Store) Ping(ctx context.Context) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

var _ store.Store = (*Store)(nil)

// Dump is all that there is, for comparing.
func (s *Store) Dump() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]string, len(s.records))
	for key, r := range s.records {
		all[key] = string(r.value)
	}
	return all
}
