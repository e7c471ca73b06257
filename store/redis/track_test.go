package redis

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/push"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// gateway keeps what it reads, as an app does.
type gateway struct {
	*Store

	cache *cache.Cache
	asked atomic.Int64 // how often it had to ask
}

func newGateway(t testing.TB, config Config) *gateway {
	t.Helper()
	return &gateway{Store: open(t, &config), cache: cache.New(1000)}
}

// caching is a config whose changes may go unheard that long.
func caching(c Config, staleness time.Duration) Config {
	c.Cache = &Cache{Entries: 1000, MaxStaleness: caddy.Duration(staleness)}
	return c
}

const gone = "gone"

// look returns a record's value, or gone.
func (g *gateway) look(ctx context.Context, key string) (string, error) {
	place := cache.Key(sha256.Sum256([]byte(key)))
	if entry, ok := g.cache.Get(place, time.Now()); ok {
		return entry.Value, nil
	}
	g.asked.Add(1)
	ctx, reads := store.Collecting(ctx)
	asked, old := time.Now(), store.Now()+time.Minute
	g.Changes().Reading(ctx, g.Name(key))
	record, err := g.Get(ctx, key)
	value := string(record.Value)
	switch {
	case errors.Is(err, store.ErrNotFound):
		value = gone
	case err != nil:
		return "", err
	}
	var end time.Time
	if record.TTL > 0 { // Redis tells of what has expired when it notices
		end = asked.Add(record.TTL)
	}
	if stamps, _, known := reads.Known(); known {
		g.cache.Put(place, cache.Entry{Value: value}, stamps, old, end)
	}
	return value, nil
}

// awaitTrust waits until a gateway hears of changes.
func (g *gateway) awaitTrust(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		_ = g.Ping(context.Background())
		return g.Changes().Trusted()
	}, 20*time.Second, 5*time.Millisecond, "changes are not heard of")
}

// warm reads the record k until what was read is kept: news of a change may be on its way.
func (g *gateway) warm(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		before := g.asked.Load()
		_, err := g.look(context.Background(), "k")
		return err == nil && g.asked.Load() == before
	}, 10*time.Second, time.Millisecond, "it is read each time")
}

func TestX03WhatWasReadIsKeptUntilItChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := newGateway(t, Config{URL: "redis://" + server.Addr + "/3"}) // tracking is not bound to a database
	g.awaitTrust(t)
	require.NoError(t, g.Put(t.Context(), "k", []byte("0"), time.Hour))
	steps := []struct {
		change []string
		want   string
	}{
		{[]string{"SET", "edge_auth:k", "1"}, "1"},
		{[]string{"DEL", "edge_auth:k"}, gone},
		{[]string{"SET", "edge_auth:k", "3"}, "3"},
		{[]string{"PEXPIRE", "edge_auth:k", "60"}, gone},
		{[]string{"SET", "edge_auth:k", "5"}, "5"},
		{[]string{"RENAME", "edge_auth:k", "edge_auth:l"}, gone},
		{[]string{"COPY", "edge_auth:l", "edge_auth:k"}, "5"},
		{[]string{"FLUSHDB"}, gone},
		{[]string{"SET", "edge_auth:k", "8"}, "8"},
		{[]string{"FLUSHALL"}, gone},
	}
	for _, step := range steps {
		g.warm(t)
		server.Do(t, slices.Concat([]string{"EVAL", "redis.call('SELECT', 3); return redis.call(unpack(ARGV))", "0"}, step.change)...)
		require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == step.want }, time.Second, time.Millisecond, "%v", step.change)
	}
}

func TestKeysOfAnotherApplicationAreWatchedFromWhenItIsToldOf(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := newGateway(t, Config{URL: server.URL()})
	g.awaitTrust(t)
	for _, prefix := range []string{"sess:", "sess:a", "edge_auth:x", "s"} {
		g.Watch(prefix) // Redis refuses prefixes of which one begins with another
		require.Eventually(t, func() bool {
			ctx, reads := store.Collecting(t.Context())
			g.Changes().Reading(ctx, "sess:1")
			server.Do(t, "SET", "sess:1", prefix)
			time.Sleep(time.Millisecond)
			stamps, _, known := reads.Known()
			return known && g.Changes().Trusted() && !stamps[0].Current(store.Now())
		}, 10*time.Second, 5*time.Millisecond, prefix)
	}
	g.awaitTrust(t)
	assert.ElementsMatch(t, []string{"edge_auth:", "s"}, g.Changes().Prefixes())
	ctx, reads := store.Collecting(t.Context())
	g.Changes().Reading(ctx, "other:1")
	_, _, known := reads.Known()
	assert.False(t, known, "nobody tells of its changes")
}

// Two gateways on one Redis write and delete at random. Neither serves what was
// replaced more than 50 ms ago: EDGE_AUTH_LONG=1m holds them to that for a minute, on a
// machine that does nothing else.
func TestX01TwoGatewaysSeeEachOthersChangesAtOnce(t *testing.T) {
	// Not parallel: it measures time.
	server := redistest.Start(t)
	config := caching(Config{URL: server.URL(), Timeout: caddy.Duration(2 * time.Second)}, 2*time.Second)
	gateways := []*gateway{newGateway(t, config), newGateway(t, config)}
	for _, g := range gateways {
		g.awaitTrust(t)
	}
	lasts, within := 3*time.Second, time.Second // other tests run on the same cores
	if text := os.Getenv("EDGE_AUTH_LONG"); text != "" {
		var err error
		lasts, err = time.ParseDuration(text)
		require.NoError(t, err)
		within = 50 * time.Millisecond
	}
	const keys = 16
	histories := make([]history, keys)
	end := time.Now().Add(lasts)
	var all sync.WaitGroup
	for w := range 2 {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				i := rand.IntN(keys/2)*2 + w // each key has one writer, who uses either gateway
				histories[i].write(t, gateways[rand.IntN(2)], "k"+strconv.Itoa(i))
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			}
		})
	}
	var read, kept atomic.Int64
	var latest atomic.Int64
	for r := range 4 {
		all.Go(func() {
			g := gateways[r%2]
			for time.Now().Before(end) {
				i := rand.IntN(keys)
				began := time.Now()
				value, err := g.look(context.Background(), "k"+strconv.Itoa(i))
				if err != nil {
					t.Error(err)
					return
				}
				late := histories[i].lateness(value, began)
				if !assert.LessOrEqual(t, late, within, "key %d", i) {
					return
				}
				for was := latest.Load(); int64(late) > was && !latest.CompareAndSwap(was, int64(late)); was = latest.Load() {
				}
				read.Add(1)
			}
		})
	}
	all.Wait()
	for _, g := range gateways {
		kept.Add(int64(g.cache.Stats().Hits))
	}
	t.Logf("%d reads, %d of what was kept; at most %v late", read.Load(), kept.Load(), time.Duration(latest.Load()))
	assert.Greater(t, kept.Load(), read.Load()/4, "it was the cache that was tested")
}

// history is what was written to a key. Every third change deletes it.
type history struct {
	mu    sync.Mutex
	acked []time.Time // when each change was acknowledged
	begun int         // changes that have begun
}

func valueOf(n int) string {
	if n%3 == 2 || n < 0 {
		return gone
	}
	return strconv.Itoa(n)
}

func (h *history) write(t testing.TB, g *gateway, key string) {
	h.mu.Lock()
	n := h.begun
	h.begun++
	h.mu.Unlock()
	var err error
	if value := valueOf(n); value == gone {
		err = g.Delete(context.Background(), key)
	} else {
		err = g.Put(context.Background(), key, []byte(value), time.Hour)
	}
	if err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	h.acked = append(h.acked, time.Now())
	h.mu.Unlock()
}

// lateness is how long before a read began the value that it gave had been replaced.
func (h *history) lateness(value string, began time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := h.begun - 1; n >= -1; n-- {
		if valueOf(n) != value {
			continue
		}
		if n+1 >= len(h.acked) {
			return 0
		}
		return max(0, began.Sub(h.acked[n+1]))
	}
	return time.Hour // it was never written
}

// A connection that is cut silently, with no packet coming through, is noticed by
// its silence.
func TestD09D10NothingStaleIsServedOnceTrackingIsSilent(t *testing.T) {
	// Not parallel: it measures time.
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	const staleness = 400 * time.Millisecond
	g := newGateway(t, caching(Config{URL: "redis://" + proxy.Addr}, staleness))
	g.awaitTrust(t)
	server.Do(t, "SET", "edge_auth:k", "old")
	require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == "old" }, time.Second, time.Millisecond)
	g.warm(t)

	proxy.Silence("tracking")
	cut := time.Now()
	server.Do(t, "SET", "edge_auth:k", "new")
	changed := time.Now()
	stale := 0
	for {
		began := time.Now()
		value, err := g.look(t.Context(), "k")
		require.NoError(t, err, "Redis answers all the time")
		if value == "new" {
			break
		}
		stale++
		require.Less(t, began.Sub(changed), staleness, "served for too long")
	}
	t.Logf("%d times, until %v after the cut", stale, time.Since(cut))
	assert.Positive(t, stale, "the test has cut nothing")
	// It listens on a new connection, and nothing of the time between is served.
	require.Eventually(t, g.Changes().Trusted, 10*time.Second, time.Millisecond)
	for n := range 20 {
		want := strconv.Itoa(n)
		server.Do(t, "SET", "edge_auth:k", want)
		require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == want }, time.Second, time.Millisecond)
	}
	g.warm(t)
}

// A Redis that hangs or is gone: what is kept is served for a while, and then
// nothing.
func TestOutageIsRiddenOutForAWhile(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*redistest.Server){"hangs": (*redistest.Server).Stop, "is gone": (*redistest.Server).Kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			const staleness = 2 * time.Second
			g := newGateway(t, caching(Config{URL: server.URL()}, staleness))
			g.awaitTrust(t)
			require.NoError(t, g.Put(t.Context(), "k", []byte("v"), 0))
			g.warm(t)
			down(server)
			began := time.Now()
			value, err := g.look(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "v", value)
			require.Eventually(t, func() bool { _, err := g.look(t.Context(), "k"); return err != nil }, staleness+time.Second, time.Millisecond)
			assert.LessOrEqual(t, time.Since(began), staleness+300*time.Millisecond)
			if name == "hangs" {
				server.Continue()
			} else {
				server.Restart(t)
				server.Do(t, "SET", "edge_auth:k", "w")
			}
			require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value != gone }, 5*time.Second, time.Millisecond)
			g.awaitTrust(t)
		})
	}
}

func TestRedisThatTellsNothingIsAskedEachTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "default", "-client|tracking")
	g := newGateway(t, Config{URL: server.URL()})
	for n := range 20 {
		server.Do(t, "SET", "edge_auth:k", strconv.Itoa(n))
		value, err := g.look(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(n), value)
	}
	assert.False(t, g.Changes().Trusted())
	off := newGateway(t, Config{URL: server.URL(), Cache: &Cache{Off: true}})
	_, err := off.look(t.Context(), "k")
	require.NoError(t, err)
	assert.Nil(t, off.tracker)
	require.NotContains(t, server.Do(t, "CLIENT", "LIST"), "flags=t")
}

func TestX20D42ManyWhoAskForOneKeyShareARead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := newGateway(t, Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	g.awaitTrust(t)
	require.NoError(t, g.Put(t.Context(), "k", []byte("v"), 0))
	calls := func() string {
		_, after, _ := strings.Cut(server.Do(t, "INFO", "commandstats"), "cmdstat_getrange:calls=")
		count, _, _ := strings.Cut(after, ",")
		return count
	}
	server.Do(t, "SET", "edge_auth:l", "w")
	require.Empty(t, calls())
	server.Stop()
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			value, err := g.look(context.Background(), "k")
			assert.Equal(t, "v", value, "%v", err)
		})
	}
	time.Sleep(50 * time.Millisecond) // all of them wait
	server.Continue()
	all.Wait()
	assert.Equal(t, "1", calls())
}

func TestX03UnreadableNewsMeansEverything(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		push  []any
		stale bool
	}{
		"key":           {[]any{"invalidate", []any{"a"}}, true},
		"another key":   {[]any{"invalidate", []any{"b"}}, false},
		"several":       {[]any{"invalidate", []any{"b", "a"}}, true},
		"all":           {[]any{"invalidate", nil}, true},
		"of no list":    {[]any{"invalidate", "a"}, true},
		"of no text":    {[]any{"invalidate", []any{5}}, true},
		"without a key": {[]any{"invalidate", []any{}}, false},
	} {
		changes := store.NewChanges("")
		changes.Trust(store.Forever)
		stamp := changes.Stamp("a")
		require.NoError(t, news{changes}.HandlePushNotification(t.Context(), push.NotificationHandlerContext{}, test.push))
		assert.Equal(t, !test.stale, stamp.Current(store.Now()), name)
	}
}

// What was read of a key is forgotten when its slot moves: the master that it goes to
// tells of what happens to it there.
func TestD26ChangesAreHeardWhereASlotHasMovedTo(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 3)
	g := newGateway(t, caching(Config{Cluster: []string{nodes[1].Addr}, Timeout: caddy.Duration(2 * time.Second)}, 2*time.Second))
	require.Eventually(t, func() bool { return g.Put(context.Background(), "k", []byte("0"), time.Hour) == nil }, 20*time.Second, 20*time.Millisecond)
	g.awaitTrust(t)
	const key = "edge_auth:k"
	slot := nodes[0].Do(t, "CLUSTER", "KEYSLOT", key)
	at, err := strconv.Atoi(slot)
	require.NoError(t, err)
	from := at * 3 / 16384
	for n := range 4 { // there and back
		to := (from + 1) % 3
		g.warm(t)
		source, target := nodes[from], nodes[to]
		sourceID, targetID := source.Do(t, "CLUSTER", "MYID"), target.Do(t, "CLUSTER", "MYID")
		host, port, _ := strings.Cut(target.Addr, ":")
		target.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", sourceID)
		source.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", targetID)
		source.Do(t, "MIGRATE", host, port, key, "0", "5000")
		for _, node := range []*redistest.Server{target, source, nodes[3-from-to]} {
			node.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", targetID)
		}
		g.warm(t)
		want := "moved " + strconv.Itoa(n)
		target.Do(t, "SET", key, want)
		require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == want }, time.Second, time.Millisecond)
		from = to
	}
}

// News that was missed while there was no connection for it is never heard, so what
// was read before counts for nothing once there is one again.
func TestD11WhatWasReadBeforeAConnectionWasLostIsForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	const staleness = 8 * time.Second // it is back long before
	g := newGateway(t, caching(Config{URL: "redis://" + proxy.Addr}, staleness))
	g.awaitTrust(t)
	server.Do(t, "SET", "edge_auth:k", "old")
	g.warm(t)
	proxy.Cut("tracking")
	server.Do(t, "SET", "edge_auth:k", "new")
	require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == "new" }, staleness-time.Second, 5*time.Millisecond)
	require.True(t, g.Changes().Trusted(), "it is not only that nothing is believed any more")
}

func TestX01OwnWritesAreSeenByTheNextRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := newGateway(t, Config{URL: server.URL()})
	g.awaitTrust(t)
	for n := range 300 {
		want := strconv.Itoa(n)
		require.NoError(t, g.Put(t.Context(), "k", []byte(want), time.Hour))
		value, err := g.look(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, want, value)
	}
}

// Who joins a look-up gets its answer only if nothing was heard of the key meanwhile.
func TestX02SharedAnswerThatNewsHasOvertakenIsNotTaken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := newGateway(t, Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	g.awaitTrust(t)
	server.Stop()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { _, _ = g.look(context.Background(), "k") })
		require.Eventually(t, func() bool { return g.waiting() > 0 }, 5*time.Second, time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // the second has joined
	g.Changes().Changed(g.Name("k"))
	server.Continue()
	all.Wait()
	assert.Contains(t, server.Do(t, "INFO", "commandstats"), "cmdstat_getrange:calls=2,")
}

// waiting is how many keys are looked up.
func (g *gateway) waiting() int {
	g.lookups.mu.Lock()
	defer g.lookups.mu.Unlock()
	return len(g.lookups.byKey)
}
