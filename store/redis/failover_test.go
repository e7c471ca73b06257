package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// startWatched runs a master, its replica, and three sentinels that watch them.
func startWatched(t testing.TB) (master, replica *redistest.Server, sentinels []*redistest.Server) {
	t.Helper()
	master = redistest.Start(t)
	replica = redistest.Start(t, "--replicaof", strings.ReplaceAll(master.Addr, ":", " "))
	return master, replica, redistest.StartSentinels(t, master, 3)
}

// watchedBy is a config of sentinels.
func watchedBy(addresses ...string) Config {
	return Config{Sentinel: &Sentinel{Master: "mymaster", Addresses: addresses}, Timeout: caddy.Duration(time.Second)}
}

// awaitLeft waits until no gateway is connected to a server any more. Sentinels have
// names, and masters and replicas a flag.
func awaitLeft(t testing.TB, server *redistest.Server) {
	t.Helper()
	var ours []string
	if !assert.Eventually(t, func() bool {
		ours = nil
		for line := range strings.Lines(server.Do(t, "CLIENT", "LIST")) {
			if strings.Contains(line, " name= ") && !strings.Contains(line, " cmd=client") && !strings.Contains(line, " flags=M") && !strings.Contains(line, " flags=S") {
				ours = append(ours, line)
			}
		}
		return len(ours) == 0
	}, 10*time.Second, 50*time.Millisecond, "gateways are still connected to it") {
		t.Logf("%v", ours)
	}
}

// A sentinel lets a replica take over; both gateways are with the new master, and
// serve nothing that it has replaced.
func TestD23NothingStaleIsServedAfterAFailover(t *testing.T) {
	t.Parallel()
	sentinels := func(t testing.TB) (Config, *redistest.Server) {
		master, _, sentinels := startWatched(t)
		return watchedBy(redistest.Addresses(sentinels)...), master
	}
	cluster := func(t testing.TB) (Config, *redistest.Server) {
		nodes := redistest.StartCluster(t, 3)
		for _, master := range nodes {
			redistest.StartReplica(t, master)
		}
		return Config{Cluster: []string{nodes[1].Addr, nodes[2].Addr}}, nodes[0]
	}
	for name, c := range map[string]struct {
		start func(testing.TB) (Config, *redistest.Server)
		hangs bool
	}{
		"sentinels, it is killed":             {sentinels, false},
		"sentinels, it hangs and wakes again": {sentinels, true},
		"cluster of six, one is killed":       {cluster, false},
		"cluster of six, it hangs, and wakes": {cluster, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, master := c.start(t)
			config.Timeout = caddy.Duration(time.Second)
			gateways := []*gateway{newGateway(t, caching(config, time.Second)), newGateway(t, caching(config, time.Second))}
			const keys = 30
			histories := make([]history, keys)
			require.Eventually(t, func() bool { return gateways[0].Put(context.Background(), "first", nil, 0) == nil }, 30*time.Second, 50*time.Millisecond)
			for i := range keys {
				for range 2 {
					histories[i].write(t, gateways[0], "k"+strconv.Itoa(i))
				}
			}
			for _, g := range gateways {
				g.awaitTrust(t)
			}
			master.Do(t, "WAIT", "1", "5000")

			// Reads go on all the time. Nothing is written while there may be no master:
			// what it acknowledges and does not pass on is lost with it.
			quit := make(chan struct{})
			var all sync.WaitGroup
			var good, unavailable atomic.Int64
			for _, g := range gateways {
				all.Go(func() {
					for i := 0; ; i = (i + 1) % keys {
						select {
						case <-quit:
							return
						default:
						}
						began := time.Now()
						value, err := g.look(context.Background(), "k"+strconv.Itoa(i))
						if err != nil {
							unavailable.Add(1)
							continue
						}
						good.Add(1)
						// An acknowledged change is news of this very moment for the other.
						if late := histories[i].lateness(value, began); late > time.Second {
							t.Errorf("key %d: %s had been replaced %v ago", i, value, late)
							return
						}
					}
				})
			}
			time.Sleep(100 * time.Millisecond)
			if c.hangs {
				master.Stop()
			} else {
				master.Kill()
			}
			require.Eventually(t, func() bool { return unavailable.Load() > 0 }, 20*time.Second, time.Millisecond, "nobody notices")
			require.Eventually(t, func() bool {
				for i := range keys {
					for _, g := range gateways { // a write that changes no value
						err := g.Touch(context.Background(), "k"+strconv.Itoa(i), time.Hour)
						if err != nil && !errors.Is(err, store.ErrNotFound) {
							return false
						}
					}
				}
				return true
			}, 60*time.Second, 50*time.Millisecond, "nobody takes over")
			for round := range 6 {
				for i := range keys {
					histories[i].write(t, gateways[(i+round)%2], "k"+strconv.Itoa(i))
				}
			}
			if c.hangs { // there are two masters until the old one is told
				master.Continue()
			}
			for _, g := range gateways {
				g.awaitTrust(t)
			}
			for i := range keys {
				histories[i].write(t, gateways[i%2], "k"+strconv.Itoa(i))
			}
			before := gateways[0].cache.Stats().Hits
			assert.Eventually(t, func() bool { return gateways[0].cache.Stats().Hits > before+keys }, 10*time.Second, 10*time.Millisecond, "the cache does not serve again")
			time.Sleep(300 * time.Millisecond)     // reads go on for a while
			if c.hangs && config.Sentinel != nil { // a Cluster's client may ask all
				awaitLeft(t, master)
			}
			close(quit)
			all.Wait()
			t.Logf("%d reads, %d unavailable", good.Load(), unavailable.Load())
		})
	}
}

// While most sentinels are away nobody takes over. The one that is left knows who the
// master is, and that is enough as long as that one lives; when it has died, each
// request is unavailable until there is a master again.
func TestD23MostSentinelsAreLost(t *testing.T) {
	t.Parallel()
	master, replica, sentinels := startWatched(t)
	config := caching(watchedBy(redistest.Addresses(sentinels)...), time.Second)
	g := newGateway(t, config)
	g.awaitTrust(t)
	require.NoError(t, g.Put(t.Context(), "k", []byte("1"), time.Hour))
	g.warm(t)
	for _, s := range sentinels[:2] {
		s.Kill()
	}
	for _, g := range []*gateway{g, newGateway(t, config)} {
		g.awaitTrust(t)
		for n := range 5 {
			want := strconv.Itoa(n)
			master.Do(t, "SET", "edge_auth:k", want)
			require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == want }, 2*time.Second, time.Millisecond)
			g.warm(t)
		}
	}
	master.Do(t, "SET", "edge_auth:k", "last")
	master.Do(t, "WAIT", "1", "5000")

	master.Kill()
	require.Eventually(t, func() bool { _, err := g.look(t.Context(), "k"); return err != nil }, 5*time.Second, time.Millisecond)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		_, err := g.look(t.Context(), "k")
		require.Error(t, err)
		require.NotErrorIs(t, err, store.ErrNotFound)
	}
	require.Contains(t, replica.Do(t, "INFO", "replication"), "role:slave", "nobody may take over")
	for _, s := range sentinels[:2] {
		s.Restart(t)
	}
	require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == "last" }, 60*time.Second, 10*time.Millisecond, "nobody takes over")
	g.awaitTrust(t)
	// go-redis, whose connections were all refused, tries new ones once a second.
	require.Eventually(t, func() bool { return g.Put(t.Context(), "k", []byte("new"), time.Hour) == nil }, 5*time.Second, 10*time.Millisecond)
	value, err := g.look(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, "new", value)
}

// fakeSentinel says what it is told to, as one does that was cut off while the others
// let a replica take over.
type fakeSentinel struct {
	Addr string

	mu     sync.Mutex // guards what follows
	master string     // its address
	epoch  int        // of the takeover that made it the master
}

func startFakeSentinel(t testing.TB, master string, epoch int) *fakeSentinel {
	t.Helper()
	s := &fakeSentinel{master: master, epoch: epoch}
	s.Addr = answering(t, s.answer)
	return s
}

// set lets it know another master; "": none.
func (s *fakeSentinel) set(master string, epoch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.master, s.epoch = master, epoch
}

// answer knows two commands.
func (s *fakeSentinel) answer(command []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	host, port, err := net.SplitHostPort(s.master)
	switch text := strings.ToLower(strings.Join(command, " ")); {
	case err != nil: // it knows no master
	case text == "sentinel get-master-addr-by-name mymaster":
		return arrayOf(host, port)
	case text == "sentinel master mymaster":
		return arrayOf("name", "mymaster", "ip", host, "port", port, "config-epoch", strconv.Itoa(s.epoch))
	}
	return "-ERR unknown command\r\n"
}

func arrayOf(texts ...string) string {
	var reply strings.Builder
	fmt.Fprintf(&reply, "*%d\r\n", len(texts))
	for _, text := range texts {
		fmt.Fprintf(&reply, "$%d\r\n%s\r\n", len(text), text)
	}
	return reply.String()
}

// Sentinels that were cut off list the master of before, which may be dead, or alive
// and alone with it. Whoever knows of the latest takeover is believed, wherever they
// stand in the list: for what is read, and for the news of it.
func TestD23StaleSentinelIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, alive := range map[string]bool{"its master lives": true, "its master is dead": false} {
		for place, last := range map[string]bool{"it is the first": false, "it is the last": true} {
			t.Run(name+", "+place, func(t *testing.T) {
				t.Parallel()
				before, master := redistest.Start(t), redistest.Start(t)
				before.Do(t, "SET", "edge_auth:k", "old")
				stale, fresh := startFakeSentinel(t, before.Addr, 3), startFakeSentinel(t, master.Addr, 4)
				if !alive {
					before.Kill()
				}
				another := startFakeSentinel(t, before.Addr, 3)
				addresses := []string{stale.Addr, another.Addr, fresh.Addr}
				if last {
					addresses = []string{fresh.Addr, another.Addr, stale.Addr}
				}
				for n := range 5 { // whom it asks must not be luck
					g := newGateway(t, caching(watchedBy(addresses...), 2*time.Second))
					g.awaitTrust(t)
					for _, want := range []string{"new", "newer"} {
						want += strconv.Itoa(n)
						master.Do(t, "SET", "edge_auth:k", want)
						require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == want }, 2*time.Second, time.Millisecond)
						g.warm(t)
					}
				}
				if alive {
					awaitLeft(t, before)
				}
				// Also not when the others do not answer for a while.
				g := newGateway(t, caching(watchedBy(addresses...), 2*time.Second))
				g.awaitTrust(t)
				fresh.set("", 0)
				for n := range 10 {
					want := "last" + strconv.Itoa(n)
					master.Do(t, "SET", "edge_auth:k", want)
					require.Eventually(t, func() bool { value, err := g.look(t.Context(), "k"); return err == nil && value == want }, 2*time.Second, time.Millisecond)
					g.warm(t)
					time.Sleep(mostUnasked / 5)
				}
				for _, s := range []*fakeSentinel{stale, another, fresh} { // they were made anew
					s.set(master.Addr, 0)
				}
				require.Eventually(t, func() bool {
					g.sentinels.mu.Lock()
					defer g.sentinels.mu.Unlock()
					return g.sentinels.epoch == 0
				}, 5*time.Second, 10*time.Millisecond, "what all say is not believed")
			})
		}
	}
}

// The master of before lives on when another has taken over: nobody reads from it any
// more, whether anything is kept or not.
func TestD23OfTwoMastersTheOldOneIsLeft(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(Config) Config{
		"cached":   func(c Config) Config { return caching(c, time.Second) },
		"uncached": func(c Config) Config { c.Cache = &Cache{Off: true}; return c },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, master := redistest.Start(t), redistest.Start(t)
			before.Do(t, "SET", "edge_auth:k", "old")
			sentinel := startFakeSentinel(t, before.Addr, 1)
			g := newGateway(t, config(watchedBy(sentinel.Addr)))
			get := func() string {
				record, err := g.Get(context.Background(), "k")
				if errors.Is(err, store.ErrNotFound) {
					return gone
				}
				return string(record.Value)
			}
			require.Eventually(t, func() bool { return get() == "old" }, 5*time.Second, time.Millisecond)
			sentinel.set(master.Addr, 2)
			require.Eventually(t, func() bool { return get() == gone }, 5*time.Second, time.Millisecond, "it reads from the old master")
			for range 100 {
				require.NotEqual(t, "old", get())
			}
			awaitLeft(t, before)
			require.Eventually(t, func() bool { return g.Put(t.Context(), "k", []byte("new"), time.Hour) == nil }, 5*time.Second, 10*time.Millisecond)
			assert.Equal(t, "new", master.Do(t, "GET", "edge_auth:k"))
		})
	}
}
