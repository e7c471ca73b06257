package attacks

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// addressForgeries say that a request comes from elsewhere.
var addressForgeries = []string{
	"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.1, 127.0.0.1", "X-Real-IP: 10.0.0.1", "Client-IP: 10.0.0.1", "True-Client-IP: 10.0.0.1",
	"Forwarded: for=10.0.0.1", `Forwarded: for="a,for=10.0.0.1"`, "X-Client-IP: 10.0.0.1", "CF-Connecting-IP: 10.0.0.1",
}

func TestH50AddressIsThatOfTheSocket(t *testing.T) { //nolint:tparallel // the steps share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", `
	log
	edge_auth_issuer {
		token
	}
	handle /remote {
		edge_auth {
			JWT
			require expression "remote_ip('10.0.0.0/8')"
		}
		reverse_proxy UPSTREAM
	}
	handle /client {
		edge_auth {
			JWT
			require expression "client_ip('10.0.0.0/8')"
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			JWT
			require expression "client_ip('127.0.0.1', '::1') && remote_ip('127.0.0.1', '::1')"
		}
		reverse_proxy UPSTREAM
	}`)
	watchLog(t, g)
	token := aliceToken(t)
	for _, door := range harness.Doors {
		t.Run("H50 H54 rules, "+door.Name, func(t *testing.T) {
			for _, line := range addressForgeries {
				for _, path := range []string{"/remote", "/client"} {
					a, got := ask(t, door, g, up, harness.Request{Path: path, Headers: []string{token, line}})
					assert.Equal(t, http.StatusForbidden, a.Status, "%s %s", path, line)
					assert.Empty(t, got)
				}
				a, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{token, line}})
				assert.Equal(t, http.StatusOK, a.Status, line)
				assert.Equal(t, []string{"127.0.0.1"}, harness.HeaderOf(got, "X-Forwarded-For"), line)
			}
		})
	}
	t.Run("H50 limit of wrong passwords", func(t *testing.T) {
		statuses := make([]int, 0, 8)
		for i := range 8 {
			a, _ := ask(t, harness.Doors[0], g, up, harness.Request{
				Method: http.MethodPost, Path: "/api-token-auth/", Body: fmt.Sprintf(`{"username":"user%d","password":"wrong"}`, i),
				Headers: []string{"Content-Type: application/json", fmt.Sprintf("X-Forwarded-For: 10.0.0.%d", i), fmt.Sprintf("Forwarded: for=10.0.1.%d", i)},
			})
			statuses = append(statuses, a.Status)
		}
		assert.Equal(t, http.StatusTooManyRequests, statuses[len(statuses)-1], "%v", statuses)
	})
	t.Run("H50 audit log", func(t *testing.T) {
		lines := waitFor(t, g, `"event":"login_refused"`)
		for _, line := range lines {
			assert.Contains(t, line, `"client":"127.0.0.1"`)
		}
	})
}

func TestH55UnparsableAddressOfATrustedProxySkipsNoRule(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("servers {\n trusted_proxies static 127.0.0.1/32 ::1/128\n }", `
	handle /inside {
		edge_auth {
			JWT
			require expression "client_ip('10.0.0.0/8')"
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			JWT
			require expression "!client_ip('192.0.2.0/24')"
		}
		reverse_proxy UPSTREAM
	}`)
	watchLog(t, g)
	token := aliceToken(t)
	for _, door := range harness.Doors {
		a, _ := ask(t, door, g, up, harness.Request{Path: "/inside", Headers: []string{token, "X-Forwarded-For: 10.0.0.1"}})
		require.Equal(t, http.StatusOK, a.Status, "the baseline: the proxy is believed")
		for _, value := range []string{"a", "", "10.0.0.1.", "10.0.0", `"10.0.0.1`, "::ffff:g", ",", "unknown", "10.0.0.1\t;"} {
			a, got := ask(t, door, g, up, harness.Request{Path: "/inside", Headers: []string{token, "X-Forwarded-For: " + value}})
			assert.Equal(t, http.StatusForbidden, a.Status, "%s %q", door.Name, value)
			assert.Empty(t, got, "%s %q", door.Name, value)
		}
		a, _ = ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{token, "X-Forwarded-For: 192.0.2.7"}})
		assert.Equal(t, http.StatusForbidden, a.Status)
	}
}

// What a client says of its connection moves neither cookies nor redirects.
func TestH51PlainHTTPStaysPlainHTTP(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n JWT\n login_url /login/\n }\n respond ok\n}", "JWT", aliceJWT)
	for _, line := range []string{"X-Forwarded-Proto: https", "Forwarded: proto=https", "X-Forwarded-Ssl: on", "Front-End-Https: on", "X-Url-Scheme: https"} {
		a := g.Get("/page", "Accept: text/html", line)
		require.Equal(t, http.StatusFound, a.Status)
		assert.Equal(t, "/login/?next=%2Fpage", a.Header.Get("Location"))
		for _, cookie := range a.Header["Set-Cookie"] {
			assert.NotContains(t, cookie, "Secure", line)
			assert.NotContains(t, cookie, "__Host-", line)
		}
	}
}

// hostForgeries name a host that is not the gateway's.
var hostForgeries = []string{
	"X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil.example", "X-Forwarded-Port: 31337", "X-Host: evil.example", "X-Forwarded-Server: evil.example",
	"Forwarded: host=evil.example", "X-Original-Host: evil.example", "X-HTTP-Host-Override: evil.example",
	"X-Original-URL: //evil.example/", "X-Rewrite-URL: //evil.example/", "X-Forwarded-Uri: //evil.example/", "Referer: https://evil.example/",
}

func TestH53NoLinkCookieOrRedirectNamesAnotherHost(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `:$PORT {
	edge_auth_issuer {
		jwt
		session
		jwks
	}
	edge_auth {
		JWT
		session
		login_url /login/
	}
	respond ok
}`, "JWT", aliceJWT)
	watchLog(t, g)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	say := func(host, head, body string) string {
		return g.Raw(head + "Host: " + host + "\r\nConnection: close\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
	}
	usual := strings.TrimPrefix(g.URL, "http://")
	for _, c := range []struct{ head, body, want string }{
		{"GET /page HTTP/1.1\r\nAccept: text/html\r\n", "", "302"},
		{"GET /login/ HTTP/1.1\r\nAccept: text/html\r\n", "", "200"},
		{"GET /logout/ HTTP/1.1\r\nAccept: text/html\r\n", "", " 20"},
		{"POST /api/token/ HTTP/1.1\r\nContent-Type: application/json\r\n", `{"username":"alice","password":"correct horse"}`, "200"},
		{"GET /.well-known/jwks.json HTTP/1.1\r\n", "", "200"},
	} {
		for _, line := range hostForgeries {
			got := say(usual, c.head+line+"\r\n", c.body)
			require.Contains(t, got[:min(len(got), 20)], c.want, "%s %s", c.head, line)
			assert.NotContains(t, got, "evil", "%s %s", c.head, line)
			assert.NotContains(t, got, "31337", "%s %s", c.head, line)
		}
		// What the browser itself asked for may be shown, but is in no link and no cookie.
		got := say("evil.example", c.head, c.body)
		head, _, _ := strings.Cut(got, "\r\n\r\n")
		assert.NotContains(t, head, "evil", c.head)
		assert.NotRegexp(t, `(href|src|action|url)[^>]*evil`, got, c.head)
	}
}

// assertionSite is a policy with an assertion.
const assertionSite = "edge_auth {\n JWT\n assertion {\n audience app\n }\n }\n reverse_proxy UPSTREAM"

func TestH57ForgedAssertionIsReplaced(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", assertionSite)
	watchLog(t, g)
	const name = "X-Edge-Auth-Assertion"
	token := aliceToken(t)
	_, bearer, _ := strings.Cut(token, "Bearer ")
	_, honest := ask(t, harness.Doors[0], g, up, harness.Request{Path: "/", Headers: []string{token}})
	replayed := harness.HeaderOf(honest, name)
	require.Len(t, replayed, 1)
	for _, door := range harness.Doors {
		for _, value := range []string{bearer, replayed[0], "mallory", ""} {
			_, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{token, name + ": " + value, "X_Edge_Auth_Assertion: " + value, "x-edge!auth!assertion: " + value}})
			values := harness.HeaderOf(got, name)
			require.Len(t, values, 1)
			assert.NotEqual(t, value, values[0])
			assert.Len(t, identityIn(got), 3, "the user, the groups and one assertion: %v", identityIn(got))

			a, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{name + ": " + value}})
			assert.Equal(t, http.StatusUnauthorized, a.Status, "an assertion is no credential")
			assert.Empty(t, got)
		}
	}
}
