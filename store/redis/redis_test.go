package redis

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/storetest"
)

func open(t testing.TB, c *Config) *Store {
	t.Helper()
	require.NoError(t, c.prepare())
	handle, err := c.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, handle.Destruct()) })
	return handle.(*Store)
}

func TestStoreContract(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, &Config{URL: server.URL(), Prefix: strings.ReplaceAll(t.Name(), "/", ":") + ":", Timeout: caddy.Duration(5 * time.Second)})
	}, func(_ *testing.T, d time.Duration) {
		time.Sleep(d + 50*time.Millisecond) // Redis has no clock of ours
	})
}

func TestUnixSocketAndPassword(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "redis.sock")
	redistest.Start(t, "--unixsocket", socket, "--requirepass", "hunter2")
	s := open(t, &Config{URL: "unix://" + socket, Password: "hunter2", Timeout: caddy.Duration(5 * time.Second)})
	require.NoError(t, s.Ping(t.Context()))
	s = open(t, &Config{URL: "unix://" + socket, Password: "wrong", Timeout: caddy.Duration(5 * time.Second)})
	require.Error(t, s.Ping(t.Context()))
}

// Each call must end within the timeout and 50 ms, however many wait.
func TestHungRedisNeverHoldsACallerLonger(t *testing.T) {
	server := redistest.Start(t)
	const timeout = 250 * time.Millisecond
	for name, warm := range map[string]bool{"no connection yet": false, "connected": true} {
		for _, callers := range []int{1, 500} {
			t.Run(fmt.Sprintf("%s, %d callers", name, callers), func(t *testing.T) {
				s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(timeout)})
				if warm {
					require.NoError(t, s.Ping(t.Context()))
				}
				server.Stop()
				defer server.Continue()
				var all sync.WaitGroup
				var mu sync.Mutex
				var slowest time.Duration
				for range callers {
					all.Go(func() {
						began := time.Now()
						_, err := s.Get(context.Background(), "a")
						took := time.Since(began)
						assert.Error(t, err)
						assert.NotErrorIs(t, err, store.ErrNotFound)
						mu.Lock()
						slowest = max(slowest, took)
						mu.Unlock()
					})
				}
				all.Wait()
				t.Logf("slowest of %d: %v", callers, slowest)
				assert.Less(t, slowest, timeout+50*time.Millisecond)
			})
		}
	}
}

func TestRecoversByItselfWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL()})
	require.NoError(t, s.Ping(t.Context()))
	server.Kill()
	for range 50 {
		require.Error(t, s.Ping(t.Context()))
	}
	server.Restart(t)
	require.Eventually(t, func() bool { return s.Ping(context.Background()) == nil }, 2*time.Second, 10*time.Millisecond)
}

func TestForeignReaderReadsKeysAsTheyStand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	server.Do(t, "SET", "sess:1", "mine", "EX", "100")
	server.Do(t, "RPUSH", "list", "x")
	server.Do(t, "SETRANGE", "large", "70000", "x")
	reader := s.Foreign()
	record, err := reader.Get(t.Context(), "sess:1")
	require.NoError(t, err)
	assert.Equal(t, "mine", string(record.Value))
	assert.InDelta(t, 100, record.TTL.Seconds(), 5)
	_, err = reader.Get(t.Context(), "list")
	require.ErrorIs(t, err, store.ErrWrongType)
	_, err = reader.Get(t.Context(), "large")
	require.ErrorIs(t, err, store.ErrTooLarge)
	_, err = s.Get(t.Context(), "sess:1")
	require.ErrorIs(t, err, store.ErrNotFound, "without the prefix it is not ours")
}

func TestConfigIsRefusedWithoutShowingSecrets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"nothing":           {Config{}, "one of a URL"},
		"two ways":          {Config{URL: "redis://a", Cluster: []string{"b:1"}}, "one of a URL"},
		"no address":        {Config{URL: "http://user:hunter2@host"}, "no address of Redis"},
		"not even a URL":    {Config{URL: "redis://:hunter2@host:bad port"}, "no address of Redis"},
		"database":          {Config{URL: "redis://a", Database: 3}, "names its database itself"},
		"timeout":           {Config{URL: "redis://a", Timeout: caddy.Duration(time.Hour)}, "1ms to 1m"},
		"half a key pair":   {Config{URL: "rediss://a", TLS: &TLS{Certificate: "x"}}, "both files"},
		"sentinel nameless": {Config{Sentinel: &Sentinel{Addresses: []string{"a:1"}}}, "master's name"},
	} {
		err := c.config.check()
		require.ErrorContains(t, err, c.want, name)
		assert.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestSentinelAndClusterSeedsMakeClients(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*Config{
		"sentinel": {Sentinel: &Sentinel{Master: "mymaster", Addresses: []string{"127.0.0.1:1"}}, Database: 2},
		"cluster":  {Cluster: []string{"127.0.0.1:1", "127.0.0.1:2"}},
	} {
		s := open(t, c)
		began := time.Now()
		require.Error(t, s.Ping(t.Context()), name)
		assert.Less(t, time.Since(began), time.Second, name)
	}
}
