package faults

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// Config after config is loaded while a crowd asks: with other names, another store,
// and with mistakes, which leave the one before running. There is no moment in which
// anybody gets in without a credential.
func TestD34ReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), timeout)
	through(t, g, up)
	config := func(store, policy, mistake string) string {
		return g.Write("Caddyfile", "{\n\tadmin "+g.Admin+"\n\tauto_https off\n\tedge_auth {\n"+store+"\n policy "+policy+" {\n"+sessions+"\n}\n}\n}\n"+
			"http://127.0.0.1:$PORT {\n\tedge_auth "+policy+"\n\t"+mistake+"\n\treverse_proxy UPSTREAM {\n transport http {\n keepalive off\n}\n}\n}\n")
	}
	// Without connections that are kept for the next request, each config its own.
	require.NoError(t, g.Reload(config("store redis "+redis.URL()+" {\n timeout 1s\n}", "p", "")))
	c := startCrowd(t, g, up, members()...)
	c.awaitsOnly(http.StatusOK, 5*time.Second)
	before, connected := footprintOf(t, g), clients(t, redis)
	rounds := 0
	for end := time.Now().Add(lasting(t, 2*time.Second)); rounds < 5 || time.Now().Before(end); rounds++ {
		next := time.Now().Add(500 * time.Millisecond)
		store := "store redis " + redis.URL() + " {\n timeout " + []string{"1s", "1100ms"}[rounds/2%2] + "\n}"
		require.NoError(t, g.Reload(config(store, fmt.Sprintf("p%d", rounds), "header X-Round "+fmt.Sprint(rounds))))
		require.Error(t, g.Reload(config(store, "q", "edge_auth no_such_policy")))
		time.Sleep(time.Until(next))
	}
	c.awaitsOnly(http.StatusOK, 5*time.Second)
	settles(t, g, before)
	harness.Eventually(t, 10*time.Second, func() bool { return clients(t, redis) <= connected+4 }, "connections are left behind")
	c.stop()
	for _, err := range c.lost {
		require.True(t, harness.HungUp(err), "%v", err)
	}
	assert.LessOrEqual(t, len(c.lost), rounds)
	assert.Zero(t, c.count(http.StatusServiceUnavailable))
	t.Logf("%d reloads", rounds)
}

// clients counts the connections to Redis, but for the one that asks.
func clients(t testing.TB, redis *redistest.Server) int {
	t.Helper()
	return strings.Count(redis.Do(t, "CLIENT", "LIST"), "id=") - 1
}

// startSlow is an upstream that answers when it is let, and echoes what comes over an
// upgraded connection.
func startSlow(t testing.TB) (address string, arrived *atomic.Int64, release func()) {
	t.Helper()
	arrived = new(atomic.Int64)
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		if r.Header.Get("Upgrade") == "" {
			<-gate
			_, _ = io.WriteString(w, r.Header.Get("Remote-User"))
			return
		}
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, in)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(release)
	return strings.TrimPrefix(server.URL, "http://"), arrived, release
}

// Who is on the way when Caddy is told to end gets an answer; nobody gets in after;
// Caddy ends within the grace period, an upgraded connection or not; and what was
// acknowledged is there afterwards.
func TestD35EndWithRequestsUnderWay(t *testing.T) {
	t.Parallel()
	address, arrived, release := startSlow(t)
	g := harness.Start(t, "grace_period 5s\nedge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		login_rate 1000 1m
	}
	edge_auth
	reverse_proxy UPSTREAM
}`, "UPSTREAM", address)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")

	socket, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	require.NoError(t, err)
	defer socket.Close()
	_, err = io.WriteString(socket, "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\n"+token+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(socket)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "101")

	const under = 50
	var all sync.WaitGroup
	answered := atomic.Int64{}
	for range under {
		all.Go(func() {
			if a, err := g.Try(t.Context(), http.MethodGet, "/", "", token); assert.NoError(t, err) && assert.Equal(t, http.StatusOK, a.Status) {
				assert.Equal(t, "alice", a.Body)
				answered.Add(1)
			}
		})
	}
	var tokens atomic.Pointer[string]
	all.Go(func() {
		if a, err := g.Try(t.Context(), http.MethodPost, "/api/token/", alicesLogin, "Content-Type: application/json"); err == nil && a.Status == http.StatusOK {
			tokens.Store(&a.Body)
		}
	})
	harness.Eventually(t, 20*time.Second, func() bool { return arrived.Load() == under+1 && tokens.Load() != nil }, "not all are on their way")
	began := time.Now()
	require.NoError(t, g.Cmd.Process.Signal(syscall.SIGTERM))
	harness.Eventually(t, 5*time.Second, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, "it takes new connections")
	release()
	all.Wait()
	assert.Equal(t, int64(under), answered.Load())
	g.AwaitEnd(10 * time.Second)
	t.Logf("ended after %v", time.Since(began))
	assert.Less(t, time.Since(began), 5*time.Second+2*slow)
	assert.Empty(t, g.Log.Lines("panic"))

	// The file was closed, and has the login.
	g.Run("run", "--config", g.Dir+"/Caddyfile", "--adapter", "caddyfile")
	g.WaitReady()
	_, refresh, _ := strings.Cut(*tokens.Load(), `"refresh":"`)
	refresh, _, _ = strings.Cut(refresh, `"`)
	status, _, err := settled(g, harness.Client, `{"refresh":"`+refresh+`"}`)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
}
