package faults

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// sessions are those of an application, in JSON.
const sessions = `session custom {
			cookie sid
			key sess:{id}
			decode json
			user id
		}`

// guarded is a site whose sessions are an application's.
const guarded = `http://127.0.0.1:$PORT {
	edge_auth {
		` + sessions + `
	}
	reverse_proxy UPSTREAM
}`

// size is how many good callers a crowd has.
const size = 8

// members are the good callers of a crowd.
func members() []member {
	all := make([]member, size)
	for i := range all {
		all[i] = sessionOf(i)
	}
	return all
}

// fill gives each of them a session.
func fill(t testing.TB, redis *redistest.Server) {
	t.Helper()
	args := make([]string, 0, 1+2*size)
	args = append(args, "MSET")
	for i := range size {
		args = append(args, fmt.Sprintf("sess:s%d", i), fmt.Sprintf(`{"id":"user-%d"}`, i))
	}
	redis.Do(t, args...)
}

// start runs a gateway whose sessions are in the Redis of a URL, with options of the
// store.
func start(t testing.TB, url, options string) (*harness.Gateway, *harness.Upstream) {
	t.Helper()
	up := harness.StartUpstream(t)
	return startBefore(t, up, "store redis "+url+" {\n"+options+"\n}"), up
}

// startBefore runs a gateway before an upstream.
func startBefore(t testing.TB, up *harness.Upstream, store string) *harness.Gateway {
	t.Helper()
	return harness.Start(t, "edge_auth {\n"+store+"\n}", guarded, "UPSTREAM", up.Addr)
}

// through waits until a caller is let through, and forgets that.
func through(t testing.TB, g *harness.Gateway, up *harness.Upstream) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, func() bool { return g.Get("/user-0", sessionOf(0).header).Status == http.StatusOK }, "nobody is let through")
	up.Taken()
}

// told wants the log to have a line for each outage of the store and its end, and
// not many others. A machine that is busy enough has an outage more.
func told(t testing.TB, g *harness.Gateway, most int) {
	t.Helper()
	most += 2
	for _, text := range []string{"store does not answer", "store answers again", "does not tell of changes", "tells of changes again"} {
		assert.LessOrEqual(t, len(g.Log.Lines(text)), most, text)
	}
	for _, level := range []string{`"level":"error"`, `"level":"warn"`} {
		assert.LessOrEqual(t, len(g.Log.Lines(level)), 2*most+4, level) // four are of the start
	}
	require.Empty(t, g.Log.Lines("panic"))
}
