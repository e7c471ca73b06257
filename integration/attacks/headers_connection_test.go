package attacks

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// hopByHop would take our headers out again: what Connection lists, a proxy deletes.
// HTTP/2 and HTTP/3 know no Connection, and refuse it.
var hopByHop = []headerCase{
	{name: "H30 H36 lists an identity header", lines: []string{"Connection: Remote-User"}, refused: "h2 h3"},
	{name: "H31 H36 in lower case", lines: []string{"Connection: remote-user"}, refused: "h2 h3"},
	{name: "H31 H36 beside close", lines: []string{"Connection: close, Remote-User"}, refused: "h2 h3"},
	{name: "H31 H36 in two lines", lines: []string{"Connection: close", "Connection: Remote-User, X-A", "Connection: x-user-id"}, refused: "h2 h3"},
	{name: "H31 H36 empty members", lines: []string{"Connection:Remote-User,,Remote-Groups"}, refused: "h2 h3"},
	{name: "H31 H36 a header that alice lacks", lines: []string{"Connection: Remote-Email", "Remote-Email: mallory"}, refused: "h2 h3"},
	{name: "H33 H36 underscore", lines: []string{"Connection: Remote_User"}, refused: "h2 h3"},
	{name: "H33 H36 quoted", lines: []string{`Connection: "Remote-User"`}, refused: "h2 h3"},
	{name: "H34 H36 hides the credential", lines: []string{"Connection: Authorization, Cookie"}, refused: "h2 h3"},
	{name: "H36 keep-alive", lines: []string{"Keep-Alive: timeout=5"}, refused: "h2 h3"},
	{name: "H36 te", lines: []string{"TE: remote-user"}, refused: "h2 h3"},
	{name: "H37 Proxy-Connection", lines: []string{"Proxy-Connection: Remote-User"}, refused: "h2 h3"},
	{name: "H37 Keep-Alive", lines: []string{"Keep-Alive: Remote-User"}, refused: "h2 h3"},
}

func TestH30ConnectionNeverTakesAnIdentityHeaderAway(t *testing.T) {
	t.Parallel()
	checkHeaderCases(t, hopByHop)
}

func TestH35ConnectionNeverTakesCaddysOwnHeadersAway(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	_, got := ask(t, harness.Doors[0], g, up, harness.Request{Path: "/", Headers: []string{aliceToken(t), "Connection: X-Forwarded-For, X-Forwarded-Proto"}})
	assert.Equal(t, []string{"127.0.0.1"}, harness.HeaderOf(got, "X-Forwarded-For"))
	assert.Equal(t, []string{"https"}, harness.HeaderOf(got, "X-Forwarded-Proto"))
	assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got))
}
