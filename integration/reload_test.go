package integration

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// connections counts the connections to Redis, but for the one that asks.
func connections(t testing.TB, redis *redistest.Server) int {
	t.Helper()
	return strings.Count(redis.Do(t, "CLIENT", "LIST"), "id=") - 1
}

func TestD34ReloadUnderLoadFailsNoRequestAndKeepsTheConnections(t *testing.T) {
	t.Parallel()
	for name, storeLine := range map[string]string{"redis": "store redis REDIS", "embedded": "store embedded $DIR/edge_auth.db"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			up := harness.StartUpstream(t)
			site := `http://127.0.0.1:$PORT {
	edge_auth {
		token
		jwt
	}
	reverse_proxy UPSTREAM
	header X-Round ROUND
}`
			g := harness.Start(t, "edge_auth {\n"+storeLine+"\n}", site, "UPSTREAM", up.Addr, "REDIS", redis.URL(), "ROUND", "0")
			g.EdgeAuth("correct horse\n", "user", "add", "alice")
			credentials := []string{
				"Token " + g.EdgeAuth("", "token", "create", "alice"),
				"Bearer " + g.EdgeAuth("", "jwt", "create", "alice", "--lifetime", "1h"),
			}
			require.Equal(t, http.StatusOK, g.Get("/", "Authorization: "+credentials[0]).Status)

			load := startLoad(g.URL, credentials)
			before := connections(t, redis)
			for round := range 5 {
				config := "{\n\tadmin " + g.Admin + "\n\tauto_https off\nedge_auth {\n" + storeLine + "\n}\n}\n" +
					strings.ReplaceAll(site, "X-Round ROUND", "X-Round r"+string(rune('1'+round)))
				require.NoError(t, g.Reload(g.Write("Caddyfile", config)))
			}
			after := connections(t, redis)
			done := load.stop()
			assert.Zero(t, load.failed.Load(), "failed requests of %d; first: %v", done, load.first.Load())
			assert.Greater(t, done, int64(20))
			if name == "redis" {
				// Under load the pool may add a connection at any moment, so the
				// bound is: reloads leave none behind.
				assert.LessOrEqual(t, after, before+4)
			}
		})
	}
}

// load is a client that asks again and again until it is stopped.
type load struct {
	done, failed atomic.Int64
	first        atomic.Value
	client       http.Client
	quit         chan struct{}
	ended        chan struct{}
}

// startLoad keeps its connections, as clients under load do: where a server
// closes an idle one, the request is sent again on another. A connection that
// Caddy's old listener had queued and not yet taken can be reset by any reload,
// with or without this module, so it asks again there as well.
func startLoad(url string, credentials []string) *load {
	l := &load{quit: make(chan struct{}), ended: make(chan struct{}), client: http.Client{Transport: &http.Transport{}}}
	go func() {
		defer close(l.ended)
		for i := 0; ; i++ {
			select {
			case <-l.quit:
				return
			default:
			}
			l.ask(url, credentials[i%len(credentials)])
		}
	}()
	return l
}

func (l *load) ask(url, credential string) {
	req, _ := http.NewRequest(http.MethodGet, url, nil)
	req.Header.Set("Authorization", credential)
	resp, err := l.client.Do(req)
	if errors.Is(err, syscall.ECONNRESET) {
		resp, err = l.client.Do(req)
	}
	if err != nil {
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, err.Error())
		return
	}
	var body bytes.Buffer
	_, _ = io.Copy(&body, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, resp.Status+": "+body.String())
	}
	l.done.Add(1)
}

func (l *load) stop() int64 {
	close(l.quit)
	<-l.ended
	return l.done.Load()
}

func TestReloadsLeaveNoConnectionBehind(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g, token := startOnRedis(t, redis, up, "timeout 1s")
	warm(g, t, redis, token) // the connection for news is there too
	before := connections(t, redis)
	for range 5 {
		require.NoError(t, g.Reload(g.Dir+"/Caddyfile")) // unchanged: Caddy ignores it
	}
	for range 5 {
		text := "{\n\tadmin " + g.Admin + "\n\tauto_https off\nedge_auth {\n store redis " + redis.URL() + " {\n timeout 1s\n}\n}\n}\n" +
			"http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n header X-Time " + time.Now().Format("150405.000000") + "\n reverse_proxy UPSTREAM\n}"
		require.NoError(t, g.Reload(g.Write("Caddyfile", text)))
		// The listener that closes may still take a connection, and reset it.
		harness.Eventually(t, 10*time.Second, func() bool {
			a, err := g.Try(t.Context(), http.MethodGet, "/", "", token)
			return err == nil && a.Status == http.StatusOK
		}, "no answer after a reload")
	}
	assert.LessOrEqual(t, connections(t, redis), before+1, "a pool may grow by one; a reload must not leave one each")
}
