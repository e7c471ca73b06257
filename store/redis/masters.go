package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	switch {
	case o.MasterName != "":
		t.masters = sentinels{o}.master
	case o.IsClusterMode:
		t.masters = s.clusterMasters
	}
	return t
}

// sentinels know which server is the master.
type sentinels struct{ options *goredis.UniversalOptions }

// master asks one after the other.
func (s sentinels) master(ctx context.Context) ([]string, error) {
	var failures []error
	for _, address := range s.options.Addrs {
		master, err := s.ask(ctx, address)
		if err == nil {
			return []string{master}, nil
		}
		failures = append(failures, fmt.Errorf("sentinel %s: %w", address, err))
	}
	return nil, errors.Join(failures...)
}

func (s sentinels) ask(ctx context.Context, address string) (string, error) {
	o := s.options.Simple()
	o.Addr, o.DB = address, 0
	o.Username, o.Password = s.options.SentinelUsername, s.options.SentinelPassword
	client := goredis.NewSentinelClient(o)
	defer func() { _ = client.Close() }()
	master, err := client.GetMasterAddrByName(ctx, s.options.MasterName).Result()
	if err != nil {
		return "", err
	}
	if len(master) != 2 {
		return "", fmt.Errorf("an address of %d parts", len(master))
	}
	return net.JoinHostPort(master[0], master[1]), nil
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
