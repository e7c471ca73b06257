package redis

import (
	"context"
	"fmt"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// newTracker makes the tracker of a store.
func (s *Store) newTracker(o *goredis.UniversalOptions, network string) *tracker {
	t := &tracker{
		changes: s.changes, staleness: s.staleness,
		masters: func(context.Context) ([]string, error) { return o.Addrs[:1], nil },
		dial: func(address string, tracking func(context.Context, *goredis.Conn) error) *goredis.Client {
			single := o.Simple()
			single.Addr, single.Protocol, single.OnConnect = address, 3, tracking
			if network == "unix" {
				single.Network = network
			}
			return goredis.NewClient(single)
		},
	}
	t.every = t.beat()
	switch {
	case s.sentinels != nil:
		t.masters, t.every = s.sentinels.master, min(t.every, mostUnasked)
	case o.IsClusterMode:
		t.masters = s.clusterMasters
	}
	return t
}

// clusterMasters asks the Cluster, and lets the client see the same.
func (s *Store) clusterMasters(ctx context.Context) ([]string, error) {
	client, err := s.redis() //nolint:contextcheck // what it starts outlives the caller
	if err != nil {
		return nil, err
	}
	cluster, ok := client.(*goredis.ClusterClient)
	if !ok {
		return nil, fmt.Errorf("a client of no Cluster: %T", client)
	}
	cluster.ReloadState(ctx)
	var mu sync.Mutex
	var addresses []string
	err = cluster.ForEachMaster(ctx, func(_ context.Context, master *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		addresses = append(addresses, master.Options().Addr)
		return nil
	})
	return addresses, err
}
