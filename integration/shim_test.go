package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	up := startUpstream(t)
	g := newGateway(t, "UPSTREAM", up.addr, "REDIS", redis.URL())
	g.start("run", "--config", g.write("caddy.json", strings.Replace(stockHandler, "ADMIN", g.admin, 1)))
	g.waitReady()
	g.edgeAuth("correct horse\n", "user", "add", "alice", "--group", "sales", "--email", "alice@example.com")
	g.edgeAuth("correct horse\n", "user", "add", "bob", "--group", "staff")
	good, staff := "Authorization: Token "+g.edgeAuth("", "token", "create", "alice"), "Authorization: Token "+g.edgeAuth("", "token", "create", "bob")
	wrong := "Authorization: Token " + strings.Repeat("0", 40)
	const forged = "Remote-User: root"

	for _, path := range []string{"/api", "/open", "/default"} {
		require.Equal(t, http.StatusOK, g.get(path, good, forged, "Remote-Groups: staff").status, path)
		got := up.one(t)
		assert.Equal(t, []string{"alice"}, header(got, "Remote-User"), "the forged one is gone: %s", path)
		assert.Equal(t, []string{"sales"}, header(got, "Remote-Groups"))
		assert.Empty(t, header(got, "Authorization"))
		assert.Equal(t, []string{"alice alice@example.com sales token"}, header(got, "X-Placeholders"))
	}
	require.Equal(t, http.StatusOK, g.get("/staff", staff).status)
	assert.Equal(t, []string{"bob"}, header(up.one(t), "Remote-User"))
	require.Equal(t, http.StatusOK, g.get("/open", forged).status)
	got := up.one(t)
	assert.Empty(t, header(got, "Remote-User"), "nobody")

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
		a := g.get(c.path, c.headers...)
		assert.Equal(t, "Token", a.header.Get("WWW-Authenticate"), name)
		assert.Len(t, a.header.Get("X-Request-ID"), 36, name)
		assert.Empty(t, a.header.Get("Location"), name)
		got := up.one(t)
		assert.Equal(t, []string{"401"}, header(got, "X-Error"), name)
		assert.Empty(t, header(got, "Remote-User"), name)
		assert.Empty(t, header(got, "Authorization"), name)
	}
	eventually(t, 5*time.Second, func() bool { return len(g.log.lines(`"event":"credential_rejected"`)) == 2 }, "not audited")
	assert.Contains(t, g.metrics(), `caddy_edge_auth_requests_total{authenticator="token",outcome="forbidden",policy="staff"} 1`)

	assert.Len(t, g.log.lines("clients can forge them"), 1, "the open way beside the guarded one")

	redis.Kill()
	a := g.get("/api", good, forged)
	assert.Empty(t, a.header.Get("WWW-Authenticate"), "no other credential would help")
	got = up.one(t)
	assert.Equal(t, []string{"401"}, header(got, "X-Error"), "never through")
	assert.Equal(t, []string{"service temporarily unavailable, try again later"}, header(got, "X-Cause"), "a fixed sentence")
	assert.Empty(t, header(got, "Remote-User"))
	assert.Empty(t, header(got, "Authorization"))
	eventually(t, 5*time.Second, func() bool { return len(g.log.lines("auth provider returned error")) == 1 }, "the outage is not logged")
	assert.NotContains(t, strings.Join(g.log.lines("auth provider returned error"), ""), "127.0.0.1:", "no address")
}

func TestPolicyThatCaddysHandlerCannotServeIsRefusedAtLoad(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{
		`{"policy":"nobody"}`: "unknown policy 'nobody'",
		`{"policy":"query"}`:  "reads a credential from the address",
	} {
		g := newGateway(t)
		config := g.write("caddy.json", `{"apps":{
			"edge_auth":{"policies":{"query":{"authenticators":[{"authenticator":"jwt","keys":[{"algorithm":"HS256","value":"`+strings.Repeat("k", 40)+`"}],"query":"token"}]}}},
			"http":{"servers":{"one":{"listen":["127.0.0.1:$PORT"],"routes":[{"handle":[{"handler":"authentication","providers":{"edge_auth":`+policy+`}}]}]}}}}}`)
		_, err := g.command("", "validate", "--config", config)
		require.ErrorContains(t, err, want)
	}
}
