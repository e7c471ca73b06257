package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// startOnSessions runs a gateway for sessions of an application, in JSON.
func startOnSessions(t *testing.T, redis *redistest.Server, cache string, up *harness.Upstream) *harness.Gateway {
	t.Helper()
	return harness.Start(t, "edge_auth {\n store redis "+redis.URL()+" {\n"+cache+"\n}\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session custom {
			cookie sid
			key sess:{id}
			decode json
			user id
		}
		check_user
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
}

func sid(id any) string { return fmt.Sprintf("Cookie: sid=%v", id) }

// warm asks until what is found is kept: Redis is not asked any more.
func warm(g *harness.Gateway, t *testing.T, redis *redistest.Server, cookie string) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, func() bool {
		before := calls(redis.Do(t, "INFO", "commandstats"), "getrange")
		return g.Get("/", cookie).Status == http.StatusOK && calls(redis.Do(t, "INFO", "commandstats"), "getrange") == before
	}, "Redis is asked each time")
}

func TestS06X03X05SessionSeenBeforeCostsRedisNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := startOnSessions(t, redis, "cache 1000", up)
	redis.Do(t, "SET", "sess:1", `{"id":"alice"}`, "EX", "3600")
	warm(g, t, redis, sid(1))
	before := redis.Do(t, "INFO", "commandstats")
	for range 200 {
		require.Equal(t, http.StatusOK, g.Get("/", sid(1)).Status)
	}
	for _, command := range []string{"getrange", "pttl"} {
		assert.Equal(t, calls(before, command), calls(redis.Do(t, "INFO", "commandstats"), command), command)
	}
	for name, step := range map[string][2][]string{
		"disabled":     {{"SET", "edge_auth:user:alice", `{"active":false}`}, {"DEL", "edge_auth:user:alice"}},
		"logged out":   {{"DEL", "sess:1"}, {"SET", "sess:1", `{"id":"alice"}`}},
		"not decoded":  {{"SET", "sess:1", `{"id":`}, {"SET", "sess:1", `{"id":"alice"}`}},
		"of nobody":    {{"SET", "sess:1", `{}`}, {"SET", "sess:1", `{"id":"alice"}`}},
		"has ended":    {{"PEXPIRE", "sess:1", "1"}, {"SET", "sess:1", `{"id":"alice"}`}},
		"all is gone":  {{"FLUSHALL"}, {"SET", "sess:1", `{"id":"alice"}`}},
		"another type": {{"EVAL", "redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], 'x')", "1", "sess:1"}, {"DEL", "sess:1"}},
	} {
		redis.Do(t, "SET", "sess:1", `{"id":"alice"}`)
		warm(g, t, redis, sid(1))
		redis.Do(t, step[0]...)
		harness.Eventually(t, time.Second, func() bool { return g.Get("/", sid(1)).Status == http.StatusUnauthorized }, name)
		redis.Do(t, step[1]...)
	}
}

// Ten gateways on one Redis: how long after a logout was acknowledged each of them
// lets the last request through.
func TestS60X01LogoutReachesTenGatewaysWithinMilliseconds(t *testing.T) {
	// Not parallel: it measures time.
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	gateways := make([]*harness.Gateway, 10)
	for i := range gateways {
		gateways[i] = startOnSessions(t, redis, "cache 1000", up)
	}
	const rounds = 20
	late := make([]time.Duration, 0, rounds*len(gateways))
	for n := range rounds {
		redis.Do(t, "SET", fmt.Sprintf("sess:%d", n), `{"id":"alice"}`, "EX", "3600")
		for _, g := range gateways {
			warm(g, t, redis, sid(n))
		}
		var mu sync.Mutex
		var all sync.WaitGroup
		last := make([]time.Time, len(gateways))
		for i, g := range gateways {
			all.Go(func() {
				for {
					began := time.Now()
					a, err := g.Try(context.Background(), http.MethodGet, "/", "", sid(n))
					if err != nil || a.Status != http.StatusOK {
						return
					}
					mu.Lock()
					last[i] = began
					mu.Unlock()
					time.Sleep(time.Millisecond / 2)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		redis.Do(t, "DEL", fmt.Sprintf("sess:%d", n))
		acknowledged := time.Now()
		all.Wait()
		for _, at := range last {
			late = append(late, max(0, at.Sub(acknowledged)))
		}
	}
	slices.Sort(late)
	p50, p99 := late[len(late)/2], late[len(late)*99/100]
	t.Logf("p50 %v, p99 %v, at most %v", p50, p99, late[len(late)-1])
	assert.Less(t, p50, 5*time.Millisecond)
	assert.Less(t, p99, 50*time.Millisecond)
}

// While Redis is away, who is known is let through for max_staleness, and nobody
// after that.
func TestD02D04OutageIsRiddenOutForMaxStaleness(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*redistest.Server){"hangs": (*redistest.Server).Stop, "is gone": (*redistest.Server).Kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			up := harness.StartUpstream(t)
			g := startOnSessions(t, redis, "cache 1000 {\n max_staleness 1500ms\n}", up)
			redis.Do(t, "SET", "sess:1", `{"id":"alice"}`)
			warm(g, t, redis, sid(1))
			down(redis)
			began := time.Now()
			assert.Equal(t, http.StatusOK, g.Get("/", sid(1)).Status)
			assert.Equal(t, http.StatusServiceUnavailable, g.Get("/", sid(2)).Status, "never seen")
			harness.Eventually(t, 3*time.Second, func() bool { return g.Get("/", sid(1)).Status == http.StatusServiceUnavailable }, "never ends")
			assert.Less(t, time.Since(began), 2*time.Second)
			harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines("does not tell of changes")) == 1 }, "not told")
			up.Taken()
			assert.Equal(t, http.StatusServiceUnavailable, g.Get("/", sid(1)).Status)
			assert.Empty(t, up.Taken())
			if name == "hangs" {
				redis.Continue()
			} else {
				redis.Restart(t)
				redis.Do(t, "SET", "sess:1", `{"id":"alice"}`)
			}
			harness.Eventually(t, 5*time.Second, func() bool { return g.Get("/", sid(1)).Status == http.StatusOK }, "does not recover")
			warm(g, t, redis, sid(1))
			assert.Len(t, g.Log.Lines("tells of changes again"), 1)
		})
	}
}

// The default policy, with nothing but a store: what is revoked by the command line
// of one gateway is refused by the other.
func TestT30RevocationOnOneGatewayIsSeenByAnother(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	gateways := make([]*harness.Gateway, 2)
	for i := range gateways {
		gateways[i] = harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "http://127.0.0.1:$PORT {\n edge_auth\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	}
	gateways[0].EdgeAuth("correct horse\n", "user", "add", "alice")
	token := gateways[0].EdgeAuth("", "token", "create", "alice")
	for _, g := range gateways {
		warm(g, t, redis, "Authorization: Token "+token)
	}
	id := strings.Fields(gateways[1].EdgeAuth("", "token", "list", "alice"))
	var shown string
	for _, word := range id {
		if len(word) == 16 && strings.Trim(word, "0123456789abcdef") == "" {
			shown = word
		}
	}
	require.NotEmpty(t, shown, "%v", id)
	gateways[1].EdgeAuth("", "token", "revoke", shown)
	for _, g := range gateways {
		harness.Eventually(t, time.Second, func() bool { return g.Get("/", "Authorization: Token "+token).Status == http.StatusUnauthorized }, "still let in")
	}
}
