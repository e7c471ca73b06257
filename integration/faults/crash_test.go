package faults

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// crashes is how often a gateway is killed, for each store. EDGE_AUTH_CRASHES=500
// makes it more.
func crashes(t testing.TB) int {
	t.Helper()
	text := os.Getenv("EDGE_AUTH_CRASHES")
	if text == "" {
		return 6
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// family is a client with a login, who refreshes again and again, until it logs out.
// What it was told it has, it must have after a crash; what it was told is over, is.
type family struct {
	refresh string   // its newest
	used    []string // those that it has used up, the newest last
	ended   bool     // it was told so
	unsure  bool     // there was no answer to the last request
}

type pair struct{ Access, Refresh string }

// live is what a family does until the gateway dies. It counts what was answered.
func (f *family) live(g *harness.Gateway, client *http.Client, done *atomic.Int64) {
	for ; ; done.Add(1) {
		if f.ended || f.refresh == "" {
			status, body, err := post(g, client, "/api/token/", alicesLogin)
			if err != nil {
				return
			}
			if status == http.StatusOK {
				*f = family{refresh: body.Refresh}
			}
			continue
		}
		if rand.IntN(6) == 0 {
			f.unsure = true
			status, _, err := post(g, client, "/api/token/blacklist/", `{"refresh":"`+f.refresh+`"}`)
			if err != nil {
				return
			}
			f.unsure, f.ended = false, status == http.StatusOK
			continue
		}
		f.unsure = true
		status, body, err := post(g, client, "/api/token/refresh/", `{"refresh":"`+f.refresh+`"}`)
		if err != nil {
			return
		}
		f.unsure = false
		if status == http.StatusOK {
			f.used = append(f.used, f.refresh)
			f.refresh = body.Refresh
		}
	}
}

func post(g *harness.Gateway, client *http.Client, path, body string) (int, pair, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, pair{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, pair{}, err
	}
	defer resp.Body.Close()
	var p pair
	err = json.NewDecoder(resp.Body).Decode(&p)
	if err != nil && resp.StatusCode == http.StatusOK && !strings.HasSuffix(path, "/blacklist/") {
		return 0, pair{}, err // the answer was cut
	}
	return resp.StatusCode, p, nil
}

// settled refreshes at a gateway that has just started, which says 503 until it has
// its keys.
func settled(g *harness.Gateway, client *http.Client, body string) (status int, p pair, err error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, p, err = post(g, client, "/api/token/refresh/", body)
		if err != nil || status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return status, p, err
		}
	}
}

// judge asks the gateway that runs again.
func (f *family) judge(t testing.TB, g *harness.Gateway, client *http.Client) {
	t.Helper()
	if f.refresh == "" {
		return
	}
	status, body, err := settled(g, client, `{"refresh":"`+f.refresh+`"}`)
	require.NoError(t, err)
	switch {
	case f.ended:
		assert.Equal(t, http.StatusUnauthorized, status, "a logout that was acknowledged is undone")
		return
	case !f.unsure:
		require.Equal(t, http.StatusOK, status, "a login that was acknowledged is lost")
	case status != http.StatusOK:
		// The request that was not answered was a logout, and it counts.
		require.Equal(t, http.StatusUnauthorized, status)
		f.ended = true
		return
	}
	// A lost answer is given again; whatever came of it, one successor lives. An old
	// token gives nothing, and says that somebody has stolen it.
	next := body.Refresh
	status, body, err = settled(g, client, `{"refresh":"`+next+`"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "the successor does not live")
	if len(f.used) > 0 {
		status, _, err = settled(g, client, `{"refresh":"`+f.used[0]+`"}`)
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, status, "an old token lives")
		status, _, err = settled(g, client, `{"refresh":"`+body.Refresh+`"}`)
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, status, "two successors: the stolen family lives")
		*f = family{}
		return
	}
	f.used, f.refresh, f.unsure = append(f.used, f.refresh, next), body.Refresh, false
}

// The gateway is killed at any step of logins, refreshes and logouts.
func TestD33NothingAcknowledgedIsLostByACrash(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]string{"embedded": "store embedded $DIR/edge_auth.db", "Redis": "store redis REDIS {\n timeout 2s\n}"} {
		t.Run("D33 "+name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			g := harness.Start(t, "edge_auth {\n"+strings.ReplaceAll(store, "REDIS", redis.URL())+"\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		login_rate 100000 1m
	}
}`)
			g.EdgeAuth("correct horse\n", "user", "add", "alice")
			families := make([]family, 4)
			var done atomic.Int64
			for range crashes(t) {
				client := &http.Client{Transport: &http.Transport{}}
				var all sync.WaitGroup
				for i := range families {
					all.Go(func() { families[i].live(g, client, &done) })
				}
				enough := done.Load() + 5 + rand.Int64N(40)
				harness.Eventually(t, 20*time.Second, func() bool { return done.Load() >= enough }, "little is answered")
				g.Kill()
				all.Wait()
				client.CloseIdleConnections()
				g.Run("run", "--config", g.Dir+"/Caddyfile", "--adapter", "caddyfile")
				g.WaitReady()
				for i := range families {
					families[i].judge(t, g, client)
				}
			}
			t.Logf("%d requests were acknowledged", done.Load())
			assert.Empty(t, g.Log.Lines("panic"))
		})
	}
}
