package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// startFilled runs a Redis that has the crowd's sessions.
func startFilled(t testing.TB, args ...string) *redistest.Server {
	t.Helper()
	redis := redistest.Start(t, args...)
	fill(t, redis)
	return redis
}

// reads is how often Redis was asked for a session so far.
func reads(t testing.TB, redis *redistest.Server) string {
	t.Helper()
	_, after, _ := strings.Cut(redis.Do(t, "INFO", "commandstats"), "cmdstat_getrange:calls=")
	count, _, _ := strings.Cut(after, ",")
	return count
}

// awaitKept waits until Redis is asked for nobody in a crowd any more.
func awaitKept(t testing.TB, redis *redistest.Server, c *crowd) {
	t.Helper()
	harness.Eventually(t, 15*time.Second, func() bool {
		before := reads(t, redis)
		for range 2 * size {
			c.awaits(http.StatusOK, 5*time.Second)
		}
		return reads(t, redis) == before
	}, "Redis is asked each time")
}

// keeper is a gateway with a crowd that it knows.
func keeper(t testing.TB, redis *redistest.Server, options string) (*harness.Gateway, *crowd) {
	t.Helper()
	g, up := start(t, redis.URL(), options)
	through(t, g, up)
	c := startCrowd(t, g, up, members()...)
	awaitKept(t, redis, c)
	return g, c
}

// listenersOf are the ids of the connections that Redis tells of changes.
func listenersOf(t testing.TB, redis *redistest.Server) []string {
	t.Helper()
	var ids []string
	for line := range strings.Lines(redis.Do(t, "CLIENT", "LIST")) {
		if strings.Contains(line, " flags=t") {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			ids = append(ids, id)
		}
	}
	return ids
}

// The connection that brings news is killed, while all others live: what happened
// meanwhile is not missed.
func TestD11OnlyTheConnectionForNewsIsKilled(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, c := keeper(t, redis, timeout+"\n cache 1000 {\n max_staleness 8s\n}")
	for n := range 3 {
		var listeners []string
		harness.Eventually(t, 10*time.Second, func() bool { // it is tried again every 2 s
			listeners = listenersOf(t, redis)
			return len(listeners) == 1
		}, "nobody listens for news, or more than one")
		redis.Do(t, "CLIENT", "KILL", "ID", listeners[0])
		c.mayEnd(fmt.Sprintf("user-%d", n))
		redis.Do(t, "DEL", fmt.Sprintf("sess:s%d", n))
		harness.Eventually(t, 4*time.Second, func() bool { return c.get(n) == http.StatusUnauthorized }, "revoked and served")
		awaitKept(t, redis, c)
	}
	c.stop()
	c.lossless()
	assert.Zero(t, c.count(http.StatusServiceUnavailable), "Redis answers all the time")
	assert.LessOrEqual(t, len(g.Log.Lines("does not tell of changes")), 3)
}

// Whatever happens to a key, or to all at once, what was read before it is not served.
func TestD12AllKeysChangeAtOnce(t *testing.T) {
	t.Parallel()
	redis := startFilled(t, "--enable-debug-command", "yes")
	g, up := start(t, redis.URL(), timeout)
	through(t, g, up)
	cookie := sessionOf(0).header
	known := func() {
		t.Helper()
		harness.Eventually(t, 10*time.Second, func() bool {
			before := reads(t, redis)
			return g.Get("/user-0", cookie).Status == http.StatusOK && reads(t, redis) == before
		}, "Redis is asked each time")
	}
	// is waits until whose session it is, is another; "": nobody's.
	is := func(user, what string) {
		t.Helper()
		harness.Eventually(t, slow, func() bool {
			up.Taken()
			status := g.Get("/user-0", cookie).Status
			if user == "" {
				return status == http.StatusUnauthorized
			}
			return status == http.StatusOK && harness.HeaderOf(up.One(t), "Remote-User")[0] == user
		}, what)
	}
	again := func() {
		t.Helper()
		redis.Do(t, "FLUSHALL")
		fill(t, redis)
		is("user-0", "not let in again")
	}
	dump := strings.TrimSuffix(redis.Do(t, "EVAL", "return redis.call('DUMP', 'sess:s1')", "0"), "\r\n")
	for what, c := range map[string]struct {
		does []string
		user string
	}{
		"FLUSHALL":                 {[]string{"FLUSHALL"}, ""},
		"FLUSHDB":                  {[]string{"FLUSHDB"}, ""},
		"FLUSHALL ASYNC":           {[]string{"FLUSHALL", "ASYNC"}, ""},
		"moved to another DB":      {[]string{"MOVE", "sess:s0", "1"}, ""},
		"RENAME":                   {[]string{"RENAME", "sess:s0", "elsewhere"}, ""},
		"RENAME of another to it":  {[]string{"RENAME", "sess:s1", "sess:s0"}, "user-1"},
		"UNLINK":                   {[]string{"UNLINK", "sess:s0"}, ""},
		"EXPIREAT":                 {[]string{"EXPIREAT", "sess:s0", "1"}, ""},
		"COPY":                     {[]string{"COPY", "sess:s1", "sess:s0", "REPLACE"}, "user-1"},
		"RESTORE":                  {[]string{"RESTORE", "sess:s0", "0", dump, "REPLACE"}, "user-1"},
		"RESTORE of what is over":  {[]string{"RESTORE", "sess:s0", "1", dump, "REPLACE", "ABSTTL"}, ""},
		"replaced from another DB": {[]string{"EVAL", "redis.call('SELECT', 1) redis.call('SET', 'sess:s0', '{\"id\":\"user-5\"}') redis.call('COPY', 'sess:s0', 'sess:s0', 'DB', 0, 'REPLACE')", "0"}, "user-5"},
	} {
		known()
		redis.Do(t, c.does...)
		is(c.user, what)
		again()
	}
	// What was moved away and comes back is there again.
	known()
	redis.Do(t, "MOVE", "sess:s0", "1")
	is("", "moved away")
	redis.Do(t, "EVAL", "redis.call('SELECT', 1) return redis.call('MOVE', 'sess:s0', 0)", "0")
	is("user-0", "moved back")
}

// What Redis loads from its disk is what counts, be it what there was or less; and what
// happens after that is told as before.
func TestD12DebugReload(t *testing.T) {
	t.Parallel()
	redis := startFilled(t, "--enable-debug-command", "yes")
	_, c := keeper(t, redis, timeout)
	redis.Do(t, "DEBUG", "RELOAD")
	assert.Equal(t, http.StatusOK, c.get(0))
	awaitKept(t, redis, c)
	for n := range size / 2 {
		c.mayEnd(fmt.Sprintf("user-%d", n))
	}
	redis.Do(t, "DEL", "sess:s0")
	harness.Eventually(t, slow, func() bool { return c.get(0) == http.StatusUnauthorized }, "revoked after it was loaded, and served")

	// Of before those were there that are known now.
	redis.Do(t, "EVAL", "return redis.call('DEL', 'sess:s1', 'sess:s2', 'sess:s3')", "0")
	redis.Do(t, "SAVE")
	for n := 1; n < size/2; n++ {
		redis.Do(t, "SET", fmt.Sprintf("sess:s%d", n), fmt.Sprintf(`{"id":"user-%d"}`, n))
	}
	harness.Eventually(t, slow, func() bool {
		return c.get(1) == http.StatusOK && c.get(2) == http.StatusOK && c.get(3) == http.StatusOK
	}, "not let in again")
	redis.Do(t, "DEBUG", "RELOAD", "NOSAVE")
	for n := range size / 2 {
		harness.Eventually(t, slow, func() bool { return c.get(n) == http.StatusUnauthorized }, "what is not in what was loaded is served")
	}
	c.end(2)
}

// Nobody tells of SWAPDB: max_age is the bound.
func TestD12SwappedDatabasesAreNoticedWithinMaxAge(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), timeout+"\n cache 1000 {\n max_age 2s\n}")
	through(t, g, up)
	redis.Do(t, "SWAPDB", "0", "1")
	harness.Eventually(t, 2*time.Second+slow, func() bool { return g.Get("/user-0", sessionOf(0).header).Status == http.StatusUnauthorized }, "served for longer than max_age")
}

// A Redis that comes back with nothing, or with what it had a while ago, is believed:
// it is the one that knows.
func TestD13RedisComesBackWithAnotherState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	redis := startFilled(t, "--dir", dir, "--dbfilename", "dump.rdb")
	redis.Do(t, "SAVE")
	old, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
	require.NoError(t, err)
	_, c := keeper(t, redis, timeout+"\n cache 1000 {\n max_staleness 10s\n}")
	c.mayEnd("user-0")
	redis.Do(t, "DEL", "sess:s0")
	harness.Eventually(t, slow, func() bool { return c.get(0) == http.StatusUnauthorized }, "not revoked")

	redis.Kill()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dump.rdb"), old, 0o600))
	redis.Restart(t)
	harness.Eventually(t, 6*time.Second, func() bool { return c.get(0) == http.StatusOK }, "Redis says that it lives, as docs/operation says")

	for n := range size {
		c.mayEnd(fmt.Sprintf("user-%d", n))
	}
	redis.Kill()
	require.NoError(t, os.Remove(filepath.Join(dir, "dump.rdb")))
	redis.Restart(t)
	began := time.Now()
	for n := range size {
		harness.Eventually(t, 6*time.Second, func() bool { return c.get(n) == http.StatusUnauthorized }, "what was read before the restart is served")
	}
	t.Logf("all are out %v after it is back", time.Since(began))
	c.end(2)
}

// A gateway that was stopped, as a machine that is moved is, serves nothing of before
// that it has not heard of since.
func TestD29GatewayThatWasPaused(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), cached)
	through(t, g, up)
	for n := range 3 {
		cookie := sessionOf(n).header
		harness.Eventually(t, 10*time.Second, func() bool {
			before := reads(t, redis)
			return g.Get(fmt.Sprintf("/user-%d", n), cookie).Status == http.StatusOK && reads(t, redis) == before
		}, "Redis is asked each time")
		resume := g.Pause()
		redis.Do(t, "DEL", fmt.Sprintf("sess:s%d", n))
		time.Sleep(staleness + 200*time.Millisecond)
		resume()
		a := g.Get(fmt.Sprintf("/user-%d", n), cookie)
		assert.Contains(t, []int{http.StatusUnauthorized, http.StatusServiceUnavailable}, a.Status, "revoked while it slept")
		harness.Eventually(t, 2*time.Second+slow, func() bool { return g.Get("/user-7", sessionOf(7).header).Status == http.StatusOK }, "does not recover")
	}
}
