package attacks

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// trailers are those of X-Any: 1, which is announced, and X-Other: 2, which is not,
// that Caddy without Edge Auth passes on.
var trailers = map[string][]string{"h1": {"1", "2"}, "h2": {"1"}, "h3": nil}

// The baseline of all that follows: what each door sends reaches the upstream, and
// so would a forgery.
func TestEachDoorSendsWhatItIsTold(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.ServeTLS("", "reverse_proxy UPSTREAM")
	for _, door := range harness.Doors {
		t.Run(door.Name, func(t *testing.T) {
			a, err := door.Ask(t, g, harness.Request{
				Method: "POST", Path: "/x?y=1", Body: "hello",
				Headers: []string{"Remote-User: admin", "Remote_User: admin", "Trailer: X-Any"}, Trailers: []string{"X-Any: 1", "X-Other: 2"},
			})
			require.NoError(t, err)
			assert.Equal(t, 200, a.Status)
			assert.Equal(t, "ok", a.Body)
			got := up.One(t)
			assert.Contains(t, got, "POST /x?y=1 HTTP/1.1\r\n")
			assert.Contains(t, got, "hello")
			assert.Equal(t, []string{"admin"}, harness.HeaderOf(got, "Remote-User"))
			assert.Equal(t, trailers[door.Name], append(harness.HeaderOf(got, "X-Any"), harness.HeaderOf(got, "X-Other")...))
		})
	}
}
