package attacks

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// The rows P01 to P72 of the attack catalogue, paths, methods, protocols and
// deployment, stand in the files paths_*_test.go. Rows, or parts of rows, that stand
// elsewhere:
//
//	P02 to P12     each byte that makes a path ambiguous: paths_test.go of the root
//	P32, P34       WebSockets that stay open: integration/passthrough_test.go
//	P33            tokens in the query, where configured: integration/jwt_test.go
//	P60            integration/rules_test.go
//	P70            integration/verifiers_test.go

// pathSites are sites by their host; each proxies to one upstream.
const pathSites = `
	edge_auth {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://prefix.localhost:$PORT {
	tls internal
	edge_auth /admin/* {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://hole.localhost:$PORT {
	tls internal
	@guarded not path /pub/* /pub
	edge_auth @guarded {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://regexp.localhost:$PORT {
	tls internal
	@guarded path_regexp ^/admin(/|$)
	edge_auth @guarded {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://expression.localhost:$PORT {
	tls internal
	@guarded expression {http.request.uri.path}.startsWith("/admin")
	edge_auth @guarded {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://header.localhost:$PORT {
	tls internal
	@guarded header X-Guard yes
	edge_auth @guarded {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://rewritten.localhost:$PORT {
	tls internal
	uri strip_prefix /app
	@short path /short
	rewrite @short /admin/short
	edge_auth /admin/* {
		JWT
	}
	reverse_proxy UPSTREAM
}
https://stripped.localhost:$PORT {
	tls internal
	@guarded not path /pub/*
	edge_auth @guarded {
		JWT
	}
	handle_path /pub/* {
		reverse_proxy UPSTREAM
	}
	reverse_proxy UPSTREAM
}
https://options.localhost:$PORT {
	tls internal
	@guarded not method OPTIONS
	edge_auth @guarded {
		JWT
	}
	reverse_proxy UPSTREAM
`

// pathGateway runs them.
type pathGateway struct {
	*harness.Gateway

	up    *harness.Upstream
	port  string
	token string
}

func startPaths(t *testing.T) *pathGateway {
	t.Helper()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("default_sni localhost\n fallback_sni localhost", pathSites)
	watchLog(t, g)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(g.URL, "http://"))
	require.NoError(t, err)
	return &pathGateway{g, up, port, aliceToken(t)}
}

// to is a request to one of the sites.
func (g *pathGateway) to(site, path string, lines ...string) harness.Request {
	host := "localhost:" + g.port
	if site != "" {
		host = site + "." + host
	}
	return harness.Request{Path: path, Host: host, Headers: lines}
}

// refuses asserts that nothing of a request without a credential reaches the upstream.
func (g *pathGateway) refuses(t *testing.T, door harness.Door, r harness.Request) {
	t.Helper()
	a, err := door.Ask(t, g.Gateway, r)
	assert.Empty(t, g.up.Taken(), "%s %s %q", door.Name, r.Host, r.Path)
	if err == nil {
		assert.Contains(t, []int{400, 401, 404, 405, 414, 431}, a.Status, "%s %s %q", door.Name, r.Host, r.Path)
	}
}

// guards asserts that a request passes for alice alone, unless it is no request.
func (g *pathGateway) guards(t *testing.T, door harness.Door, r harness.Request) {
	t.Helper()
	g.refuses(t, door, r)
	r.Headers = append([]string{g.token}, r.Headers...)
	a, err := door.Ask(t, g.Gateway, r)
	got := g.up.Taken()
	if err != nil || a.Status == http.StatusBadRequest {
		assert.Empty(t, got, "%s %s %q", door.Name, r.Host, r.Path)
		return
	}
	assert.Equal(t, http.StatusOK, a.Status, "%s %s %q", door.Name, r.Host, r.Path)
	if assert.Len(t, got, 1, "%s %s %q", door.Name, r.Host, r.Path) {
		assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got[0]))
	}
}

// passes asserts that a request needs no credential, and returns what arrived.
func (g *pathGateway) passes(t *testing.T, door harness.Door, r harness.Request) string {
	t.Helper()
	a, err := door.Ask(t, g.Gateway, r)
	got := g.up.Taken()
	if assert.NoError(t, err, "%s %s %q", door.Name, r.Host, r.Path) && assert.Len(t, got, 1, "%s %s %q: %d", door.Name, r.Host, r.Path, a.Status) {
		assert.Empty(t, identityIn(got[0]))
		return got[0]
	}
	return ""
}

// raw sends bytes by TLS, to a server of that name, and returns all that comes back.
func (g *pathGateway) raw(t *testing.T, serverName, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(g.URL, "http://"), &tls.Config{ServerName: serverName, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	go func() { _, _ = io.WriteString(conn, request) }()
	reply, _ := io.ReadAll(conn) // the server may reset what it has not read
	return string(reply)
}

// asked is a request of HTTP/1.1 as bytes, the last on its connection.
func asked(line, host string, lines ...string) string {
	return fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", line, host, strings.Join(append(lines, ""), "\r\n"))
}
