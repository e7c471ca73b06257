package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// reads asks for records over and over, and counts how it goes.
type reads struct {
	good, unavailable, wrong atomic.Int64
	quit                     chan struct{}
	ended                    sync.WaitGroup
}

// readAll reads the records 0 to n-1, whose values are their keys.
func readAll(s *Store, n int) *reads {
	r := &reads{quit: make(chan struct{})}
	r.ended.Go(func() {
		for i := 0; ; i = (i + 1) % n {
			select {
			case <-r.quit:
				return
			default:
			}
			key := strconv.Itoa(i)
			switch record, err := s.Get(context.Background(), key); {
			case errors.Is(err, store.ErrNotFound), err == nil && string(record.Value) != key:
				r.wrong.Add(1)
			case err != nil:
				r.unavailable.Add(1)
			default:
				r.good.Add(1)
			}
		}
	})
	return r
}

func (r *reads) stop() {
	close(r.quit)
	r.ended.Wait()
}

// clusterOf is a store in a cluster of three masters, with records.
func clusterOf(t *testing.T, records int) (*Store, []*redistest.Server) {
	t.Helper()
	nodes := redistest.StartCluster(t, 3)
	s := open(t, &Config{Cluster: []string{nodes[1].Addr}, Timeout: caddy.Duration(2 * time.Second)})
	for i := range records {
		key := strconv.Itoa(i)
		require.Eventually(t, func() bool { return s.Put(context.Background(), key, []byte(key), time.Hour) == nil }, 20*time.Second, 20*time.Millisecond)
	}
	return s, nodes
}

func TestD27StoreContractInAClusterOfThree(t *testing.T) {
	t.Parallel()
	_, nodes := clusterOf(t, 0)
	clock := redistest.Start(t) // no key of it belongs elsewhere
	contract(t, clock, Config{Cluster: []string{nodes[0].Addr}})
}

// While slots move from one master to another, each record is found.
func TestD26RecordsAreFoundWhileSlotsMove(t *testing.T) {
	t.Parallel()
	const records = 60
	s, nodes := clusterOf(t, records)
	running := readAll(s, records)
	from, to := nodes[0], nodes[2]
	fromID, toID := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
	host, port, _ := strings.Cut(to.Addr, ":")
	moved := 0
	for i := range records {
		key := s.prefix + strconv.Itoa(i)
		slot := from.Do(t, "CLUSTER", "KEYSLOT", key)
		if n, err := strconv.Atoi(slot); err != nil || n >= 16384/3 {
			continue
		}
		moved++
		to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
		from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
		from.Do(t, "MIGRATE", host, port, key, "0", "5000")
		for _, node := range []*redistest.Server{to, from, nodes[1]} {
			node.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
		}
	}
	require.Greater(t, moved, 5)
	running.stop()
	assert.Positive(t, running.good.Load())
	assert.Zero(t, running.wrong.Load(), "a record on its way is not absent")
	assert.Zero(t, running.unavailable.Load())
}

// When a master dies, its records are unknown until its replica takes over, and
// never absent.
func TestD21D26RecordsOfADeadMasterAreUnknownAndThenBack(t *testing.T) {
	t.Parallel()
	const records = 60
	s, nodes := clusterOf(t, records)
	redistest.StartReplica(t, nodes[0])
	nodes[0].Do(t, "WAIT", "1", "5000")
	running := readAll(s, records)
	nodes[0].Kill()
	require.Eventually(t, func() bool { return running.unavailable.Load() > 0 }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		for i := range records {
			if _, err := s.Get(context.Background(), strconv.Itoa(i)); err != nil {
				return false
			}
		}
		return true
	}, 30*time.Second, 100*time.Millisecond, "the replica does not take over")
	running.stop()
	assert.Zero(t, running.wrong.Load(), "what can't be asked for is not absent")
	assert.Positive(t, running.good.Load())
}
