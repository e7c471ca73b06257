package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// stockHandler is Caddy's own authentication handler with a policy of ours.
const stockHandler = `{
	"admin": {"listen": "ADMIN"},
	"logging": {"logs": {"default": {"level": "DEBUG"}}},
	"apps": {
		"edge_auth": {
			"store": {"store": "redis", "url": "REDIS", "cache": {"off": true}},
			"policies": {
				"api": {"authenticators": [{"authenticator": "token"}]},
				"staff": {"authenticators": [{"authenticator": "token"}], "require": [{"group": ["staff"]}], "login_url": "/login/"},
				"open": {"authenticators": [{"authenticator": "token"}], "optional": true}
			}
		},
		"http": {"servers": {"one": {
			"listen": ["127.0.0.1:$PORT"],
			"automatic_https": {"disable": true},
			"logs": {},
			"routes": [
				{"match": [{"path": ["/staff"]}], "handle": [{"handler": "authentication", "providers": {"edge_auth": {"policy": "staff"}}}]},
				{"match": [{"path": ["/open"]}], "handle": [{"handler": "authentication", "providers": {"edge_auth": {"policy": "open"}}}]},
				{"match": [{"path": ["/default"]}], "handle": [{"handler": "authentication", "providers": {"edge_auth": {}}}]},
				{"match": [{"path": ["/api"]}], "handle": [{"handler": "authentication", "providers": {"edge_auth": {"policy": "api"}}}]},
				{"handle": [
					{"handler": "headers", "request": {"set": {"X-Placeholders": ["{http.auth.user.id} {http.auth.user.email} {http.auth.user.groups} {http.auth.user.method}"]}}},
					{"handler": "reverse_proxy", "upstreams": [{"dial": "UPSTREAM"}]}
				]}
			],
			"errors": {"routes": [{"handle": [
				{"handler": "headers", "request": {"set": {"X-Cause": ["{http.auth.edge_auth.error}"]}}},
				{"handler": "reverse_proxy", "upstreams": [{"dial": "UPSTREAM"}], "headers": {"request": {"set": {"X-Error": ["{http.error.status_code}"]}}}}
			]}]}
		},
		"two": {
			"listen": ["127.0.0.1:$PORT2"],
			"automatic_https": {"disable": true},
			"routes": [
				{"match": [{"path": ["/guarded"]}], "handle": [
					{"handler": "authentication", "providers": {"edge_auth": {"policy": "api"}}},
					{"handler": "reverse_proxy", "upstreams": [{"dial": "UPSTREAM"}]}
				]},
				{"match": [{"path": ["/open"]}], "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "UPSTREAM"}]}]}
			]
		}}}
	}
}`

func TestPolicyStandsInCaddysOwnAuthenticationHandler(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "REDIS", redis.URL())
	g.Run("run", "--config", g.Write("caddy.json", strings.Replace(stockHandler, "ADMIN", g.Admin, 1)))
	g.WaitReady()
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "sales", "--email", "alice@example.com")
	g.EdgeAuth("correct horse\n", "user", "add", "bob", "--group", "staff")
	good, staff := "Authorization: Token "+g.EdgeAuth("", "token", "create", "alice"), "Authorization: Token "+g.EdgeAuth("", "token", "create", "bob")
	wrong := "Authorization: Token " + strings.Repeat("0", 40)
	const forged = "Remote-User: root"

	for _, path := range []string{"/api", "/open", "/default"} {
		require.Equal(t, http.StatusOK, g.Get(path, good, forged, "Remote-Groups: staff").Status, path)
		got := up.One(t)
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"), "the forged one is gone: %s", path)
		assert.Equal(t, []string{"sales"}, harness.HeaderOf(got, "Remote-Groups"))
		assert.Empty(t, harness.HeaderOf(got, "Authorization"))
		assert.Equal(t, []string{"alice alice@example.com sales token"}, harness.HeaderOf(got, "X-Placeholders"))
	}
	require.Equal(t, http.StatusOK, g.Get("/staff", staff).Status)
	assert.Equal(t, []string{"bob"}, harness.HeaderOf(up.One(t), "Remote-User"))
	require.Equal(t, http.StatusOK, g.Get("/open", forged).Status)
	got := up.One(t)
	assert.Empty(t, harness.HeaderOf(got, "Remote-User"), "nobody")

	for name, c := range map[string]struct {
		path    string
		headers []string
	}{
		"absent":               {"/api", []string{forged}},
		"rejected":             {"/api", []string{forged, wrong}},
		"rejected, optional":   {"/open", []string{forged, wrong}},
		"not met":              {"/staff", []string{forged, good}},
		"a browser, login_url": {"/staff", []string{forged, "Accept: text/html"}},
	} {
		a := g.Get(c.path, c.headers...)
		assert.Equal(t, "Token", a.Header.Get("WWW-Authenticate"), name)
		assert.Len(t, a.Header.Get("X-Request-ID"), 36, name)
		assert.Empty(t, a.Header.Get("Location"), name)
		got := up.One(t)
		assert.Equal(t, []string{"401"}, harness.HeaderOf(got, "X-Error"), name)
		assert.Empty(t, harness.HeaderOf(got, "Remote-User"), name)
		assert.Empty(t, harness.HeaderOf(got, "Authorization"), name)
	}
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines(`"event":"credential_rejected"`)) == 2 }, "not audited")
	assert.Contains(t, g.Metrics(), `caddy_edge_auth_requests_total{authenticator="token",outcome="forbidden",policy="staff"} 1`)

	assert.Len(t, g.Log.Lines("clients can forge them"), 2, "the open way beside the guarded one, and that of the other server")

	redis.Kill()
	a := g.Get("/api", good, forged)
	assert.Empty(t, a.Header.Get("WWW-Authenticate"), "no other credential would help")
	got = up.One(t)
	assert.Equal(t, []string{"401"}, harness.HeaderOf(got, "X-Error"), "never through")
	assert.Equal(t, []string{"service temporarily unavailable, try again later"}, harness.HeaderOf(got, "X-Cause"), "a fixed sentence")
	assert.Empty(t, harness.HeaderOf(got, "Remote-User"))
	assert.Empty(t, harness.HeaderOf(got, "Authorization"))
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines("auth provider returned error")) == 1 }, "the outage is not logged")
	assert.NotContains(t, strings.Join(g.Log.Lines("auth provider returned error"), ""), "127.0.0.1:", "no address")
}

func TestPolicyThatCaddysHandlerCannotServeIsRefusedAtLoad(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{
		`{"policy":"nobody"}`: "unknown policy 'nobody'",
		`{"policy":"query"}`:  "reads a credential from the address",
	} {
		g := harness.New(t)
		config := g.Write("caddy.json", `{"apps":{
			"edge_auth":{"policies":{"query":{"authenticators":[{"authenticator":"jwt","keys":[{"algorithm":"HS256","value":"`+strings.Repeat("k", 40)+`"}],"query":"token"}]}}},
			"http":{"servers":{"one":{"listen":["127.0.0.1:$PORT"],"routes":[{"handle":[{"handler":"authentication","providers":{"edge_auth":`+policy+`}}]}]}}}}}`)
		_, err := g.Command("", "validate", "--config", config)
		require.ErrorContains(t, err, want)
	}
}
