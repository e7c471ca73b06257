package redistest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// slots are those of a cluster.
const slots = 16384

// StartCluster runs a cluster of masters that share the slots, and waits until
// they know each other.
func StartCluster(t testing.TB, masters int) []*Server {
	t.Helper()
	nodes := make([]*Server, masters)
	for i := range nodes {
		nodes[i] = startNode(t)
		nodes[i].Do(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
	}
	for _, node := range nodes[1:] {
		node.meet(t, nodes[0])
	}
	awaitCluster(t, nodes)
	return nodes
}

// StartReplica runs a node that follows a master of a cluster.
func StartReplica(t testing.TB, master *Server) *Server {
	t.Helper()
	replica := startNode(t)
	replica.meet(t, master)
	id := master.Do(t, "CLUSTER", "MYID")
	require.Eventually(t, func() bool {
		_, err := replica.ask("CLUSTER", "REPLICATE", id)
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "the replica does not know its master")
	require.Eventually(t, func() bool {
		return strings.Contains(replica.Do(t, "INFO", "replication"), "master_link_status:up")
	}, 20*time.Second, 20*time.Millisecond, "the replica does not follow")
	return replica
}

func startNode(t testing.TB) *Server {
	t.Helper()
	return Start(t, "--cluster-enabled", "yes", "--cluster-port", freeport.Take(t), "--cluster-node-timeout", "1000")
}

// meet introduces a node to another.
func (s *Server) meet(t testing.TB, other *Server) {
	t.Helper()
	host, port, _ := strings.Cut(other.Addr, ":")
	s.Do(t, "CLUSTER", "MEET", host, port, other.args[3])
}

func awaitCluster(t testing.TB, nodes []*Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, node := range nodes {
			if info := node.Do(t, "CLUSTER", "INFO"); !strings.Contains(info, "cluster_state:ok") ||
				!strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(nodes))) {
				return false
			}
		}
		return true
	}, 30*time.Second, 50*time.Millisecond, "the cluster does not form")
}
