package attacks

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// What clients are told when they may not pass says what they may know.
func TestErrorRowsByEachDoor(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	nobody := "127.0.0.1:" + freeport.Take(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "NOBODY", nobody, "BASIC", harness.BasicAlice(t))
	g.ServeTLS("debug\nedge_auth {\n store redis redis://:hunter2-of-redis@"+nobody+"/0 {\n timeout 100ms\n }\n}", `	log
	handle /down {
		edge_auth {
			token
		}
		reverse_proxy UPSTREAM
	}
	handle /down-optional {
		edge_auth {
			token
			optional
		}
		reverse_proxy UPSTREAM
	}
	handle /staff {
		edge_auth {
			BASIC
			require group staff
		}
		reverse_proxy UPSTREAM
	}
	handle /basic {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth_issuer
		respond "not ours" 404
	}`)
	token := strings.Repeat("0badc0de", 5)
	evil := "\x1b[31m\"}{\"level\":\"info\",\"msg\":\"forged\"}"
	byEachDoor(t, g, up, func(e entry) {
		run := func(name string, row func(e entry)) {
			e.t.Run(name, func(t *testing.T) { row(entry{g, t, e.door, up}) })
		}
		run("E03 E22 bodies", func(e entry) {
			for name, c := range map[string]struct {
				status int
				code   string
				answer harness.Answer
			}{
				"nothing":             {401, "not_authenticated", e.send("GET", "/basic", "")},
				"wrong":               {401, "authentication_failed", e.send("GET", "/basic", "", harness.BasicHeader("wrong"))},
				"malformed":           {401, "authentication_failed", e.send("GET", "/basic", "", "Authorization: Basic ???")},
				"twice":               {401, "authentication_failed", e.send("GET", "/basic", "", harness.Alice, harness.Alice)},
				"forbidden":           {403, "permission_denied", e.send("GET", "/staff", "", harness.Alice)},
				"store down":          {503, "service_unavailable", e.send("GET", "/down", "", "Authorization: Token "+token)},
				"store down, unasked": {503, "service_unavailable", e.send("GET", "/down-optional", "", "Authorization: Token "+token)},
				"login, store down":   {503, "service_unavailable", e.post("/api/token/", aliceLogsIn)},
				"page, store down":    {503, "", e.submit(logInAs("alice", "wonderland", "/"))},
			} {
				e.refused(c.status, c.answer)
				assert.Less(e.t, len(c.answer.Body), 4<<10, name)
				if c.code != "" {
					assert.Contains(e.t, c.answer.Body, `"code":"`+c.code+`"`, name)
				}
				for _, inside := range []string{"redis", nobody, "127.0.0.1", "hunter2", "goroutine", ".go:", "dial", "timeout", "edgeauth", "Caddy", token, "wonderland"} {
					assert.NotContains(e.t, c.answer.Body, inside, name)
				}
				assert.Equal(e.t, c.status == 503, c.answer.Header.Get("Retry-After") != "", name)
			}
		})
		run("E12 lines of the log", func(e entry) {
			e.send("GET", "/basic?q="+strings.NewReplacer(" ", "%20", "\x1b", "%1b").Replace(evil), "", "User-Agent: "+strings.ReplaceAll(evil, "\x1b", ""), "Referer: {\"level\":\"error\"}", harness.BasicHeader("x"))
			e.post("/api/token/", `{"username":`+string(quote(e.t, evil+"\n"+evil))+`,"password":"x"}`)
			e.send("GET", "/%1b%5b31m%0a%7b%22level%22%3a%22info%22%7d", "")
		})
		run("E31 the admin API is not on sites", func(e entry) {
			for _, path := range []string{"/edge_auth/users", "/edge_auth/tokens", "/config/", "/debug/pprof/", "/metrics"} {
				for _, host := range []string{"", strings.TrimPrefix(g.Admin, "http://")} {
					a, err := e.door.Ask(e.t, g, harness.Request{Method: "GET", Path: path, Host: host})
					if err == nil {
						assert.NotContains(e.t, a.Body, "users", path)
						assert.NotContains(e.t, a.Body, "edge_auth", path)
					}
				}
			}
		})
	})
	for line := range strings.Lines(g.Log.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		assert.NotEqual(t, "forged", fields["msg"])
		assert.NotContains(t, line, "\x1b")
		assert.NotContains(t, line, "hunter2-of-redis")
		assert.NotContains(t, line, token)
		if _, access := fields["request"]; !access {
			assert.NotContains(t, line, "wonderland")
		}
	}
}

func quote(t testing.TB, text string) []byte {
	t.Helper()
	data, err := json.Marshal(text)
	require.NoError(t, err)
	return data
}

// rawAdmin sends a request to the admin endpoint as it stands.
func rawAdmin(t testing.TB, g *harness.Gateway, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", g.Admin)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(reply)
}

// Pages of others do nothing by way of a browser that can reach the admin API, and
// looking changes nothing.
func TestE30E31AdminAPIIsNotForPagesOfOthers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth_issuer\n edge_auth\n respond ok\n}")
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	const body = `{"id":"mallory","password":"mallory-mallory"}`
	for name, head := range map[string]string{
		"host that was rebound": "POST /edge_auth/users HTTP/1.1\r\nHost: evil.example:2019\r\n",
		"page of another site":  "POST /edge_auth/users HTTP/1.1\r\nHost: " + g.Admin + "\r\nOrigin: https://evil.example\r\n",
		"origin of a sandbox":   "POST /edge_auth/users HTTP/1.1\r\nHost: " + g.Admin + "\r\nOrigin: null\r\n",
		"without saying so":     "POST /edge_auth/users HTTP/1.1\r\nHost: " + g.Admin + "\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: cross-site\r\n",
		"image of another site": "GET /edge_auth/users HTTP/1.1\r\nHost: evil.example\r\n",
	} {
		reply := rawAdmin(t, g, head+fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
		assert.Regexp(t, `^HTTP/1\.1 (403|400)`, reply, name)
		assert.NotContains(t, reply, "alice", name)
	}
	for _, path := range []string{"/users/alice/disable", "/users/alice/enable", "/users/alice/logout", "/tokens/x/rotate", "/jwt", "/jwt/revoke", "/import", "/migrate"} {
		a := g.CallAdmin(http.MethodGet, path, "")
		assert.Contains(t, []int{404, 405}, a.Status, "GET %s: %s", path, a.Body)
	}
	users := g.CallAdmin(http.MethodGet, "/users", "").Body
	assert.Contains(t, users, "alice")
	assert.NotContains(t, users, "mallory")
	assert.NotContains(t, users, "$argon2id$")
	assert.Equal(t, 200, g.PostJSON("/api/token/", aliceLogsIn).Status, "nothing has changed")
}

// No site leads to the admin API: neither by its path, whatever answers there, nor by an
// upstream that sends the gateway or a client on to it.
func TestE31NoSiteLeadsToTheAdminAPI(t *testing.T) { //nolint:tparallel // the doors share an upstream
	t.Parallel()
	g := harness.New(t)
	var asked atomic.Value // what the upstream was
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path)
		for name, value := range map[string]string{
			"Location": "http://" + g.Admin + "/edge_auth/users", "Refresh": "0;url=http://" + g.Admin + "/edge_auth/users", "X-Accel-Redirect": "/edge_auth/users",
			"X-Sendfile": "/edge_auth/users", "X-Reproxy-URL": "http://" + g.Admin + "/edge_auth/users", "Alt-Svc": `h2="` + g.Admin + `"`,
		} {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(w, "from the upstream")
	}))
	t.Cleanup(upstream.Close)
	g.ServeTLS("", "route {\n edge_auth_issuer\n @open path /open/* /edge_auth/*\n handle @open {\n edge_auth off\n reverse_proxy "+upstream.Listener.Addr().String()+"\n }\n edge_auth\n respond ok\n }")
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	require.Contains(t, g.CallAdmin(http.MethodGet, "/users", "").Body, "alice", "the baseline")
	for _, door := range harness.Doors {
		for _, path := range []string{"/edge_auth/users", "/edge_auth/../edge_auth/users", "/open/../edge_auth/users", "/open/%2e%2e/edge_auth/users", "/open/x", "http://" + g.Admin + "/edge_auth/users"} {
			for _, host := range []string{"", g.Admin, "localhost:2019"} {
				asked.Store("")
				a, err := door.Ask(t, g, harness.Request{Path: path, Host: host})
				if err != nil {
					continue // no address for this protocol
				}
				assert.NotContains(t, a.Body, "alice", "%s %s", door.Name, path)
				if asked.Load() != "" {
					assert.Equal(t, "from the upstream", a.Body, "%s %s", door.Name, path)
				}
			}
		}
		asked.Store("")
		a, err := door.Ask(t, g, harness.Request{Path: "/edge_auth/users"})
		require.NoError(t, err)
		assert.Equal(t, http.StatusTemporaryRedirect, a.Status, "nobody follows it but the client")
		assert.Equal(t, "/edge_auth/users", asked.Load(), "a path like any other")
		a, err = door.Ask(t, g, harness.Request{Method: http.MethodPost, Path: "/edge_auth/users", Body: `{"id":"mallory","password":"mallory-mallory"}`, Headers: []string{asJSON}})
		require.NoError(t, err)
		assert.Equal(t, "from the upstream", a.Body)
	}
	assert.NotContains(t, g.CallAdmin(http.MethodGet, "/users", "").Body, "mallory")
}

// Caddy warns of an admin API that all the world can reach: it is not to fall silent.
func TestE31AdminAPIForAllTheWorldIsToldAtLoad(t *testing.T) {
	t.Parallel()
	for host, warned := range map[string]bool{"127.0.0.1": false, "0.0.0.0": true, "": true} {
		g := harness.New(t)
		_, port, err := net.SplitHostPort(g.Admin)
		require.NoError(t, err)
		g.Run("run", "--adapter", "caddyfile", "--config", g.Write("Caddyfile", "{\n admin "+host+":"+port+"\n auto_https off\n}\nhttp://127.0.0.1:$PORT {\n edge_auth\n respond ok\n}"))
		g.WaitReady()
		waitFor(t, g, "serving initial configuration") // the warning stands before
		assert.Equal(t, warned, len(g.Log.Lines("admin endpoint on open interface")) == 1, "admin %s", host)
	}
}

var demoSecrets = regexp.MustCompile(`"password":"([^"]+)"`)

// Nobody can log in until somebody has been added; the example's user has another
// password each time.
func TestE32ThereAreNoDefaultPasswords(t *testing.T) {
	t.Parallel()
	const site = "http://127.0.0.1:$PORT {\n edge_auth_issuer {\n login_rate 1000 1m\n }\n edge_auth\n respond ok\n}"
	g := harness.Start(t, "", site)
	g.EdgeAuth("", "user", "list") // it has started
	var users any
	require.Equal(t, 200, g.AdminGet("/users", &users))
	assert.NotContains(t, fmt.Sprint(users), "id")
	for _, pair := range []string{"admin:admin", "admin:password", "caddy:caddy", "root:root", "demo:demo", "alice:wonderland", "test:test"} {
		user, password, _ := strings.Cut(pair, ":")
		assert.Equal(t, 401, g.PostJSON("/api/token/", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)).Status, pair)
	}
	seen := make(map[string]bool)
	for range 2 {
		g := harness.Start(t, "edge_auth {\n demo_user demo\n}", site)
		var found []string
		harness.Eventually(t, 10*time.Second, func() bool {
			found = demoSecrets.FindStringSubmatch(g.Log.String())
			return found != nil
		}, "no demo user")
		assert.Greater(t, len(found[1]), 20)
		seen[found[1]] = true
	}
	assert.Len(t, seen, 2)
}
