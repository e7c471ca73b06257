package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// grounded are look-ups that wait for good: no round trip is ever made.
func grounded(s *Store) *lookups {
	s.lookups.mu.Lock()
	defer s.lookups.mu.Unlock()
	s.lookups.flying = s.lookups.flights
	return s.lookups
}

// trusted waits until Redis tells of changes: until then nobody shares an answer.
func trusted(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, s.Ping(t.Context()))
	require.Eventually(t, s.changes.Trusted, 10*time.Second, time.Millisecond)
}

// release lets a round trip begin.
func (l *lookups) release(client goredis.UniversalClient) {
	l.fly(client)
}

// D38, X08: look-ups of what there is not, more than Redis answers.
func TestD38LookUpsBeyondTheBoundAreTurnedAwayAtOnceAndTheNewestAreServed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL()})
	require.NoError(t, s.Put(t.Context(), "good", []byte("value"), time.Hour))
	client, err := s.redis()
	require.NoError(t, err)
	l := grounded(s)
	stamped := func(key string, first bool) *lookup {
		one, _ := l.join(client, s.prefix+key, first)
		return one
	}
	known := stamped("good", true)
	oldest := stamped("bad", false)
	for i := range maxWaiting + 100 {
		stamped(fmt.Sprint("bad", i), false)
	}
	select {
	case <-oldest.done:
		require.ErrorIs(t, oldest.err, store.ErrBusy)
	default:
		t.Fatal("the oldest still waits")
	}
	assert.Equal(t, maxWaiting, l.waiting.Len())
	assert.Len(t, l.byKey, maxWaiting, "nothing is kept of those who were turned away")
	first := l.next()
	require.NotEmpty(t, first)
	assert.Equal(t, known, first[0], "who was let in lately goes first")
	assert.Equal(t, s.prefix+fmt.Sprint("bad", maxWaiting+99), first[1].key, "and then the newest")
	l.read(client, first)
	require.NoError(t, known.err)
	assert.Equal(t, "value", string(known.record.Value))
	require.ErrorIs(t, first[1].err, store.ErrNotFound)
	l.release(client)
	assert.Zero(t, l.waiting.Len())
}

func TestLookUpThatNobodyWaitsForIsNotMade(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(time.Minute)})
	trusted(t, s)
	l := grounded(s)
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.Get(ctx, "a")
			ended <- err
		}()
	}
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		one := l.byKey[s.prefix+"a"]
		return one != nil && one.callers == 2
	}, 10*time.Second, time.Millisecond)
	leave()
	for range 2 {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
	assert.Zero(t, l.waiting.Len())
	assert.Empty(t, l.byKey)
}

// Who has waited in vain was never asked about: that says nothing of Redis.
func TestLookUpWhoseTurnDoesNotComeIsNoOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL()})
	require.NoError(t, s.Ping(t.Context()))
	grounded(s)
	_, err := s.Get(t.Context(), "a")
	require.ErrorIs(t, err, store.ErrBusy)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func TestWhoWasLetInLatelyTakesThoseWhoWaitForTheSameAlong(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL()})
	trusted(t, s)
	client, err := s.redis()
	require.NoError(t, err)
	l := grounded(s)
	one, _ := l.join(client, "a", false)
	l.join(client, "b", false)
	again, shared := l.join(client, "a", true)
	require.True(t, shared)
	assert.Equal(t, one, again)
	assert.Equal(t, "a", l.next()[0].key)
}

// D42, X24: one look-up is made for all who ask for a key, and if it fails all hear of it.
func TestD42HotKeyIsReadOnceAtATime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(time.Minute)})
	require.NoError(t, s.Put(t.Context(), "hot", []byte("value"), time.Hour))
	trusted(t, s)
	client, err := s.redis()
	require.NoError(t, err)
	l := grounded(s)
	const callers = 1000
	got := make(chan error, callers)
	for range callers {
		go func() {
			record, err := s.Get(t.Context(), "hot")
			if err == nil && string(record.Value) != "value" {
				err = errors.New("another value")
			}
			got <- err
		}()
	}
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		one := l.byKey[s.prefix+"hot"]
		return one != nil && one.callers == callers
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, l.waiting.Len())
	l.release(client)
	for range callers {
		require.NoError(t, <-got)
	}
}

// X24: the round trip that others wait for panics.
func TestX24RoundTripThatPanicsEndsForAllWhoWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(time.Minute)})
	require.NoError(t, s.Ping(t.Context()))
	l := grounded(s)
	got := make(chan error, 1)
	go func() {
		_, err := s.Get(queue.First(t.Context()), "a")
		got <- err
	}()
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.waiting.Len() == 1 }, 10*time.Second, time.Millisecond)
	l.release(nil) // no client: it panics
	require.ErrorContains(t, <-got, "panic")
	assert.Empty(t, l.byKey)
}
