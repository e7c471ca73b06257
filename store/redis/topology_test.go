package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// A cluster of one refuses commands across slots as one of many does.
func TestStoreContractInACluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	server.Do(t, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	require.Eventually(t, func() bool {
		s := open(t, &Config{Cluster: []string{server.Addr}})
		return s.Ping(context.Background()) == nil && s.Put(context.Background(), "a", nil, 0) == nil
	}, 10*time.Second, 50*time.Millisecond)
	contract(t, server, Config{Cluster: []string{server.Addr}})
}

func TestSentinelFindsTheMaster(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	_, port, err := net.SplitHostPort(master.Addr)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	_, sentinelPort, err := net.SplitHostPort(address)
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\nrequirepass watch\nsentinel monitor mymaster 127.0.0.1 %s 1\n", sentinelPort, port), 0o600))
	sentinel := exec.Command("redis-server", config, "--sentinel")
	require.NoError(t, sentinel.Start())
	t.Cleanup(func() {
		assert.NoError(t, sentinel.Process.Kill())
		_ = sentinel.Wait()
	})

	s := open(t, &Config{
		Sentinel: &Sentinel{Master: "mymaster", Addresses: []string{address}, Password: "watch"},
		Database: 2, Timeout: caddy.Duration(time.Second),
	})
	require.Eventually(t, func() bool { return s.Put(context.Background(), "a", []byte("1"), time.Hour) == nil }, 10*time.Second, 20*time.Millisecond)
	assert.Contains(t, master.Do(t, "INFO", "keyspace"), "db2:keys=1")
}
