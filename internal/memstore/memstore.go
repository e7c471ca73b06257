// Package memstore is a store in memory, for tests.
package memstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Store keeps records in a map. Fail makes every call return it.
type Store struct {
	mu      sync.Mutex
	records map[string]record
	Fail    error
	Now     func() time.Time

	// Reads counts the calls of Get.
	Reads int
}

type record struct {
	value   []byte
	expires time.Time
	lists   []string
}

// New returns an empty store.
func New() *Store { return &Store{records: make(map[string]record), Now: time.Now} }

func (s *Store) live(key string) (record, bool) {
	r, ok := s.records[key]
	return r, ok && (r.expires.IsZero() || s.Now().Before(r.expires))
}

// Get returns a record.
func (s *Store) Get(_ context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Reads++
	if s.Fail != nil {
		return store.Record{}, s.Fail
	}
	r, ok := s.live(key)
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	found := store.Record{Value: r.value}
	if !r.expires.IsZero() {
		found.TTL = r.expires.Sub(s.Now())
	}
	return found, nil
}

// Put writes a record.
func (s *Store) Put(_ context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Fail != nil {
		return s.Fail
	}
	r := record{value: value, lists: lists}
	if ttl > 0 {
		r.expires = s.Now().Add(ttl)
	}
	s.records[key] = r
	return nil
}

// Delete ends records.
func (s *Store) Delete(_ context.Context, keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.records, key)
	}
	return s.Fail
}

// Touch sets how long a record has still to live.
func (s *Store) Touch(_ context.Context, key string, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.live(key)
	if !ok {
		return store.ErrNotFound
	}
	r.expires = s.Now().Add(ttl)
	s.records[key] = r
	return s.Fail
}

// List returns the live keys of a list, sorted.
func (s *Store) List(_ context.Context, list string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.records {
		if r, ok := s.live(key); ok && slices.Contains(r.lists, list) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, s.Fail
}

// Ping returns Fail.
func (s *Store) Ping(context.Context) error { return s.Fail }

var _ store.Store = (*Store)(nil)
