package integration

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// measures demands values of series.
func measures(g *harness.Gateway, want map[string]float64) {
	g.T.Helper()
	for series, value := range want {
		assert.InDelta(g.T, value, g.Metric(series), 0, series)
	}
}

func TestMetricsTellOfTheStoreAndTheCaches(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g, token := startOnRedis(t, redis, up, "cache 1000")
	name := `store="redis ` + redis.Addr + `/0"`
	const tracking = "caddy_edge_auth_store_tracking{"
	harness.Eventually(t, 5*time.Second, func() bool { return g.Metric(tracking+name+"}") == 1 }, "tracking is not on")

	news := g.Metric("caddy_edge_auth_cache_invalidations_total{" + name + "}")
	wrong := "Authorization: Token " + strings.Repeat("0", 40)
	harness.Eventually(t, 5*time.Second, func() bool {
		require.Equal(t, http.StatusOK, g.Get("/", token).Status)
		require.Equal(t, http.StatusUnauthorized, g.Get("/", wrong).Status)
		return g.Metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="hit"}`) > 0 &&
			g.Metric(`caddy_edge_auth_cache_lookups_total{cache="refusals",result="hit"}`) > 0
	}, "no hits")
	assert.Positive(t, g.Metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="miss"}`))
	assert.Positive(t, g.Metric(`caddy_edge_auth_store_duration_seconds_count{operation="get",`+name+`}`))
	measures(g, map[string]float64{
		`caddy_edge_auth_cache_entries{cache="refusals"}`:                  1,
		`caddy_edge_auth_cache_bytes{cache="refusals"}`:                    16 << 10,
		`caddy_edge_auth_store_errors_total{operation="get",` + name + `}`: 0,
	})

	g.EdgeAuth("", "user", "disable", "alice")
	harness.Eventually(t, 5*time.Second, func() bool {
		g.Get("/", token)
		return g.Metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="stale"}`) > 0
	}, "nothing is stale")
	assert.Greater(t, g.Metric("caddy_edge_auth_cache_invalidations_total{"+name+"}"), news)

	redis.Kill()
	harness.Eventually(t, 10*time.Second, func() bool {
		g.Get("/", wrong)
		return g.Metric(tracking+name+"}") == 0 && g.Metric(`caddy_edge_auth_store_errors_total{operation="get",`+name+`}`) > 0
	}, "an outage is not told")
}

// The duration is ours alone: an upstream that is slow does not count.
func TestMetricsMeasureAuthenticationWithoutTheUpstream(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(delay) }))
	t.Cleanup(slow.Close)
	g := harness.Start(t, "metrics\nedge_auth {\n policy api {\n token\n}\n}", `http://127.0.0.1:$PORT {
	edge_auth api
	reverse_proxy UPSTREAM
}`, "UPSTREAM", strings.TrimPrefix(slow.URL, "http://"))
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	began := time.Now()
	require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Token "+g.EdgeAuth("", "token", "create", "alice")).Status)
	require.Greater(t, time.Since(began), delay)
	g.Get("/")
	assert.InDelta(t, 2, g.Metric(`caddy_edge_auth_authentication_duration_seconds_count{policy="api"}`), 0)
	sum := g.Metric(`caddy_edge_auth_authentication_duration_seconds_sum{policy="api"}`)
	assert.Positive(t, sum)
	assert.Less(t, sum, delay.Seconds())
}

func TestMetricsTellWhatTheIssuerDid(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "metrics", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		token
		session
		login_rate 3 1m
	}
}`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	measures(g, map[string]float64{`caddy_edge_auth_refreshes_total{outcome="reused"}`: 0, "caddy_edge_auth_logouts_total": 0}) // before the first

	pair := pairOf(t, g.PostJSON("/api/token/", wonderland))
	pairOf(t, g.PostJSON("/api-token-auth/", wonderland))
	a := g.PostJSON("/login/", wonderland)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	cookie, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	second := pairOf(t, g.PostJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`))
	third := pairOf(t, g.PostJSON("/api/token/refresh/", `{"refresh":"`+second["refresh"]+`"}`))
	require.Equal(t, http.StatusUnauthorized, g.PostJSON("/api/token/refresh/", `{"refresh":"nonsense"}`).Status)
	require.Equal(t, http.StatusUnauthorized, g.PostJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`, "User-Agent: thief").Status)
	require.Equal(t, http.StatusUnauthorized, g.PostJSON("/api/token/refresh/", `{"refresh":"`+third["refresh"]+`"}`).Status)
	require.Equal(t, http.StatusOK, g.PostJSON("/logout/", `{}`, "Cookie: "+cookie).Status)
	last := pairOf(t, g.PostJSON("/api/token/", wonderland))
	require.Equal(t, http.StatusOK, g.PostJSON("/api/token/blacklist/", `{"refresh":"`+last["refresh"]+`"}`).Status)
	require.Equal(t, http.StatusBadRequest, g.PostJSON("/api/token/", `{"username":"alice"}`).Status, "no login at all")
	for range 5 {
		g.PostJSON("/api/token/", `{"username":"nobody","password":"wrong"}`)
	}
	measures(g, map[string]float64{
		`caddy_edge_auth_logins_total{outcome="success"}`:     4,
		`caddy_edge_auth_logins_total{outcome="refused"}`:     3,
		`caddy_edge_auth_logins_total{outcome="throttled"}`:   2,
		`caddy_edge_auth_logins_total{outcome="unavailable"}`: 0,
		`caddy_edge_auth_refreshes_total{outcome="success"}`:  2,
		`caddy_edge_auth_refreshes_total{outcome="refused"}`:  2,
		`caddy_edge_auth_refreshes_total{outcome="reused"}`:   1,
		`caddy_edge_auth_issued_total{kind="jwt"}`:            4,
		`caddy_edge_auth_issued_total{kind="token"}`:          1,
		`caddy_edge_auth_issued_total{kind="session"}`:        1,
		"caddy_edge_auth_logouts_total":                       2,
	})
}

func TestLoginsThatNobodyCanCheckAreCountedAsUnavailable(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "http://127.0.0.1:$PORT {\n edge_auth_issuer\n}")
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	pair := pairOf(t, g.PostJSON("/api/token/", wonderland))
	redis.Kill()
	require.Equal(t, http.StatusServiceUnavailable, g.PostJSON("/api/token/", wonderland).Status)
	require.Equal(t, http.StatusServiceUnavailable, g.PostJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`).Status)
	measures(g, map[string]float64{
		`caddy_edge_auth_logins_total{outcome="unavailable"}`:    1,
		`caddy_edge_auth_refreshes_total{outcome="unavailable"}`: 1,
		`caddy_edge_auth_logins_total{outcome="refused"}`:        0,
	})
}

// labels finds the names and values of all labels of ours.
var labels = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// Whoever reads the metrics learns nothing of users, their addresses, or secrets of
// the config; and nobody can make series without bound.
func TestE13MetricsHaveNoLabelFromRequests(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	redis.Do(t, "CONFIG", "SET", "requirepass", "hunter2")
	g := harness.Start(t, "edge_auth {\n store redis redis://:hunter2@"+redis.Addr+"/0\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth {
		token
		session custom {
			cookie sid
			key sess:{id}
			decode json
			user id
			redis redis://:hunter2@REDIS/3
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "REDIS", redis.Addr)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	g.Get("/alices-page", token)
	g.Get("/", "Cookie: sid=alices-session")
	g.PostJSON("/api/token/", wonderland)
	known := map[string][]string{
		"store":   {"redis " + redis.Addr + "/0", "redis " + redis.Addr + "/3"},
		"policy":  {"inline"},
		"cache":   {"findings", "refusals"},
		"kind":    {"jwt", "token", "session"},
		"result":  {"hit", "miss", "stale"},
		"outcome": {"accepted", "absent", "rejected", "unavailable", "forbidden", "success", "refused", "throttled", "reused"},

		"authenticator": {"", "token", "session"},
		"operation":     {"get", "put", "swap", "add", "delete", "touch", "list", "ping", "foreign_get", "foreign_fields", "foreign_extend"},
	}
	for line := range strings.Lines(g.Metrics()) {
		if !strings.HasPrefix(line, "caddy_edge_auth_") {
			continue
		}
		for _, label := range labels.FindAllStringSubmatch(line, -1) {
			if label[1] != "le" {
				assert.Contains(t, known[label[1]], label[2], line)
			}
		}
	}
	assert.Positive(t, g.Metric(`caddy_edge_auth_store_duration_seconds_count{operation="foreign_get",store="redis `+redis.Addr+`/3"}`))
}
