package attacks

import (
	"bufio"
	"context"
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

// otherDoor is a way in that is no h1, h2 or h3 by TLS.
type otherDoor struct {
	name string
	dial func() (net.Conn, error)
	lead string // what comes before the request
	h2c  bool
}

// The core of the tables through each door that a server can be given besides.
func TestP40OtherDoorsLeadThroughTheSamePolicy(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	const site = " {\n BIND\n handle /optional/* {\n edge_auth {\n JWT\n optional\n }\n reverse_proxy UPSTREAM\n }\n handle {\n edge_auth /admin/* {\n JWT\n }\n reverse_proxy UPSTREAM\n }\n}\n"
	g.Serve("servers :$PORT {\n protocols h1 h2c\n }\n servers :$PORT2 {\n listener_wrappers {\n proxy_protocol {\n allow 127.0.0.0/8\n }\n }\n }",
		"http://:$PORT"+strings.Replace(site, "BIND", "", 1)+"http://:$PORT2"+strings.Replace(site, "BIND", "", 1)+"http://"+strings.Replace(site, "BIND", "bind unix/$DIR/s", 1))
	watchLog(t, g)
	tcp := func(address string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return net.Dial("tcp", g.Vars.Replace(address)) }
	}
	token := aliceToken(t)
	for _, door := range []otherDoor{
		{name: "plain", dial: tcp("127.0.0.1:$PORT")},
		{name: "h2c, prior knowledge", dial: tcp("127.0.0.1:$PORT"), h2c: true},
		{name: "unix socket", dial: func() (net.Conn, error) { return net.Dial("unix", g.Dir+"/s") }},
		{name: "PROXY protocol", dial: tcp("127.0.0.1:$PORT2"), lead: "PROXY TCP4 10.0.0.1 127.0.0.1 5 80\r\n"},
		{name: "PROXY protocol, not used", dial: tcp("127.0.0.1:$PORT2")},
		{name: "PROXY protocol, unknown", dial: tcp("127.0.0.1:$PORT2"), lead: "PROXY UNKNOWN\r\n"},
	} {
		t.Run("P40 "+door.name, func(t *testing.T) {
			for _, c := range coreCases {
				if door.h2c && c.h1 {
					continue
				}
				for _, lines := range [][]string{nil, {token}} {
					for _, path := range []string{"/optional/page", "/admin/page", "/x/..;/admin/page", "//evil/admin/page", "/open"} {
						status := door.ask(t, path, append(lines, c.lines...), c.body)
						got := up.Taken()
						what := fmt.Sprintf("%s %s %v", c.name, path, lines)
						if lines == nil && strings.Contains(path, "admin") {
							assert.Equal(t, http.StatusUnauthorized, status, what)
							assert.Empty(t, got, what)
							continue
						}
						require.Equal(t, http.StatusOK, status, what)
						require.Len(t, got, 1, what)
						assert.NotContains(t, got[0], forged, what)
						if lines == nil || path == "/open" {
							assert.Empty(t, identityIn(got[0]), what)
						} else {
							assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got[0]), what)
						}
					}
				}
			}
		})
	}
}

// coreCases are one of each kind of the tables.
var coreCases = []struct {
	name  string
	lines []string
	body  string
	h1    bool // it can't be said in h2
}{
	{name: "H01 H04", lines: []string{"Remote-User: mallory", "remote-user: mallory"}},
	{name: "H09", lines: []string{"X-Forwarded-User: mallory", "X-Webauth-User: mallory", "X-Edge-Auth-Assertion: mallory"}},
	{name: "H10 H11 H12", lines: []string{"Remote_User: mallory", "Remote.User: mallory", "Remote!User: mallory"}},
	{name: "H30", lines: []string{"Connection: Remote-User"}, h1: true},
	{name: "H40 H41", lines: []string{"Trailer: X-Any", "Transfer-Encoding: chunked"}, body: "1\r\nx\r\n0\r\nX-Any: mallory\r\nRemote-User: mallory\r\nRemote_user: mallory\r\n\r\n", h1: true},
	{name: "P24", lines: []string{"X-HTTP-Method-Override: OPTIONS", "X-Original-URL: /optional/page"}},
	{name: "P42 upgrade to h2c", lines: []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"}, h1: true},
}

func (d otherDoor) ask(t *testing.T, path string, lines []string, body string) int {
	t.Helper()
	conn, err := d.dial()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	if d.h2c {
		return askH2C(t, conn, path, lines)
	}
	_, err = io.WriteString(conn, d.lead+"GET "+path+" HTTP/1.1\r\nHost: gateway.example\r\n"+strings.Join(append(lines, ""), "\r\n")+"\r\n"+body)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func askH2C(t *testing.T, conn net.Conn, path string, lines []string) int {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway.example/", nil)
	require.NoError(t, err)
	req.URL.Opaque = path
	if strings.HasPrefix(path, "//") {
		req.URL.Opaque, req.URL.Path = "", path
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
	return resp.StatusCode
}
