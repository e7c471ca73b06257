package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// adminGet asks the admin API for a path below /edge_auth.
func (g *gateway) adminGet(path string, into any) int {
	g.t.Helper()
	resp, err := client.Get("http://" + g.admin + "/edge_auth" + path)
	require.NoError(g.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(g.t, err)
	require.NoError(g.t, json.Unmarshal(data, into), string(data))
	return resp.StatusCode
}

// health waits until the gateway's status is as wanted, and returns what it says then.
func (g *gateway) health(status string, code int) probed {
	g.t.Helper()
	var told probed
	var got int
	eventually(g.t, 15*time.Second, func() bool {
		told = probed{}
		got = g.adminGet("/health", &told)
		return told.Status == status
	}, "status is not %s", status)
	assert.Equal(g.t, code, got)
	return told
}

const probes = `
	edge_auth_health /healthz
	edge_auth_health /ready {
		strict
	}
`

// answers demands what load balancers are told, and all that they are told.
func (g *gateway) answers(path string, code int, status string) {
	g.t.Helper()
	a := g.get(path)
	assert.Equal(g.t, code, a.status, path)
	assert.Equal(g.t, `{"status":"`+status+`"}`, a.body, path)
	assert.Equal(g.t, "no-store", a.header.Get("Cache-Control"))
	assert.Equal(g.t, "application/json", a.header.Get("Content-Type"))
}

func TestHealthFollowsTheStore(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := startGateway(t, "edge_auth {\n store redis "+redis.URL()+"\n}", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth
	respond ok
}`)
	told := g.health("ok", http.StatusOK)
	assert.Equal(t, "redis "+redis.Addr+"/0", told.Store.Name)
	require.NotNil(t, told.Tracking)
	assert.True(t, *told.Tracking)
	g.answers("/healthz", http.StatusOK, "ok")
	g.answers("/ready", http.StatusOK, "ok")
	assert.Equal(t, http.StatusUnauthorized, g.get("/").status, "all else is guarded")

	redis.Kill()
	told = g.health("unavailable", http.StatusServiceUnavailable)
	assert.False(t, told.Store.Answers)
	assert.NotEmpty(t, told.Store.Error)
	g.answers("/healthz", http.StatusServiceUnavailable, "unavailable")
	g.answers("/ready", http.StatusServiceUnavailable, "unavailable")
	_, err := g.command("", "edge-auth", "--address", g.admin, "health")
	require.ErrorContains(t, err, "unavailable", "scripts see it by the exit code")

	redis.Restart(t)
	g.health("ok", http.StatusOK)
	assert.Contains(t, g.edgeAuth("", "health"), "redis "+redis.Addr+"/0")
}

func TestHealthEndpointIsReadOnly(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", `http://127.0.0.1:$PORT {`+probes+`}`)
	g.answers("/healthz", http.StatusOK, "ok") // the embedded store always tracks
	a := g.do(http.MethodHead, "/healthz", "")
	assert.Equal(t, http.StatusOK, a.status)
	assert.Empty(t, a.body)
	assert.Equal(t, "15", a.header.Get("Content-Length"))
	a = g.do(http.MethodPost, "/healthz", "x")
	assert.Equal(t, http.StatusMethodNotAllowed, a.status)
	assert.Equal(t, "GET, HEAD", a.header.Get("Allow"))
}

// What is not kept needs no news of changes: that there is none is no fault.
func TestStoreThatKeepsNothingIsHealthyWithoutTracking(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := startGateway(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", "http://127.0.0.1:$PORT {\n edge_auth\n}")
	assert.Nil(t, g.health("ok", http.StatusOK).Tracking)
	assert.NotContains(t, g.metrics(), "caddy_edge_auth_store_tracking")
}

// A Redis that refuses to tell of changes answers all the same: the gateway works, and
// reads every record anew.
func TestHealthIsDegradedWhileChangesAreUnheard(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Do(t, "ACL", "SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
	g := startGateway(t, "edge_auth {\n store redis redis://gateway:secret@"+redis.Addr+"/0\n}", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth
	respond ok
}`)
	told := g.health("degraded", http.StatusOK)
	require.NotNil(t, told.Tracking)
	assert.False(t, *told.Tracking)
	assert.True(t, told.Store.Answers)
	g.answers("/healthz", http.StatusOK, "degraded")
	g.answers("/ready", http.StatusServiceUnavailable, "degraded")
	g.edgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Token " + g.edgeAuth("", "token", "create", "alice")
	assert.Equal(t, http.StatusOK, g.get("/", token).status)

	redis.Do(t, "ACL", "SETUSER", "gateway", "+client|tracking")
	g.health("ok", http.StatusOK)
}

func TestHealthIsDegradedWhereOnlyAnotherStoreIsDown(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
	g.health("ok", http.StatusOK)
	redis.Kill()
	told := g.health("degraded", http.StatusOK)
	require.Len(t, told.Others, 1)
	assert.Equal(t, "redis "+redis.Addr+"/0", told.Others[0].Name)
	assert.False(t, told.Others[0].Answers)
	assert.Equal(t, "embedded", told.Store.Name)
}

func TestHealthFollowsTheKeySets(t *testing.T) {
	t.Parallel()
	issuer := newIDP(t)
	issuer.does(dead)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth {
		jwt `+issuer.URL+` {
			audience api
		}
	}
	respond ok
}`)
	told := g.health("degraded", http.StatusOK)
	require.Len(t, told.KeySets, 1)
	eventually(t, 5*time.Second, func() bool { return g.health("degraded", http.StatusOK).KeySets[0].Failing }, "the fetch does not begin by itself")
	g.answers("/healthz", http.StatusOK, "degraded")
	g.answers("/ready", http.StatusServiceUnavailable, "degraded")

	issuer.publishes()
	eventually(t, 15*time.Second, func() bool { return g.health("degraded", http.StatusOK).KeySets[0].Fresh }, "the set is not fetched")
	assert.Equal(t, "degraded", g.health("degraded", http.StatusOK).Status, "no key, no token")
}

func TestGatewayThatNobodyHasAskedYetBecomesReady(t *testing.T) {
	t.Parallel()
	issuer := newIDP(t)
	issuer.publishes(newIDPKey(t, "a"))
	g := startGateway(t, "", `http://127.0.0.1:$PORT {`+probes+`
	edge_auth {
		jwt `+issuer.URL+` {
			audience api
		}
	}
}`)
	eventually(t, 10*time.Second, func() bool { return g.get("/ready").status == http.StatusOK }, "never ready")
	assert.Equal(t, 1, g.health("ok", http.StatusOK).KeySets[0].Keys)
	assert.EqualValues(t, 1, issuer.fetches.Load())
}

func TestE34AdminShowsKeysAndNoSecret(t *testing.T) {
	t.Parallel()
	issuer := newIDP(t)
	issuer.publishes(newIDPKey(t, "a"))
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"
	g := newGateway(t, "IDP", issuer.URL)
	g.write("key.pem", privatePEM(t, newEd25519(t)))
	g.write("shared.json", `{"kty":"oct","alg":"HS256","kid":"shared","k":"`+secret+`"}`)
	g.serve("edge_auth {\n signing_key $DIR/key.pem $DIR/shared.json\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt IDP {
			audience api
		}
	}
}`)
	g.health("ok", http.StatusOK)
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
	require.Equal(t, http.StatusOK, g.adminGet("/keys", &told))
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
	shown := g.edgeAuth("", "keys") + g.edgeAuth("", "keys", "--json")
	assert.Contains(t, shown, "shared")
	assert.Contains(t, shown, issuer.URL)
	assert.NotContains(t, shown, secret)
}

func TestAdminShowsAndEmptiesTheCaches(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := startUpstream(t)
	g, token := startOnRedis(t, redis, up, "cache 1000")
	type stats struct{ Entries, Hits int }
	var told struct {
		Findings, Refusals stats
		Tracking           bool
	}
	eventually(t, 10*time.Second, func() bool {
		require.Equal(t, http.StatusOK, g.get("/", token).status)
		require.Equal(t, http.StatusOK, g.adminGet("/cache", &told))
		return told.Findings.Hits > 0
	}, "nothing is kept")
	assert.True(t, told.Tracking)
	assert.Equal(t, 1, told.Findings.Entries)
	assert.Contains(t, g.edgeAuth("", "cache"), "tracking: true")

	assert.Equal(t, "forgot 1 findings and 0 refusals", g.edgeAuth("", "cache", "clear"))
	before := calls(redis.Do(t, "INFO", "commandstats"), "getrange")
	require.Equal(t, http.StatusOK, g.get("/", token).status)
	assert.Greater(t, calls(redis.Do(t, "INFO", "commandstats"), "getrange"), before, "looked up anew")
}
