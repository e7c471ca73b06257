package attacks

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

func TestP24MethodsOpenNothing(t *testing.T) { //nolint:tparallel // the rows share a recorder
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		t.Run("P24 spellings and overrides, "+door.Name, func(t *testing.T) {
			for _, method := range []string{"options", "OPTIONS", "Get", "PRI", "PROPFIND", "HEAD", "PATCH", "X", "GET\tX", strings.Repeat("A", 8<<10), "trace", "Connect"} {
				r := g.to("", "/page?_method=OPTIONS", "X-HTTP-Method-Override: OPTIONS", "X-HTTP-Method: OPTIONS", "X-Method-Override: OPTIONS", "X-Original-Method: OPTIONS")
				r.Method = method
				a, err := door.Ask(t, g.Gateway, r)
				assert.Empty(t, g.up.Taken(), "%s %.20s", door.Name, method)
				if err == nil {
					assert.GreaterOrEqual(t, a.Status, 400, "%s %.20s", door.Name, method)
				}
			}
		})
		t.Run("P24 TRACE, "+door.Name, func(t *testing.T) {
			for _, lines := range [][]string{nil, {g.token}, {"Authorization: Bearer a.b.c"}} {
				for _, site := range []string{"", "options"} {
					r := g.to(site, "/", lines...)
					r.Method = http.MethodTrace
					a, got := ask(t, door, g.Gateway, g.up, r)
					assert.Equal(t, http.StatusMethodNotAllowed, a.Status)
					assert.Equal(t, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", a.Header.Get("Allow"))
					assert.JSONEq(t, `{"detail":"Method \"TRACE\" not allowed.","code":"method_not_allowed"}`, a.Body)
					assert.Empty(t, got)
				}
			}
		})
		t.Run("P25 matcher that leaves OPTIONS out, "+door.Name, func(t *testing.T) {
			r := g.to("options", "/page", "Remote-User: mallory")
			r.Method = http.MethodOptions
			assert.NotContains(t, g.passes(t, door, r), forged)
			for _, method := range []string{"GET", "options", "HEAD", "POST"} {
				r.Method = method
				g.refuses(t, door, r)
			}
		})
	}
}

// connectRequest is a request for a tunnel to an authority.
func connectRequest(door harness.Door, authority string, lines ...string) harness.Request {
	r := harness.Request{Method: http.MethodConnect, Path: authority, Host: authority, Headers: lines}
	if door.Name != "h1" {
		r.Pseudo = []string{":method: CONNECT", ":authority: " + authority}
	}
	return r
}

func TestP30ConnectOpensNoTunnel(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		for _, site := range []string{"", "prefix", "hole"} {
			for _, lines := range [][]string{nil, {g.token}} {
				a, err := door.Ask(t, g.Gateway, connectRequest(door, g.to(site, "").Host, lines...))
				assert.Empty(t, g.up.Taken(), "%s %s", door.Name, site)
				if err == nil {
					assert.Equal(t, http.StatusMethodNotAllowed, a.Status, "%s %s", door.Name, site)
				}
				// The connections to the upstream are what they were.
				a, got := ask(t, door, g.Gateway, g.up, g.to("", "/next", g.token))
				assert.Equal(t, http.StatusOK, a.Status)
				assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got))
			}
		}
	}
}

var handshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// cookieSite takes the same token from a header and from a cookie.
const cookieSite = "edge_auth {\n jwt {\n key HS256 `" + aliceSecret + "`\n audience api\n cookie sid\n }\n }\n reverse_proxy UPSTREAM"

func TestP31WebSocketsOfHTTP2And3AreGuardedAsThoseOfHTTP1(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Env = append(g.Env, "GODEBUG=http2xconnect=1")
	g.ServeTLS("", cookieSite)
	watchLog(t, g)
	token := aliceToken(t)
	cookie := strings.Replace(token, "Authorization: Bearer ", "Cookie: sid=", 1)
	host := g.Vars.Replace("localhost:$PORT")
	for _, door := range harness.Doors {
		open := func(lines ...string) (int, string) {
			r := harness.Request{Path: "/ws", Headers: append(lines, handshake...)}
			if door.Name != "h1" {
				r = harness.Request{
					Pseudo:  []string{":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: " + host, ":path: /ws"},
					Headers: append(lines, "Sec-WebSocket-Version: 13"),
				}
			}
			a, err := door.Ask(t, g, r)
			got := strings.Join(up.Taken(), "")
			if err != nil && got == "" {
				return 0, ""
			}
			return a.Status, got
		}
		for name, lines := range map[string][]string{
			"P31 nobody":                            {"Remote-User: mallory"},
			"P31 wrong credential":                  {"Authorization: Bearer a.b.c"},
			"P33 token among the protocols":         {"Sec-WebSocket-Protocol: bearer, " + strings.TrimPrefix(token, "Authorization: Bearer ")},
			"P33 token in a header of another name": {strings.Replace(token, "Authorization", "X-Authorization", 1)},
		} {
			status, got := open(lines...)
			assert.Contains(t, []int{0, http.StatusUnauthorized}, status, "%s %s", door.Name, name)
			assert.Empty(t, got, "%s %s", door.Name, name)
		}
		for name, origin := range map[string]string{"another site": "https://evil.example", "null": "null", "sibling": "https://evil.localhost", "plain": "http://" + host, "two": "https://" + host + ", https://evil.example"} {
			status, got := open(cookie, "Origin: "+origin)
			assert.Equal(t, http.StatusForbidden, status, "P32 %s %s", door.Name, name)
			assert.Empty(t, got, "P32 %s %s", door.Name, name)
		}
		for name, lines := range map[string][]string{
			"P32 cookie, own page": {cookie, "Origin: https://" + host}, "P32 cookie, no browser": {cookie}, "P32 header, whatever the page": {token, "Origin: https://evil.example"},
		} {
			_, got := open(append(lines, "Remote-User: mallory")...)
			require.NotEmpty(t, got, "%s %s", door.Name, name)
			assert.True(t, strings.HasPrefix(got, "GET /ws HTTP/1.1\r\n"), "%s %s: %s", door.Name, name, got)
			assert.Equal(t, []string{"websocket"}, harness.HeaderOf(got, "Upgrade"))
			assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got), "%s %s", door.Name, name)
			assert.NotContains(t, got, "sid=")
		}
	}
	assert.Empty(t, g.Log.Lines(strings.TrimPrefix(token, "Authorization: Bearer ")), "P33")
}

// What a page of another site makes a browser send: reading passes as any GET, since
// the page learns nothing of the answer; changing does not.
func TestP62CrossSiteRequestsByCookieChangeNothing(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.ServeTLS("", cookieSite)
	watchLog(t, g)
	cookie := strings.Replace(aliceToken(t), "Authorization: Bearer ", "Cookie: sid=", 1)
	for _, door := range harness.Doors {
		a, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{cookie, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Referer: https://evil.example/"}})
		assert.Equal(t, http.StatusOK, a.Status, "an image")
		assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got))
		for header := range a.Header {
			assert.NotContains(t, header, "Access-Control", "P61")
		}
		for name, lines := range map[string][]string{
			"a form":         {"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded"},
			"fetch, no-cors": {"Origin: https://evil.example", "Sec-Fetch-Mode: no-cors", "Content-Type: text/plain"},
			"no origin":      {"Sec-Fetch-Site: cross-site", "Content-Type: text/plain"},
			"an old browser": {"Referer: https://evil.example/", "Content-Type: text/plain"},
		} {
			for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "post", "X"} {
				a, got := ask(t, door, g, up, harness.Request{Method: method, Path: "/", Headers: append([]string{cookie}, lines...), Body: "a=b"})
				assert.Equal(t, http.StatusForbidden, a.Status, "%s %s %s", door.Name, method, name)
				assert.Empty(t, got)
			}
		}
	}
}

func TestP61RefusalsAllowNoOtherSiteToReadThem(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		for _, lines := range [][]string{nil, {"Authorization: Bearer a.b.c"}} {
			for _, method := range []string{"GET", "OPTIONS"} {
				r := g.to("", "/", append([]string{"Origin: https://evil.example", "Access-Control-Request-Method: PUT"}, lines...)...)
				r.Method = method
				a, got := ask(t, door, g.Gateway, g.up, r)
				assert.Equal(t, http.StatusUnauthorized, a.Status, "P60: a preflight is guarded unless the policy says otherwise")
				assert.Empty(t, got)
				for header := range a.Header {
					assert.NotContains(t, header, "Access-Control")
				}
			}
		}
	}
}

// Whoever says to be a health check, or to come from one's own page, is nobody.
func TestP50NoClientIsKnownByWhatItSaysToBe(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		for _, agent := range []string{"kube-probe/1.29", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "", "Prometheus/2.5", "curl/8", "Caddy"} {
			for _, path := range []string{"/health", "/healthz", "/ping", "/metrics", "/.well-known/acme-challenge/x", "/favicon.ico", "/robots.txt", "/api/token/", "/login/"} {
				g.refuses(t, door, g.to("", path, "User-Agent: "+agent, "Referer: https://localhost:"+g.port+"/", "X-Requested-With: XMLHttpRequest"))
			}
		}
		for _, line := range []string{"User-Agent:", "Referer:", "Origin:", "Cookie:", "Authorization:", "Authorization: Bearer", "X-Api-Key:", "Cookie: =", "Cookie: sid="} {
			g.refuses(t, door, g.to("", "/", line))
		}
	}
}

// What is empty in the config, by mistake, is met by nobody.
func TestP51EmptySettingEqualsNoEmptyInput(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{`require claim tenant ""`, `require claim tenant {env.EDGE_AUTH_UNSET}`, `require group ""`, `require user ""`, `require scope ""`} {
		up := harness.StartUpstream(t)
		g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
		config := g.Write("Caddyfile", "{\n admin off\n }\n http://127.0.0.1:$PORT {\n edge_auth {\n JWT\n "+rule+"\n }\n reverse_proxy UPSTREAM\n}")
		if _, err := g.Command("", "validate", "--adapter", "caddyfile", "--config", config); err != nil {
			continue // refused at load
		}
		g.Run("run", "--adapter", "caddyfile", "--config", config)
		g.WaitReady()
		for _, lines := range [][]string{nil, {"User-Agent:", "Referer:"}, {aliceToken(t)}} {
			assert.NotContains(t, g.Raw(asked("GET /", "127.0.0.1", lines...)), "HTTP/1.1 200", rule)
			assert.Empty(t, up.Taken(), rule)
		}
	}
}

func TestP47QueriesDecideNothing(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	_, bearer, _ := strings.Cut(g.token, "Bearer ")
	for _, door := range harness.Doors {
		for _, query := range []string{"a;b=c", ";", "&&&", "access_token=" + bearer, "token=" + bearer, "a=%zz", "%", strings.Repeat("a=b&", 2000), "Authorization=Bearer%20" + bearer, "user=alice;path=/pub/"} {
			g.refuses(t, door, g.to("", "/?"+query))
			a, got := ask(t, door, g.Gateway, g.up, g.to("", "/?"+query, g.token))
			assert.Equal(t, http.StatusOK, a.Status, "%s %.40s", door.Name, query)
			assert.Contains(t, got, "GET /?"+query+" HTTP/1.1", "as it came")
		}
		g.refuses(t, door, g.to("", "/?"+strings.Repeat("a=b&", 10_001)))
	}
}
