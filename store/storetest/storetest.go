// Package storetest holds every store to the contract of package store.
package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Run tests a store. Each test gets a fresh one; advance lets at least d pass
// for it.
func Run(t *testing.T, fresh func(t *testing.T) store.Store, advance func(t *testing.T, d time.Duration)) {
	for name, test := range map[string]func(t *testing.T, s store.Store, advance func(time.Duration)){
		"a record is what was put":                             putAndGet,
		"what was never put is not found":                      notFound,
		"a record without a lifetime stays":                    staysForGood,
		"a record ends with its lifetime":                      expires,
		"a later put replaces value and life":                  replaces,
		"a replaced record stays in its lists":                 staysListed,
		"a record is in each of its lists":                     twoLists,
		"deleting ends records, and none is no error":          deletes,
		"touching changes a life and revives nothing":          touches,
		"a list holds the live records, sorted":                lists,
		"odd keys and values are kept as they are":             oddOnes,
		"what is too large is refused":                         tooLarge,
		"a caller who went away gets their own error":          cancelled,
		"many may use it at once":                              concurrent,
		"a lifetime that can't be is an error":                 impossibleLives,
		"an empty value is a value":                            emptyValue,
		"records of lists that begin alike stay apart":         listNames,
		"a swap takes the place of what it saw":                swaps,
		"of many who swap at once one succeeds":                swapsOnce,
		"a counter counts for its window":                      counts,
		"many may count at once":                               countsTogether,
		"S52 a touch that races with a delete revives nothing": touchRacesWithDelete,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t), func(d time.Duration) { advance(t, d) })
		})
	}
}

// life is long enough for a slow machine and short enough to wait for.
const life = 300 * time.Millisecond

func value(t *testing.T, s store.Store, key string) string {
	t.Helper()
	record, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	return string(record.Value)
}

func gone(t *testing.T, s store.Store, key string) {
	t.Helper()
	_, err := s.Get(t.Context(), key)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func putAndGet(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Hour))
	record, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, "1", string(record.Value))
	assert.InDelta(t, time.Hour.Seconds(), record.TTL.Seconds(), 60)
	assert.NoError(t, s.Ping(t.Context()))
}

func notFound(t *testing.T, s store.Store, _ func(time.Duration)) {
	gone(t, s, "never")
	keys, err := s.List(t.Context(), "never")
	require.NoError(t, err)
	assert.Empty(t, keys)
}

func staysForGood(t *testing.T, s store.Store, advance func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), 0))
	advance(life)
	record, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Zero(t, record.TTL)
}

func expires(t *testing.T, s store.Store, advance func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), life, "list"))
	assert.Equal(t, "1", value(t, s, "a"))
	advance(life)
	gone(t, s, "a")
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Empty(t, keys)
}

func replaces(t *testing.T, s store.Store, advance func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), life))
	require.NoError(t, s.Put(t.Context(), "a", []byte("2"), 0, "list"))
	advance(life)
	assert.Equal(t, "2", value(t, s, "a"))
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, keys)
}

func staysListed(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Hour, "old"))
	require.NoError(t, s.Put(t.Context(), "a", []byte("2"), time.Hour, "new"))
	for _, list := range []string{"old", "new"} {
		keys, err := s.List(t.Context(), list)
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, keys, "who ends all that is listed must not miss it")
	}
}

func twoLists(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Hour, "one", "two", "one"))
	for _, list := range []string{"one", "two"} {
		keys, err := s.List(t.Context(), list)
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, keys)
	}
	require.NoError(t, s.Delete(t.Context(), "a"))
	for _, list := range []string{"one", "two"} {
		keys, err := s.List(t.Context(), list)
		require.NoError(t, err)
		assert.Empty(t, keys)
	}
}

func deletes(t *testing.T, s store.Store, _ func(time.Duration)) {
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, s.Put(t.Context(), key, []byte("1"), 0, "list"))
	}
	require.NoError(t, s.Delete(t.Context(), "a", "never", "c"))
	require.NoError(t, s.Delete(t.Context()), "nothing to delete")
	gone(t, s, "a")
	gone(t, s, "c")
	assert.Equal(t, "1", value(t, s, "b"))
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, keys)
}

func touches(t *testing.T, s store.Store, advance func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "long", []byte("1"), life, "list"))
	require.NoError(t, s.Put(t.Context(), "short", []byte("1"), time.Hour, "list"))
	require.NoError(t, s.Touch(t.Context(), "long", time.Hour))
	require.NoError(t, s.Touch(t.Context(), "short", life))
	advance(life)
	assert.Equal(t, "1", value(t, s, "long"))
	gone(t, s, "short")
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Equal(t, []string{"long"}, keys, "a touched record is still listed")

	require.ErrorIs(t, s.Touch(t.Context(), "short", time.Hour), store.ErrNotFound)
	gone(t, s, "short")
	require.NoError(t, s.Delete(t.Context(), "long"))
	require.ErrorIs(t, s.Touch(t.Context(), "long", time.Hour), store.ErrNotFound)
	gone(t, s, "long")
}

func lists(t *testing.T, s store.Store, _ func(time.Duration)) {
	for i := range 20 {
		require.NoError(t, s.Put(t.Context(), fmt.Sprintf("k%02d", 19-i), []byte("1"), 0, "all", fmt.Sprintf("of:%d", i%2)))
	}
	all, err := s.List(t.Context(), "all")
	require.NoError(t, err)
	require.Len(t, all, 20)
	assert.IsIncreasing(t, all)
	half, err := s.List(t.Context(), "of:0")
	require.NoError(t, err)
	assert.Len(t, half, 10)
}

func listNames(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), 0, "of:bob"))
	require.NoError(t, s.Put(t.Context(), "b", []byte("1"), 0, "of:bobby"))
	keys, err := s.List(t.Context(), "of:bob")
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, keys)
}

func oddOnes(t *testing.T, s store.Store, _ func(time.Duration)) {
	for i, odd := range []string{"a b", "a*", "a\nb\r\n", "{a}b", "a\x00b", "ä", strings.Repeat("k", 500), "a:b"} {
		text := fmt.Sprintf("%d \x00\xff%s", i, odd)
		require.NoError(t, s.Put(t.Context(), odd, []byte(text), 0, "list "+odd))
		assert.Equal(t, text, value(t, s, odd))
		keys, err := s.List(t.Context(), "list "+odd)
		require.NoError(t, err)
		assert.Equal(t, []string{odd}, keys)
	}
}

func emptyValue(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", nil, 0))
	assert.Empty(t, value(t, s, "a"))
}

func tooLarge(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", make([]byte, store.MaxValue), 0))
	assert.Len(t, value(t, s, "a"), store.MaxValue)
	require.ErrorIs(t, s.Put(t.Context(), "a", make([]byte, store.MaxValue+1), 0), store.ErrTooLarge)
}

func impossibleLives(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.Error(t, s.Put(t.Context(), "a", []byte("1"), -time.Second, "list"))
	gone(t, s, "a")
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Empty(t, keys)

	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Hour))
	for _, ttl := range []time.Duration{0, -time.Second} {
		err := s.Touch(t.Context(), "a", ttl)
		require.Error(t, err)
		require.NotErrorIs(t, err, store.ErrNotFound)
	}
	assert.Equal(t, "1", value(t, s, "a"))
}

func cancelled(t *testing.T, s store.Store, _ func(time.Duration)) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.List(ctx, "list")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Put(ctx, "a", []byte("1"), 0, "list"), context.Canceled)
	require.ErrorIs(t, s.Touch(ctx, "a", time.Hour), context.Canceled)
	require.ErrorIs(t, s.Delete(ctx, "a"), context.Canceled)
	require.ErrorIs(t, s.Ping(ctx), context.Canceled)
	gone(t, s, "a")
}

func concurrent(t *testing.T, s store.Store, _ func(time.Duration)) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 10 {
				key := fmt.Sprintf("%d-%d", i, j)
				if err := s.Put(context.Background(), key, []byte(key), time.Hour, "list"); err != nil {
					t.Error(err)
				}
				record, err := s.Get(context.Background(), key)
				if err != nil || string(record.Value) != key { // never another's value
					t.Errorf("%s: %s, %v", key, record.Value, err)
				}
			}
		})
	}
	all.Wait()
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Len(t, keys, 80)
}

func swaps(t *testing.T, s store.Store, advance func(time.Duration)) {
	require.ErrorIs(t, s.Swap(t.Context(), "a", []byte("1"), []byte("2"), time.Hour), store.ErrChanged, "there is none")
	require.NoError(t, s.Swap(t.Context(), "a", nil, []byte("1"), time.Hour))
	require.ErrorIs(t, s.Swap(t.Context(), "a", nil, []byte("2"), time.Hour), store.ErrChanged, "there is one")
	require.ErrorIs(t, s.Swap(t.Context(), "a", []byte("0"), []byte("2"), time.Hour), store.ErrChanged)
	require.ErrorIs(t, s.Swap(t.Context(), "a", []byte{}, []byte("2"), time.Hour), store.ErrChanged)
	assert.Equal(t, "1", value(t, s, "a"))
	require.NoError(t, s.Swap(t.Context(), "a", []byte("1"), []byte{}, 0))
	record, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Zero(t, record.TTL)
	require.ErrorIs(t, s.Swap(t.Context(), "a", nil, []byte("2"), time.Hour), store.ErrChanged, "an empty value is a value")
	require.NoError(t, s.Swap(t.Context(), "a", []byte{}, []byte("2"), life))
	advance(2 * life)
	require.ErrorIs(t, s.Swap(t.Context(), "a", []byte("2"), []byte("3"), time.Hour), store.ErrChanged, "it has expired")
	require.NoError(t, s.Swap(t.Context(), "a", nil, []byte("3"), time.Hour))
	require.Error(t, s.Swap(t.Context(), "a", []byte("3"), []byte("4"), -1))
	require.ErrorIs(t, s.Swap(t.Context(), "a", []byte("3"), make([]byte, store.MaxValue+1), 0), store.ErrTooLarge)
	assert.Equal(t, "3", value(t, s, "a"))

	require.NoError(t, s.Put(t.Context(), "b", []byte("1"), time.Hour, "list"))
	require.NoError(t, s.Swap(t.Context(), "b", []byte("1"), []byte("2"), time.Hour, "other"))
	for _, list := range []string{"list", "other"} {
		keys, err := s.List(t.Context(), list)
		require.NoError(t, err)
		assert.Equal(t, []string{"b"}, keys, "it stays in its lists")
	}
}

func swapsOnce(t *testing.T, s store.Store, _ func(time.Duration)) {
	require.NoError(t, s.Put(t.Context(), "a", []byte("old"), time.Hour))
	var swapped atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			err := s.Swap(t.Context(), "a", []byte("old"), fmt.Append(nil, i), time.Hour)
			if err == nil {
				swapped.Add(1)
			} else {
				assert.ErrorIs(t, err, store.ErrChanged)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, swapped.Load())
}

func counts(t *testing.T, s store.Store, advance func(time.Duration)) {
	for want := range int64(3) {
		count, err := s.Add(t.Context(), "a", 1, time.Hour)
		require.NoError(t, err)
		assert.Equal(t, want+1, count.Value)
		assert.InDelta(t, time.Hour.Seconds(), count.TTL.Seconds(), 60)
	}
	count, err := s.Add(t.Context(), "a", -2, 2*time.Hour)
	require.NoError(t, err)
	assert.EqualValues(t, 1, count.Value)
	assert.InDelta(t, time.Hour.Seconds(), count.TTL.Seconds(), 60, "the window began with the first")
	_, err = s.Add(t.Context(), "b", 5, life)
	require.NoError(t, err)
	advance(2 * life)
	count, err = s.Add(t.Context(), "b", 1, life)
	require.NoError(t, err)
	assert.EqualValues(t, 1, count.Value)
	_, err = s.Add(t.Context(), "b", 1, 0)
	require.Error(t, err)
	require.NoError(t, s.Delete(t.Context(), "a"))
	count, err = s.Add(t.Context(), "a", 1, time.Hour)
	require.NoError(t, err)
	assert.EqualValues(t, 1, count.Value)
}

func countsTogether(t *testing.T, s store.Store, _ func(time.Duration)) {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			_, err := s.Add(t.Context(), "a", 2, time.Hour)
			assert.NoError(t, err)
		})
	}
	all.Wait()
	count, err := s.Add(t.Context(), "a", 0, time.Hour)
	require.NoError(t, err)
	assert.EqualValues(t, 32, count.Value)
}
