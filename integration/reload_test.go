package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
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

func TestD34E43ReloadUnderLoadFailsNoRequestAndKeepsTheConnections(t *testing.T) {
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
// closes an idle one, the request is sent again on another. It asks again as well
// where any reload may hang up.
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
	resp, err := harness.Again(req.Method, func() (*http.Response, error) { return l.client.Do(req) })
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

func TestD34ReloadToAnotherStoreFailsNoRequestThatIsUnderWay(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	global := "metrics\nedge_auth {\n store redis " + redis.URL() + " {\n timeout TIMEOUT\n cache off\n}\n}"
	const site = "http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}"
	g := harness.Start(t, strings.Replace(global, "TIMEOUT", "15s", 1), site, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	require.Equal(t, http.StatusOK, g.Get("/", token).Status)

	redis.Stop()
	defer redis.Continue()
	const callers = 20
	answers := make(chan harness.Answer, callers)
	for range callers {
		go func() {
			a, err := g.Try(t.Context(), http.MethodGet, "/", "", token)
			assert.NoError(t, err)
			answers <- a
		}()
	}
	underWay := regexp.MustCompile(fmt.Sprintf(`(?m)^caddy_http_requests_in_flight{.*} %d$`, callers))
	harness.Eventually(t, 10*time.Second, func() bool { return underWay.MatchString(g.Metrics()) }, "they do not wait for Redis")
	config := "{\n\tadmin " + g.Admin + "\n\tauto_https off\n" + strings.Replace(global, "TIMEOUT", "14s", 1) + "\n}\n" + site
	require.NoError(t, g.Reload(g.Write("Caddyfile", config)))
	redis.Continue()
	for range callers {
		a := <-answers
		assert.Equal(t, http.StatusOK, a.Status, a.Body)
	}
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
