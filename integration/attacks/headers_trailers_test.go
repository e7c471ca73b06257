package attacks

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// Trailers: net/http puts them into the request when its body has been read, and once
// one is announced, reverse_proxy passes all of them on; servers behind may take them
// for headers.
var forgedTrailers = []headerCase{
	{name: "H40 H43 announced", body: "x", lines: []string{"Trailer: Remote-User"}, trailers: []string{"Remote-User: mallory"}},
	{name: "H40 H43 announced, no body", lines: []string{"Trailer: Remote-User"}, trailers: []string{"Remote-User: mallory"}},
	{name: "H41 H43 beside one that is announced", body: "x", lines: []string{"Trailer: X-Any"}, trailers: []string{"X-Any: mallory", "Remote-User: mallory"}},
	{name: "H41 H43 not announced", body: "x", trailers: []string{"Remote-User: mallory"}},
	{name: "H42 other spellings", body: "x", lines: []string{"Trailer: X-Any, Remote_user"}, trailers: []string{
		"X-Any: mallory", "Remote_user: mallory", "Remote.User: mallory", "Remote!User: mallory", "x-webauth-user: mallory",
	}},
	{name: "H46 headers of other hops", body: "x", lines: []string{"Trailer: X-Forwarded-For, X-Any"}, trailers: []string{"X-Forwarded-For: mallory", "X-Any: mallory"}},
}

func TestH40NoTrailerReachesAnUpstream(t *testing.T) {
	t.Parallel()
	checkHeaderCases(t, forgedTrailers)
}

func TestH44CredentialsInTrailersAreNotRead(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	watchLog(t, g)
	token := aliceToken(t)
	for _, door := range harness.Doors {
		for _, trailer := range []string{token, "Cookie: sid=good"} {
			name, _, _ := strings.Cut(trailer, ":")
			for _, lines := range [][]string{nil, {"Trailer: " + name}} {
				// Go refuses to be told that a trailer is one of these.
				a, err := door.Ask(t, g, harness.Request{Method: http.MethodPost, Path: "/", Body: "x", Headers: lines, Trailers: []string{trailer}})
				if err == nil {
					assert.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest}, a.Status, "%s %s", door.Name, trailer)
				}
				assert.Empty(t, up.Taken(), "%s %s", door.Name, trailer)
			}
		}
	}
}

// Too much of it is refused, and costs no memory.
func TestH45FloodsOfTrailersAreBounded(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	watchLog(t, g)
	token := aliceToken(t)
	before := g.PeakMemory()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("Remote-User%d: mallory", i)
	}
	for _, door := range harness.Doors {
		for _, trailers := range [][]string{many, {"Remote-User: " + strings.Repeat("mallory", 1<<20/7)}} {
			_, _ = door.Ask(t, g, harness.Request{
				Method: http.MethodPost, Path: "/", Body: "x", Headers: []string{token, "Trailer: X-Any"}, Trailers: slices.Concat([]string{"X-Any: 1"}, trailers),
			})
			assert.NotContains(t, strings.Join(up.Taken(), ""), forged, door.Name)
			a, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{token}})
			require.Equal(t, http.StatusOK, a.Status)
			assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got))
		}
	}
	assert.Less(t, g.PeakMemory()-before, int64(64<<20))
}
