package integration

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// metric is what a series says, named as Prometheus prints it; -1: there is none.
func (g *gateway) metric(series string) float64 {
	g.t.Helper()
	for line := range strings.Lines(g.metrics()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(g.t, err)
			return number
		}
	}
	return -1
}

// measures demands values of series.
func (g *gateway) measures(want map[string]float64) {
	g.t.Helper()
	for series, value := range want {
		assert.InDelta(g.t, value, g.metric(series), 0, series)
	}
}

func TestMetricsTellOfTheStoreAndTheCaches(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := startUpstream(t)
	g, token := startOnRedis(t, redis, up, "cache 1000")
	name := `store="redis ` + redis.Addr + `/0"`
	const tracking = "caddy_edge_auth_store_tracking{"
	eventually(t, 5*time.Second, func() bool { return g.metric(tracking+name+"}") == 1 }, "tracking is not on")

	news := g.metric("caddy_edge_auth_cache_invalidations_total{" + name + "}")
	wrong := "Authorization: Token " + strings.Repeat("0", 40)
	eventually(t, 5*time.Second, func() bool {
		require.Equal(t, http.StatusOK, g.get("/", token).status)
		require.Equal(t, http.StatusUnauthorized, g.get("/", wrong).status)
		return g.metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="hit"}`) > 0 &&
			g.metric(`caddy_edge_auth_cache_lookups_total{cache="refusals",result="hit"}`) > 0
	}, "no hits")
	assert.Positive(t, g.metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="miss"}`))
	assert.Positive(t, g.metric(`caddy_edge_auth_store_duration_seconds_count{operation="get",`+name+`}`))
	g.measures(map[string]float64{
		`caddy_edge_auth_cache_entries{cache="refusals"}`:                  1,
		`caddy_edge_auth_cache_bytes{cache="refusals"}`:                    16 << 10,
		`caddy_edge_auth_store_errors_total{operation="get",` + name + `}`: 0,
	})

	g.edgeAuth("", "user", "disable", "alice")
	eventually(t, 5*time.Second, func() bool {
		g.get("/", token)
		return g.metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="stale"}`) > 0
	}, "nothing is stale")
	assert.Greater(t, g.metric("caddy_edge_auth_cache_invalidations_total{"+name+"}"), news)

	redis.Kill()
	eventually(t, 10*time.Second, func() bool {
		g.get("/", wrong)
		return g.metric(tracking+name+"}") == 0 && g.metric(`caddy_edge_auth_store_errors_total{operation="get",`+name+`}`) > 0
	}, "an outage is not told")
}

// The duration is ours alone: an upstream that is slow does not count.
func TestMetricsMeasureAuthenticationWithoutTheUpstream(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(delay) }))
	t.Cleanup(slow.Close)
	g := startGateway(t, "metrics\nedge_auth {\n policy api {\n token\n}\n}", `http://127.0.0.1:$PORT {
	edge_auth api
	reverse_proxy UPSTREAM
}`, "UPSTREAM", strings.TrimPrefix(slow.URL, "http://"))
	g.edgeAuth("correct horse\n", "user", "add", "alice")
	began := time.Now()
	require.Equal(t, http.StatusOK, g.get("/", "Authorization: Token "+g.edgeAuth("", "token", "create", "alice")).status)
	require.Greater(t, time.Since(began), delay)
	g.get("/")
	assert.InDelta(t, 2, g.metric(`caddy_edge_auth_authentication_duration_seconds_count{policy="api"}`), 0)
	sum := g.metric(`caddy_edge_auth_authentication_duration_seconds_sum{policy="api"}`)
	assert.Positive(t, sum)
	assert.Less(t, sum, delay.Seconds())
}

func TestMetricsTellWhatTheIssuerDid(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "metrics", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		token
		session
		login_rate 3 1m
	}
}`)
	g.edgeAuth("wonderland\n", "user", "add", "alice")
	g.measures(map[string]float64{`caddy_edge_auth_refreshes_total{outcome="reused"}`: 0, "caddy_edge_auth_logouts_total": 0}) // before the first

	pair := pairOf(t, g.postJSON("/api/token/", wonderland))
	pairOf(t, g.postJSON("/api-token-auth/", wonderland))
	a := g.postJSON("/login/", wonderland)
	require.Equal(t, http.StatusOK, a.status, a.body)
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	second := pairOf(t, g.postJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`))
	third := pairOf(t, g.postJSON("/api/token/refresh/", `{"refresh":"`+second["refresh"]+`"}`))
	require.Equal(t, http.StatusUnauthorized, g.postJSON("/api/token/refresh/", `{"refresh":"nonsense"}`).status)
	require.Equal(t, http.StatusUnauthorized, g.postJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`, "User-Agent: thief").status)
	require.Equal(t, http.StatusUnauthorized, g.postJSON("/api/token/refresh/", `{"refresh":"`+third["refresh"]+`"}`).status)
	require.Equal(t, http.StatusOK, g.postJSON("/logout/", `{}`, "Cookie: "+cookie).status)
	last := pairOf(t, g.postJSON("/api/token/", wonderland))
	require.Equal(t, http.StatusOK, g.postJSON("/api/token/blacklist/", `{"refresh":"`+last["refresh"]+`"}`).status)
	require.Equal(t, http.StatusBadRequest, g.postJSON("/api/token/", `{"username":"alice"}`).status, "no login at all")
	for range 5 {
		g.postJSON("/api/token/", `{"username":"nobody","password":"wrong"}`)
	}
	g.measures(map[string]float64{
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
	g := startGateway(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "http://127.0.0.1:$PORT {\n edge_auth_issuer\n}")
	g.edgeAuth("wonderland\n", "user", "add", "alice")
	pair := pairOf(t, g.postJSON("/api/token/", wonderland))
	redis.Kill()
	require.Equal(t, http.StatusServiceUnavailable, g.postJSON("/api/token/", wonderland).status)
	require.Equal(t, http.StatusServiceUnavailable, g.postJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`).status)
	g.measures(map[string]float64{
		`caddy_edge_auth_logins_total{outcome="unavailable"}`:    1,
		`caddy_edge_auth_refreshes_total{outcome="unavailable"}`: 1,
		`caddy_edge_auth_logins_total{outcome="refused"}`:        0,
	})
}

// labels finds the names and values of all labels of ours.
var labels = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// Whoever reads the metrics learns nothing of users, their addresses, or secrets of
// the config; and nobody can make series without bound.
func TestMetricsHaveNoLabelFromRequests(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := startUpstream(t)
	redis.Do(t, "CONFIG", "SET", "requirepass", "hunter2")
	g := startGateway(t, "edge_auth {\n store redis redis://:hunter2@"+redis.Addr+"/0\n}", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "REDIS", redis.Addr)
	g.edgeAuth("wonderland\n", "user", "add", "alice")
	token := "Authorization: Token " + g.edgeAuth("", "token", "create", "alice")
	g.get("/alices-page", token)
	g.get("/", "Cookie: sid=alices-session")
	g.postJSON("/api/token/", wonderland)
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
	for line := range strings.Lines(g.metrics()) {
		if !strings.HasPrefix(line, "caddy_edge_auth_") {
			continue
		}
		for _, label := range labels.FindAllStringSubmatch(line, -1) {
			if label[1] != "le" {
				assert.Contains(t, known[label[1]], label[2], line)
			}
		}
	}
	assert.Positive(t, g.metric(`caddy_edge_auth_store_duration_seconds_count{operation="foreign_get",store="redis `+redis.Addr+`/3"}`))
}
