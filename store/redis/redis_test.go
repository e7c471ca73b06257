package redis

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
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

// contract holds a store on a server to the contract.
func contract(t *testing.T, server *redistest.Server, config Config) {
	t.Helper()
	storetest.Run(t, func(t *testing.T) store.Store {
		c := config
		c.Prefix += strings.ReplaceAll(t.Name(), "/", ":") + ":"
		c.Timeout = caddy.Duration(5 * time.Second)
		return open(t, &c)
	}, func(t *testing.T, d time.Duration) {
		// Redis has no clock of ours: wait until it says that d has passed.
		marker := "passed:" + t.Name()
		server.Do(t, "SET", marker, "1", "PX", strconv.FormatInt(d.Milliseconds()+1, 10))
		require.Eventually(t, func() bool { return server.Do(t, "EXISTS", marker) == "0" }, 10*time.Second, 5*time.Millisecond)
	})
}

func TestStoreContract(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	contract(t, server, Config{URL: server.URL()})
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
