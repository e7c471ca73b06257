package attacks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

func TestP20HostsInAnySpellingHaveTheSamePolicy(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	var hosts strings.Builder // more than a hundred, which Caddy looks up in another way
	for i := range 120 {
		fmt.Fprintf(&hosts, "http://h%d.example:$PORT, ", i)
	}
	g := harness.Start(t, "", hosts.String()+"http://xn--bcher-kva.example:$PORT, http://[::1]:$PORT, http://127.0.0.1:$PORT {\n bind 127.0.0.1\n edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM\n}",
		"UPSTREAM", up.Addr, "JWT", aliceJWT)
	watchLog(t, g)
	token := aliceToken(t)
	passed := 0
	for _, host := range []string{
		"h7.example", "H7.EXAMPLE", "h119.eXample", "h7.example.", "h7.example:80", "h7.example:0", "h7.example:", "xn--bcher-kva.example", "XN--BCHER-KVA.example",
		"b\u00fccher.example", "[::1]", "[::1]:80", "127.0.0.1", "127.1", "2130706433", "h7.example#", "h7.example?", "h7.example/", "x@h7.example", "h7.example,h8.example", "%68%37.example", "h7.example..",
	} {
		reply := g.Raw(asked("GET /", host))
		assert.Empty(t, up.Taken(), "%s: %s", host, reply)
		reply = g.Raw(asked("GET /", host, token))
		for _, got := range up.Taken() {
			assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got), host)
			assert.Contains(t, reply, "HTTP/1.1 200")
			passed++
		}
	}
	assert.GreaterOrEqual(t, passed, 8, "the usual ones are served")
}

func TestP21HostDecidesAndNotTheNameOfTheHandshake(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, name := range []string{"localhost", "prefix.localhost", "hole.localhost", "", "unknown.example", "127.0.0.1", "header.localhost"} {
		for _, site := range []string{"", "prefix", "hole"} {
			host := g.to(site, "").Host
			reply := g.raw(t, name, asked("GET /admin/x", host))
			assert.Contains(t, reply, "HTTP/1.1 401", "P21 P22 name %q, host %s", name, host)
			assert.Empty(t, g.up.Taken())
		}
	}
	for _, door := range harness.Doors { // h2 and h3 ask for several hosts on a connection for localhost
		g.guards(t, door, g.to("prefix", "/admin/x"))
		g.passes(t, door, g.to("header", "/admin/x"))
	}
}

// Where certificates of clients differ by host, Caddy asks for both names to agree.
func TestP21NamesThatDifferAreMisdirected(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("servers {\n strict_sni_host on\n }", "edge_auth off\n reverse_proxy UPSTREAM\n}\n https://prefix.localhost:$PORT {\n tls internal\n edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM\n")
	for _, door := range harness.Doors {
		a, got := ask(t, door, g, up, harness.Request{Path: "/", Host: "prefix." + g.Vars.Replace("localhost:$PORT"), Headers: []string{aliceToken(t)}})
		assert.Equal(t, 421, a.Status, door.Name)
		assert.Empty(t, got, door.Name)
	}
}

func TestP23HostThatIsNoneReachesNothing(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	host := "localhost:" + g.port
	for _, request := range []string{
		"GET /admin/x HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/1.0\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost: " + host + "\r\nHost: header." + host + "\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost: header." + host + "\r\nHost: " + host + "\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost: " + host + ", header." + host + "\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost: " + host + " header." + host + "\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/1.1\r\nHost : " + host + "\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/2.0\r\nHost: " + host + "\r\nConnection: close\r\n\r\n",
		"GET /admin/x HTTP/0.9\r\n\r\n",
		"GET /admin/x\r\n\r\n",
	} {
		reply := g.raw(t, "localhost", request)
		assert.Empty(t, g.up.Taken(), "%q: %.100s", request, reply)
	}
	for _, door := range harness.Doors[1:] {
		r := g.to("", "/admin/x")
		r.NoHost = true
		g.refusesOrIgnores(t, door, r)
		r = g.to("", "/admin/x", "host: header."+host)
		g.refusesOrIgnores(t, door, r)
	}
	require.Contains(t, g.raw(t, "localhost", asked("GET /", host, g.token)), "HTTP/1.1 200", "the baseline")
	g.up.One(t)
}

// refusesOrIgnores asserts that nothing reaches the upstream; where no site has the
// host, Caddy answers 200 with nothing.
func (g *pathGateway) refusesOrIgnores(t *testing.T, door harness.Door, r harness.Request) {
	t.Helper()
	a, err := door.Ask(t, g.Gateway, r)
	assert.Empty(t, g.up.Taken(), "%s %v", door.Name, r)
	if err == nil && a.Status == 200 {
		assert.Empty(t, a.Body)
	}
}
