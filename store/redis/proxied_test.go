package redis

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// A server, or a proxy before one, that does not speak RESP3 takes CLIENT TRACKING
// and then tells of nothing.
func TestD28RedisWithoutRESP3IsAskedEachTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "HELLO", "")
	g := newGateway(t, caching(Config{URL: server.URL()}, 400*time.Millisecond))
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
