package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// probed is what the admin API says of health.
type probed struct {
	Status string `json:"status"`
	Store  struct {
		Name    string `json:"name"`
		Answers bool   `json:"answers"`
		Error   string `json:"error"`
	} `json:"store"`
	Others []struct {
		Name    string `json:"name"`
		Answers bool   `json:"answers"`
	} `json:"other_stores"`
	Tracking *bool `json:"tracking"`
	KeySets  []struct {
		Keys    int  `json:"keys"`
		Fresh   bool `json:"fresh"`
		Failing bool `json:"failing"`
	} `json:"key_sets"`
}

// health waits until the gateway's status is as wanted, and returns what it says then.
func health(g *harness.Gateway, status string, code int) probed {
	g.T.Helper()
	var told probed
	var got int
	harness.Eventually(g.T, 15*time.Second, func() bool {
		told = probed{}
		got = g.AdminGet("/health", &told)
		return told.Status == status
	}, "status is not %s", status)
	assert.Equal(g.T, code, got)
	return told
}

const probes = `
	edge_auth_health /healthz
	edge_auth_health /ready {
		strict
	}
`

// answers demands what load balancers are told, and all that they are told.
func answers(g *harness.Gateway, path string, code int, status string) {
	g.T.Helper()
	a := g.Get(path)
	assert.Equal(g.T, code, a.Status, path)
	assert.Equal(g.T, `{"status":"`+status+`"}`, a.Body, path)
	assert.Equal(g.T, "no-store", a.Header.Get("Cache-Control"))
	assert.Equal(g.T, "application/json", a.Header.Get("Content-Type"))
}

func TestHealthFollowsTheStore(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n}", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth
	respond ok
}`)
	told := health(g, "ok", http.StatusOK)
	assert.Equal(t, "redis "+redis.Addr+"/0", told.Store.Name)
	require.NotNil(t, told.Tracking)
	assert.True(t, *told.Tracking)
	answers(g, "/healthz", http.StatusOK, "ok")
	answers(g, "/ready", http.StatusOK, "ok")
	assert.Equal(t, http.StatusUnauthorized, g.Get("/").Status, "all else is guarded")

	redis.Kill()
	told = health(g, "unavailable", http.StatusServiceUnavailable)
	assert.False(t, told.Store.Answers)
	assert.NotEmpty(t, told.Store.Error)
	answers(g, "/healthz", http.StatusServiceUnavailable, "unavailable")
	answers(g, "/ready", http.StatusServiceUnavailable, "unavailable")
	_, err := g.Command("", "edge-auth", "--address", g.Admin, "health")
	require.ErrorContains(t, err, "unavailable", "scripts see it by the exit code")

	redis.Restart(t)
	health(g, "ok", http.StatusOK)
	assert.Contains(t, g.EdgeAuth("", "health"), "redis "+redis.Addr+"/0")
}

func TestHealthEndpointIsReadOnly(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {`+probes+`}`)
	answers(g, "/healthz", http.StatusOK, "ok") // the embedded store always tracks
	a := g.Do(http.MethodHead, "/healthz", "")
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Empty(t, a.Body)
	assert.Equal(t, "15", a.Header.Get("Content-Length"))
	a = g.Do(http.MethodPost, "/healthz", "x")
	assert.Equal(t, http.StatusMethodNotAllowed, a.Status)
	assert.Equal(t, "GET, HEAD", a.Header.Get("Allow"))
}

// What is not kept needs no news of changes: that there is none is no fault.
func TestStoreThatKeepsNothingIsHealthyWithoutTracking(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", "http://127.0.0.1:$PORT {\n edge_auth\n}")
	assert.Nil(t, health(g, "ok", http.StatusOK).Tracking)
	assert.NotContains(t, g.Metrics(), "caddy_edge_auth_store_tracking")
}

// A Redis that refuses to tell of changes answers all the same: the gateway works, and
// reads every record anew.
func TestHealthIsDegradedWhileChangesAreUnheard(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Do(t, "ACL", "SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
	g := harness.Start(t, "edge_auth {\n store redis redis://gateway:secret@"+redis.Addr+"/0\n}", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth
	respond ok
}`)
	told := health(g, "degraded", http.StatusOK)
	require.NotNil(t, told.Tracking)
	assert.False(t, *told.Tracking)
	assert.True(t, told.Store.Answers)
	answers(g, "/healthz", http.StatusOK, "degraded")
	answers(g, "/ready", http.StatusServiceUnavailable, "degraded")
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	assert.Equal(t, http.StatusOK, g.Get("/", token).Status)

	redis.Do(t, "ACL", "SETUSER", "gateway", "+client|tracking")
	health(g, "ok", http.StatusOK)
}

func TestHealthIsDegradedWhereOnlyAnotherStoreIsDown(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		session custom {
			cookie sid
			key sess:{id}
			decode json
			user id
			redis REDIS
		}
	}
	respond ok
}`, "REDIS", redis.URL())
	health(g, "ok", http.StatusOK)
	redis.Kill()
	told := health(g, "degraded", http.StatusOK)
	require.Len(t, told.Others, 1)
	assert.Equal(t, "redis "+redis.Addr+"/0", told.Others[0].Name)
	assert.False(t, told.Others[0].Answers)
	assert.Equal(t, "embedded", told.Store.Name)
}

func TestHealthFollowsTheKeySets(t *testing.T) {
	t.Parallel()
	issuer := newIDP(t)
	issuer.does(dead)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth {
		jwt `+issuer.URL+` {
			audience api
		}
	}
	respond ok
}`)
	told := health(g, "degraded", http.StatusOK)
	require.Len(t, told.KeySets, 1)
	harness.Eventually(t, 5*time.Second, func() bool { return health(g, "degraded", http.StatusOK).KeySets[0].Failing }, "the fetch does not begin by itself")
	answers(g, "/healthz", http.StatusOK, "degraded")
	answers(g, "/ready", http.StatusServiceUnavailable, "degraded")

	issuer.publishes()
	harness.Eventually(t, 15*time.Second, func() bool { return health(g, "degraded", http.StatusOK).KeySets[0].Fresh }, "the set is not fetched")
	assert.Equal(t, "degraded", health(g, "degraded", http.StatusOK).Status, "no key, no token")
}

func TestGatewayThatNobodyHasAskedYetBecomesReady(t *testing.T) {
	t.Parallel()
	issuer := newIDP(t)
	issuer.publishes(newIDPKey(t, "a"))
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth {
		jwt `+issuer.URL+` {
			audience api
		}
	}
}`)
	harness.Eventually(t, 10*time.Second, func() bool { return g.Get("/ready").Status == http.StatusOK }, "never ready")
	assert.Equal(t, 1, health(g, "ok", http.StatusOK).KeySets[0].Keys)
	assert.EqualValues(t, 1, issuer.fetches.Load())
}

func TestE34AdminShowsKeysAndNoSecret(t *testing.T) {
	t.Parallel()
	issuer := newIDP(t)
	issuer.publishes(newIDPKey(t, "a"))
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"
	g := harness.New(t, "IDP", issuer.URL)
	g.Write("key.pem", privatePEM(t, harness.NewEd25519(t)))
	g.Write("shared.json", `{"kty":"oct","alg":"HS256","kid":"shared","k":"`+secret+`"}`)
	g.Serve("edge_auth {\n signing_key $DIR/key.pem $DIR/shared.json\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt IDP {
			audience api
		}
	}
}`)
	health(g, "ok", http.StatusOK)
	var told struct {
		Signing []struct {
			Kid   string `json:"kid"`
			Alg   string `json:"alg"`
			Signs bool   `json:"signs"`
		} `json:"signing"`
		KeySets []struct {
			URL     string    `json:"url"`
			Keys    int       `json:"keys"`
			Fetched time.Time `json:"fetched"`
		} `json:"key_sets"`
	}
	require.Equal(t, http.StatusOK, g.AdminGet("/keys", &told))
	require.Len(t, told.Signing, 2)
	assert.Equal(t, "EdDSA", told.Signing[0].Alg)
	assert.NotEmpty(t, told.Signing[0].Kid)
	assert.True(t, told.Signing[0].Signs)
	assert.Equal(t, "HS256", told.Signing[1].Alg)
	assert.Equal(t, "shared", told.Signing[1].Kid)
	assert.False(t, told.Signing[1].Signs)
	require.Len(t, told.KeySets, 1)
	assert.Equal(t, 1, told.KeySets[0].Keys)
	assert.WithinDuration(t, time.Now(), told.KeySets[0].Fetched, time.Minute)
	shown := g.EdgeAuth("", "keys") + g.EdgeAuth("", "keys", "--json")
	assert.Contains(t, shown, "shared")
	assert.Contains(t, shown, issuer.URL)
	assert.NotContains(t, shown, secret)
}

func TestAdminShowsAndEmptiesTheCaches(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g, token := startOnRedis(t, redis, up, "cache 1000")
	type stats struct{ Entries, Hits int }
	var told struct {
		Findings, Refusals stats
		Tracking           bool
	}
	harness.Eventually(t, 10*time.Second, func() bool {
		require.Equal(t, http.StatusOK, g.Get("/", token).Status)
		require.Equal(t, http.StatusOK, g.AdminGet("/cache", &told))
		return told.Findings.Hits > 0
	}, "nothing is kept")
	assert.True(t, told.Tracking)
	assert.Equal(t, 1, told.Findings.Entries)
	assert.Contains(t, g.EdgeAuth("", "cache"), "tracking: true")

	assert.Equal(t, "forgot 1 findings and 0 refusals", g.EdgeAuth("", "cache", "clear"))
	before := calls(redis.Do(t, "INFO", "commandstats"), "getrange")
	require.Equal(t, http.StatusOK, g.Get("/", token).Status)
	assert.Greater(t, calls(redis.Do(t, "INFO", "commandstats"), "getrange"), before, "looked up anew")
}
