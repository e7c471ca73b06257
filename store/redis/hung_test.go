package redis

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// slowest lets callers call at once, each of which must be refused, and says
// how long the slowest took.
func slowest(t *testing.T, callers int, call func() error) time.Duration {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	var most time.Duration
	for range callers {
		all.Go(func() {
			began := time.Now()
			err := call()
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			most = max(most, took)
			if assert.Error(t, err) {
				assert.NotErrorIs(t, err, store.ErrNotFound, "that would say that Redis was asked")
			}
		})
	}
	all.Wait()
	t.Logf("slowest of %d: %v", callers, most)
	return most
}

const hungTimeout = 250 * time.Millisecond

// holdsTheBound wants callers to be let go within the timeout and the slack. A
// busy machine can be late by itself, so a late round is repeated, twice at
// most. Calls that wait for each other are late in every round.
func holdsTheBound(t *testing.T, round func() time.Duration) {
	t.Helper()
	best := round()
	for range 2 {
		if best < hungTimeout+slack {
			return
		}
		best = min(best, round())
	}
	assert.Less(t, best, hungTimeout+slack)
}

// These tests measure time, and so run beside no others of their package.
func TestD04HungRedisNeverHoldsACallerLonger(t *testing.T) {
	server := redistest.Start(t)
	for name, warm := range map[string]bool{"no connection yet": false, "connected": true} {
		for _, callers := range []int{1, 500} {
			t.Run(fmt.Sprintf("%s, %d callers", name, callers), func(t *testing.T) {
				holdsTheBound(t, func() time.Duration {
					s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(hungTimeout)})
					if warm {
						require.Eventually(t, func() bool { return s.Ping(context.Background()) == nil }, 5*time.Second, time.Millisecond)
					}
					server.Stop()
					defer server.Continue()
					took := slowest(t, callers, func() error {
						_, err := s.Get(context.Background(), "a")
						return err
					})
					require.Eventually(t, func() bool { return len(s.calls) == 0 }, 5*time.Second, 5*time.Millisecond,
						"what was given up must end by itself")
					return took
				})
			})
		}
	}
}

// Sentinels, seeds and TLS have exchanges of their own before the first command.
func TestD04HungSetUpNeverHoldsACallerLonger(t *testing.T) {
	hung, err := net.Listen("tcp", "127.0.0.1:0") // its kernel accepts, nobody answers
	require.NoError(t, err)
	defer hung.Close()
	a := hung.Addr().String()
	for name, c := range map[string]Config{
		"TLS":       {URL: "rediss://" + a},
		"sentinels": {Sentinel: &Sentinel{Master: "mymaster", Addresses: []string{a, a, a}}},
		"cluster":   {Cluster: []string{a, a, a}},
	} {
		for _, callers := range []int{1, 500} {
			t.Run(fmt.Sprintf("%s, %d callers", name, callers), func(t *testing.T) {
				c.Timeout = caddy.Duration(hungTimeout)
				holdsTheBound(t, func() time.Duration {
					s := open(t, &c)
					return slowest(t, callers, func() error { return s.Put(context.Background(), "a", nil, time.Hour, "list") })
				})
			})
		}
	}
}

func TestX23D20CallerWhoGoesAwayIsNotHeldByAHungRedis(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(time.Minute)})
	require.NoError(t, s.Ping(t.Context()))
	server.Stop()
	defer server.Continue()
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Get(ctx, "a")
		failed <- err
	}()
	require.Eventually(t, func() bool { s.lookups.mu.Lock(); defer s.lookups.mu.Unlock(); return len(s.lookups.byKey) == 1 }, 5*time.Second, time.Millisecond, "the call is under way")
	cancel()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(time.Second):
		t.Fatal("the caller is held")
	}
}

func TestCallsBeyondTheBoundAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	require.NoError(t, s.Ping(t.Context()))
	for range maxCalls {
		s.calls <- struct{}{}
	}
	require.ErrorIs(t, s.Ping(t.Context()), errBusy)
	<-s.calls
	require.NoError(t, s.Ping(t.Context()))
}
