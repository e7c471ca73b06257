package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// StartSentinels runs sentinels that watch a master, which they call mymaster, and
// waits until they know each other and its replica. Two of them must agree.
func StartSentinels(t testing.TB, master *Server, count int) []*Server {
	t.Helper()
	_, port, err := net.SplitHostPort(master.Addr)
	require.NoError(t, err)
	sentinels := make([]*Server, count)
	for i := range sentinels {
		own := freeport.Take(t)
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `port %s
bind 127.0.0.1
sentinel monitor mymaster 127.0.0.1 %s 2
sentinel down-after-milliseconds mymaster 500
sentinel failover-timeout mymaster 3000
`, own, port), 0o600))
		s := &Server{Addr: net.JoinHostPort("127.0.0.1", own), config: config}
		t.Cleanup(s.Kill)
		require.NoError(t, s.launch(t))
		sentinels[i] = s
	}
	for _, s := range sentinels {
		require.Eventually(t, func() bool {
			state, err := s.ask("SENTINEL", "MASTER", "mymaster")
			return err == nil && strings.Contains(state, fmt.Sprintf("num-other-sentinels\n%d", count-1)) && strings.Contains(state, "num-slaves\n1")
		}, 30*time.Second, 50*time.Millisecond, "the sentinels do not find each other")
	}
	return sentinels
}

// Addresses are those of servers.
func Addresses(servers []*Server) []string {
	addresses := make([]string, len(servers))
	for i, s := range servers {
		addresses[i] = s.Addr
	}
	return addresses
}
