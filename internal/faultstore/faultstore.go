// Package faultstore is a store that fails where a test wants it to, for tests.
package faultstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// ErrFault is what a call returns that is made to fail.
var ErrFault = errors.New("redis://user:hunter2-of-the-store@10.0.0.1:6379: connection reset")

// Fault is what becomes of a call.
type Fault int

// The kinds of faults.
const (
	Lost    Fault = iota // the call never arrives
	Crashed              // it is carried out, and the answer is lost
	Panics
)

// Store passes all calls on to another one, but for those that are to fail.
type Store struct {
	store.Store

	// OnlyReads counts only the calls of Get, and lets no other fail.
	OnlyReads bool

	mu    sync.Mutex // guards the rest
	calls int
	from  int // the first call to fail; 0: none
	fault Fault
	once  bool
}

// Fail makes the nth call from now on fail, counted from 1; and all that follow,
// unless it is to fail once. Of nothing, it makes them all well again.
func (s *Store) Fail(nth int, fault Fault, once bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.from, s.fault, s.once = 0, nth, fault, once
}

// Heal lets all calls through again, and returns how many there were since the
// last Fail or Heal.
func (s *Store) Heal() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls, s.from = 0, 0
	return calls
}

// write makes a call that is no read.
func (s *Store) write(do func() error) error {
	if s.OnlyReads {
		return do()
	}
	return s.call(do)
}

// call makes a call, or lets it fail.
func (s *Store) call(do func() error) error {
	s.mu.Lock()
	s.calls++
	fails := s.from > 0 && (s.calls == s.from || s.calls > s.from && !s.once)
	fault := s.fault
	s.mu.Unlock()
	switch {
	case !fails:
		return do()
	case fault == Panics:
		panic(ErrFault)
	case fault == Crashed:
		_ = do()
	}
	return ErrFault
}

// Get reads a record.
func (s *Store) Get(ctx context.Context, key string) (record store.Record, err error) {
	err = s.call(func() (err error) {
		record, err = s.Store.Get(ctx, key)
		return err
	})
	return record, err
}

// Put writes a record.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	return s.write(func() error { return s.Store.Put(ctx, key, value, ttl, lists...) })
}

// Swap writes a record in the place of another.
func (s *Store) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error {
	return s.write(func() error { return s.Store.Swap(ctx, key, old, value, ttl, lists...) })
}

// Add counts.
func (s *Store) Add(ctx context.Context, key string, delta int64, window time.Duration) (count store.Count, err error) {
	err = s.write(func() (err error) {
		count, err = s.Store.Add(ctx, key, delta, window)
		return err
	})
	return count, err
}

// Delete ends records.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	return s.write(func() error { return s.Store.Delete(ctx, keys...) })
}

// Touch extends a record.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return s.write(func() error { return s.Store.Touch(ctx, key, ttl) })
}

// List lists records.
func (s *Store) List(ctx context.Context, list string) (keys []string, err error) {
	err = s.write(func() (err error) {
		keys, err = s.Store.List(ctx, list)
		return err
	})
	return keys, err
}

var _ store.Store = (*Store)(nil)
