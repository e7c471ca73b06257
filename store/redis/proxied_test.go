package redis

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// A server, or a proxy before one, that does not speak RESP3 takes CLIENT TRACKING
// and then tells of nothing.
func TestD28RedisWithoutRESP3IsAskedEachTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "HELLO", "")
	g := newGateway(t, caching(Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)}, 400*time.Millisecond))
	require.NoError(t, g.Ping(t.Context()))
	require.Never(t, g.Changes().Trusted, time.Second, 10*time.Millisecond, "it would never tell")
	for n := range 20 {
		server.Do(t, "SET", "edge_auth:k", strconv.Itoa(n))
		value, err := g.look(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(n), value)
	}
	assert.Equal(t, int64(20), g.asked.Load())
}

// A Redis that lets nobody in has said nothing about any record.
func TestD15RefusedConnectionIsNoAnswer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "gateway", "on", ">old", "~*", "&*", "+@all")
	s := open(t, &Config{URL: server.URL(), Username: "gateway", Password: "old", Timeout: caddy.Duration(5 * time.Second)})
	require.NoError(t, s.Put(t.Context(), "k", []byte("v"), time.Hour))
	server.Do(t, "ACL", "DELUSER", "gateway") // its connections end too
	for _, key := range []string{"k", "no such key"} {
		require.Eventually(t, func() bool {
			_, err := s.Get(t.Context(), key)
			return err != nil && strings.Contains(err.Error(), "WRONGPASS")
		}, 5*time.Second, time.Millisecond)
		record, err := s.Get(t.Context(), key)
		require.ErrorContains(t, err, "WRONGPASS", "%q", record)
		_, err = s.Foreign().Get(t.Context(), key)
		require.ErrorContains(t, err, "WRONGPASS")
		_, _, err = s.Foreign().Fields(t.Context(), key, "a", "b")
		require.ErrorContains(t, err, "WRONGPASS")
		_, err = s.List(t.Context(), key)
		require.ErrorContains(t, err, "WRONGPASS")
	}
}
