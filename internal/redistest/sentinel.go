package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// StartSentinels runs sentinels that watch a master, which they call mymaster, and
// waits until they know each other and its replica. It returns their addresses.
func StartSentinels(t testing.TB, master *Server, count int) []string {
	t.Helper()
	_, port, err := net.SplitHostPort(master.Addr)
	require.NoError(t, err)
	sentinels := make([]*Server, count)
	addresses := make([]string, count)
	for i := range sentinels {
		own := freeport.Take(t)
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `port %s
bind 127.0.0.1
sentinel monitor mymaster 127.0.0.1 %s 2
sentinel down-after-milliseconds mymaster 500
sentinel failover-timeout mymaster 3000
`, own, port), 0o600))
		cmd := exec.Command("redis-server", config, "--sentinel", "--loglevel", "warning")
		require.NoError(t, cmd.Start())
		s := &Server{Addr: net.JoinHostPort("127.0.0.1", own), cmd: cmd, done: make(chan struct{})}
		go func() {
			_ = cmd.Wait()
			close(s.done)
		}()
		t.Cleanup(s.Kill)
		sentinels[i], addresses[i] = s, s.Addr
	}
	for _, s := range sentinels {
		require.Eventually(t, func() bool {
			state, err := s.ask("SENTINEL", "MASTER", "mymaster")
			return err == nil && strings.Contains(state, fmt.Sprintf("num-other-sentinels\n%d", count-1)) && strings.Contains(state, "num-slaves\n1")
		}, 30*time.Second, 50*time.Millisecond, "the sentinels do not find each other")
	}
	return addresses
}
