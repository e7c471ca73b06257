package attacks

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// forgedLines are sent along on the way to an upstream by side roads.
var forgedLines = []string{"Remote-User: mallory", "Remote!User: mallory", "X-Webauth-User: mallory"}

// Errors lead a request to the error routes, with whatever was done to it until then.
func TestH60ErrorRoutesAreReachedStripped(t *testing.T) { //nolint:tparallel // the steps share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT, "HASH", bobHash, "BASIC", harness.BasicAlice(t))
	g.ServeTLS("edge_auth {\n store redis redis://127.0.0.1:1 {\n timeout 50ms\n }\n }", `
	handle /h60 {
		basic_auth {
			bob HASH
		}
		edge_auth {
			JWT
		}
		respond never
	}
	handle /h61-401 {
		edge_auth {
			JWT
		}
		respond never
	}
	handle /h61-403 {
		edge_auth {
			JWT
			require user root
		}
		respond never
	}
	handle /h61-503 {
		edge_auth {
			token
		}
		respond never
	}
	handle /h62-limit {
		request_body {
			max_size 1
		}
		edge_auth {
			JWT
			optional
		}
		reverse_proxy 127.0.0.1:1
	}
	handle /h62-error {
		route {
			error "before edge_auth" 500
			edge_auth {
				JWT
			}
		}
	}
	handle /h62-placeholder {
		rewrite * {http.request.uri}%zz{unknown}
		error {http.request.header.X-Status}
		edge_auth {
			JWT
		}
	}
	handle /h62-upstream {
		edge_auth {
			JWT
			optional
		}
		reverse_proxy 127.0.0.1:1
	}
	handle_errors {
		reverse_proxy UPSTREAM
	}`)
	token := aliceToken(t)
	for _, door := range harness.Doors {
		for _, c := range []struct{ name, path, credential string }{
			{"H60 an earlier directive fails", "/h60", ""},
			{"H60 an earlier directive fails, with a credential", "/h60", token},
			{"H61 nobody", "/h61-401", ""},
			{"H61 wrong credential", "/h61-401", "Authorization: Bearer a.b.c"},
			{"H61 rule not met", "/h61-403", token},
			{"H61 store down", "/h61-503", "Authorization: Token ea_unknown"},
			{"H62 body too large", "/h62-limit", ""},
			{"H62 error in a route", "/h62-error", token},
			{"H62 placeholder that is none", "/h62-placeholder", ""},
			{"H62 upstream fails", "/h62-upstream", ""},
		} {
			t.Run(c.name+", "+door.Name, func(t *testing.T) {
				lines := append([]string{"X-Status: 600"}, forgedLines...)
				if c.credential != "" {
					lines = append(lines, c.credential)
				}
				_, err := door.Ask(t, g, harness.Request{Method: http.MethodPost, Path: c.path, Headers: lines, Body: "body"})
				got := up.Taken()
				if err == nil && c.path != "/h62-limit" { // that may fail in the error routes again
					require.Len(t, got, 1)
				}
				assert.NotContains(t, strings.Join(got, ""), forged)
				assert.Empty(t, identityIn(strings.Join(got, "")))
			})
		}
	}
	assert.Empty(t, g.Log.Lines("panic"))
}

// Ways to an upstream that go round edge_auth are told at load, with both places.
func TestH63WaysRoundThePolicyAreToldAtLoad(t *testing.T) {
	t.Parallel()
	const guard = "edge_auth {\n BASIC\n }\n"
	for name, c := range map[string]struct{ sites, open, guarded string }{
		"H63 proxy before edge_auth in a route":    {"http://127.0.0.1:$PORT {\n route {\n reverse_proxy /early/* 127.0.0.1:9\n" + guard + "reverse_proxy 127.0.0.1:9\n }\n }", "path /early/*", ":$PORT"},
		"H66 second site on the same port":         {"http://127.0.0.1:$PORT {\n" + guard + "reverse_proxy 127.0.0.1:9\n }\n http://other.localhost:$PORT {\n reverse_proxy 127.0.0.1:9\n }", "host other.localhost", "host 127.0.0.1"},
		"H66 site on another port":                 {"http://127.0.0.1:$PORT {\n" + guard + "reverse_proxy 127.0.0.1:9\n }\n http://127.0.0.1:$PORT2 {\n reverse_proxy 127.0.0.1:9\n }", ":$PORT2", ":$PORT "},
		"H66 snippet":                              {"(app) {\n handle /pub/* {\n reverse_proxy 127.0.0.1:9\n }\n }\n http://127.0.0.1:$PORT {\n import app\n handle {\n" + guard + "reverse_proxy 127.0.0.1:9\n }\n }", "path /pub/*", ":$PORT"},
		"H66 named route":                          {"&(app) {\n reverse_proxy 127.0.0.1:9\n }\n http://127.0.0.1:$PORT {\n handle /pub/* {\n invoke app\n }\n handle {\n" + guard + "reverse_proxy 127.0.0.1:9\n }\n }", "invoke app", ":$PORT"},
		"H65 handle beside the guarded one, twice": {"http://127.0.0.1:$PORT {\n handle_path /pub/* {\n reverse_proxy 127.0.0.1:9\n }\n handle {\n" + guard + "reverse_proxy 127.0.0.1:9\n }\n }", "path /pub/*", ":$PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := harness.Start(t, "", c.sites, "BASIC", harness.BasicAlice(t))
			line := waitFor(t, g, "clients can forge them")[0]
			_, places, _ := strings.Cut(line, `"open":`)
			open, guarded, _ := strings.Cut(places, `"guarded":`)
			assert.Contains(t, open, g.Vars.Replace(c.open))
			assert.Contains(t, guarded+" ", strings.TrimSpace(g.Vars.Replace(c.guarded)))
		})
	}
	t.Run("no warning where each way is stripped", func(t *testing.T) {
		t.Parallel()
		g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n"+guard+"reverse_proxy 127.0.0.1:9\n }\n http://127.0.0.1:$PORT2 {\n edge_auth off\n reverse_proxy 127.0.0.1:9\n }\n http://other.localhost:$PORT2 {\n reverse_proxy 127.0.0.1:10\n }", "BASIC", harness.BasicAlice(t))
		waitFor(t, g, "serving initial configuration")
		assert.Empty(t, g.Log.Lines("clients can forge them"))
	})
}

// Directives that ask upstreams again, by roads of their own.
func TestH67SideRequestsAreStrippedAsTheRequest(t *testing.T) { //nolint:tparallel // the steps share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	require.NoError(t, os.MkdirAll(filepath.Join(g.Dir, "site"), 0o700))
	g.Write("site/page.html", `[{{httpInclude "/inner"}}]`)
	g.Write("site/guarded.html", `[{{httpInclude "/guarded-inner"}}]`)
	g.ServeTLS("", `
	root $DIR/site
	handle /forward-auth {
		edge_auth {
			JWT
			optional
		}
		forward_auth UPSTREAM {
			uri /check
		}
		reverse_proxy UPSTREAM
	}
	handle /again {
		edge_auth {
			JWT
			optional
		}
		reverse_proxy UPSTREAM {
			@ok status 200
			handle_response @ok {
				reverse_proxy UPSTREAM
			}
		}
	}
	handle /intercept {
		edge_auth {
			JWT
			optional
		}
		intercept {
			@ok status 200
			handle_response @ok {
				reverse_proxy UPSTREAM
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /try {
		edge_auth {
			JWT
			optional
		}
		try_files {path} /tried
		reverse_proxy UPSTREAM
	}
	handle /inner {
		edge_auth {
			JWT
			optional
		}
		reverse_proxy UPSTREAM
	}
	handle /guarded-inner {
		edge_auth {
			JWT
		}
		reverse_proxy UPSTREAM
	}
	handle /*.html {
		edge_auth {
			JWT
			optional
		}
		templates
		file_server
	}`)
	token := aliceToken(t)
	alice := []string{"Remote-Groups: staff", "Remote-User: alice"}
	for _, door := range harness.Doors {
		for _, c := range []struct {
			name, path string
			requests   int
		}{
			{"H67 forward_auth", "/forward-auth", 2}, {"H67 handle_response", "/again", 2}, {"H67 intercept", "/intercept", 2}, {"H67 try_files", "/try", 1},
		} {
			t.Run(c.name+", "+door.Name, func(t *testing.T) {
				for _, lines := range [][]string{forgedLines, append([]string{token}, forgedLines...)} {
					up.Taken()
					a, err := door.Ask(t, g, harness.Request{Path: c.path, Headers: lines})
					require.NoError(t, err)
					require.Equal(t, http.StatusOK, a.Status)
					got := up.Taken()
					require.Len(t, got, c.requests)
					for _, request := range got {
						assert.NotContains(t, request, forged)
						if len(lines) > len(forgedLines) {
							assert.Equal(t, alice, identityIn(request))
						} else {
							assert.Empty(t, identityIn(request))
						}
					}
				}
			})
		}
		t.Run("H67 httpInclude, "+door.Name, func(t *testing.T) {
			for _, lines := range [][]string{forgedLines, append([]string{token}, forgedLines...)} {
				a, got := ask(t, door, g, up, harness.Request{Path: "/page.html", Headers: lines})
				require.Equal(t, http.StatusOK, a.Status)
				require.Equal(t, "[ok]", a.Body)
				assert.NotContains(t, got, forged)
				assert.Empty(t, identityIn(got), "our own headers are a client's to the request within: it has no credential any more")
				_, got = ask(t, door, g, up, harness.Request{Path: "/guarded.html", Headers: lines})
				assert.Empty(t, got)
			}
		})
	}
	assert.Empty(t, g.Log.Lines("panic"))
}

// jsonSite has no other handler of ours than the one that authenticates.
const jsonSite = `{
	"admin": {"listen": "ADMIN"},
	"apps": {
		"edge_auth": {"policies": {"api": {"authenticators": [{"authenticator": "basic", "users": [{"name": "alice", "hash": "HASH"}]}]}}},
		"http": {"servers": {"s": {
			"listen": ["127.0.0.1:$PORT"],
			"routes": [
				{"match": [{"path": ["/earlier"]}], "handle": [{"handler": "error", "status_code": 500}]},
				{"handle": [{"handler": "edge_auth", "use": "api"}, {"handler": "reverse_proxy", "upstreams": [{"dial": "UPSTREAM"}]}]}
			],
			"errors": {"routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "UPSTREAM"}]}]}]}
		}}}
	}
}`

func TestH68HandlerOfJSONStripsByItself(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := jsonGateway(t, up)
	for _, path := range []string{"/", "/earlier"} {
		for _, lines := range [][]string{forgedLines, append([]string{harness.BasicHeader("wrong")}, forgedLines...)} {
			g.Get(path, lines...)
			got := up.One(t) // as an error page
			assert.NotContains(t, got, forged)
			assert.Empty(t, identityIn(got))
		}
	}
	require.Equal(t, http.StatusOK, g.Get("/", append([]string{harness.Alice}, forgedLines...)...).Status)
	assert.Equal(t, []string{"Remote-User: alice"}, identityIn(up.One(t)))
}

func TestH69PolicyIsNotTakenFromUnderItsHandler(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := jsonGateway(t, up)
	admin := func(method, path, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.Admin+"/config/apps"+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := harness.Client.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	waitFor(t, g, "serving initial configuration")
	for _, path := range []string{"/edge_auth/policies/api", "/edge_auth/policies", "/edge_auth"} {
		require.GreaterOrEqual(t, admin(http.MethodDelete, path, ""), 400, "a config that names a policy which is not there is refused")
		up.Taken()
		g.Get("/", forgedLines...)
		assert.Empty(t, identityIn(up.One(t)), "the old one goes on, so this is its error page")
	}
	// Whoever takes the handler out as well gets a site that is open, and stripped as
	// long as one of ours stands in it.
	require.Equal(t, http.StatusOK, admin(http.MethodPatch, "/http/servers/s/routes/1/handle/0", `{"handler": "edge_auth", "off": true}`))
	require.Equal(t, http.StatusOK, g.Get("/", forgedLines...).Status)
	assert.Empty(t, identityIn(up.One(t)))
}

func jsonGateway(t *testing.T, up *harness.Upstream) *harness.Gateway {
	t.Helper()
	basic := strings.Fields(harness.BasicAlice(t))
	g := harness.New(t, "UPSTREAM", up.Addr, "HASH", basic[3])
	g.Run("run", "--config", g.Write("caddy.json", strings.Replace(jsonSite, "ADMIN", g.Admin, 1)))
	g.WaitReady()
	return g
}
