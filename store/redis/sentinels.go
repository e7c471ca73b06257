package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// sentinels know which server is the master, and are all asked, again and again: one
// that was cut off lists the master of before, which may live on and take what is
// lost, so the latest takeover counts. What is read and the news of it come from that
// one master: connections to the one before are closed.
type sentinels struct {
	options *goredis.UniversalOptions
	clients []*goredis.SentinelClient // in the order of the options
	stop    context.CancelFunc        // ends watch; nil: the tracker asks
	done    chan struct{}             // closed when watch has ended

	mu      sync.Mutex    // guards what follows
	current string        // the master's address; "": not known yet
	epoch   int64         // of the takeover that made it the master
	doubted time.Duration // since when most do not know of that takeover, by store.Now; 0: they do
	open    map[net.Conn]string
}

const (
	// mostUnasked is how long sentinels are not asked at most.
	mostUnasked = 500 * time.Millisecond

	// undoneAfter is longer than sentinels take to tell each other of a takeover.
	undoneAfter = 10 * time.Second
)

func newSentinels(o *goredis.UniversalOptions) *sentinels {
	s := &sentinels{options: o, open: make(map[net.Conn]string)}
	for _, address := range o.Addrs {
		single := o.Simple()
		single.Addr, single.DB = address, 0
		single.Username, single.Password = o.SentinelUsername, o.SentinelPassword
		s.clients = append(s.clients, goredis.NewSentinelClient(single))
	}
	return s
}

// watch asks now and then, where no tracker does.
func (s *sentinels) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		ticker := time.NewTicker(mostUnasked)
		defer ticker.Stop()
		for {
			_, _ = s.master(ctx) // who needs a connection is told
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
}

// end stops watching, and waits for that.
func (s *sentinels) end() {
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	for _, client := range s.clients {
		_ = client.Close()
	}
}

// client is one of the master, whoever that is.
func (s *sentinels) client() *goredis.Client {
	single := s.options.Simple()
	single.Addr, single.Dialer = s.options.MasterName, s.dial
	return goredis.NewClient(single)
}

// dial connects to the master.
func (s *sentinels) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	address := s.current
	s.mu.Unlock()
	if address == "" {
		masters, err := s.master(ctx)
		if err != nil {
			return nil, err
		}
		address = masters[0]
	}
	var conn net.Conn
	conn, err := dialGuarded(ctx, s.options, network, address, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, conn)
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	moved := address != s.current
	if !moved {
		s.open[conn] = address
	}
	s.mu.Unlock()
	if moved {
		_ = conn.Close()
		return nil, fmt.Errorf("%s is not the master any more", address)
	}
	return conn, nil
}

// master is the address of the master. Connections to another are closed.
func (s *sentinels) master(ctx context.Context) ([]string, error) {
	latest, answers, err := s.latest(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	before := s.current
	if before == "" || latest.epoch >= s.epoch || s.undone(answers) {
		s.current, s.epoch, s.doubted = latest.master, latest.epoch, 0
	}
	now := s.current
	var left []net.Conn
	for conn, to := range s.open {
		if to != now {
			left = append(left, conn)
		}
	}
	s.mu.Unlock()
	for _, conn := range left {
		_ = conn.Close()
	}
	if before != "" && before != now {
		caddy.Log().Named("edge_auth.store.redis").Info("Redis has another master", zap.String("before", before), zap.String("now", now))
	}
	return []string{now}, nil
}

// undone reports whether a takeover that was heard of counts no more, of which none
// knows who has answered: all of them, or for a while most, who have begun to count
// anew. For a moment it may only be that who knows is slow, and others were restarted.
// s.mu is held.
func (s *sentinels) undone(answers int) bool {
	switch now := store.Now(); {
	case answers == len(s.clients):
		return true
	case 2*answers <= len(s.clients):
		s.doubted = 0
	case s.doubted == 0:
		s.doubted = now
	default:
		return now-s.doubted >= undoneAfter
	}
	return false
}

// opinion is what a sentinel says.
type opinion struct {
	master string
	epoch  int64 // of the takeover that made it the master
	err    error
}

// latest asks all at once, and returns the opinion of the latest takeover, and how
// many have one. Who hangs is waited for until half of a call's time is over, or until
// somebody has answered.
func (s *sentinels) latest(ctx context.Context) (best opinion, answers int, err error) {
	opinions := make(chan opinion, len(s.clients)) // buffered: nobody may be waiting any more
	for i, client := range s.clients {
		go func() {
			o := s.ask(ctx, client)
			if o.err != nil {
				o.err = fmt.Errorf("sentinel %s: %w", s.options.Addrs[i], o.err)
			}
			opinions <- o
		}()
	}
	patience, cancel := context.WithTimeout(ctx, s.options.DialTimeout/2)
	defer cancel()
	var failures []error
	for answers+len(failures) < len(s.clients) {
		if answers > 0 && patience.Err() != nil {
			break
		}
		ends := patience.Done()
		if answers == 0 {
			ends = nil // each has a timeout of its own
		}
		select {
		case <-ends:
		case o := <-opinions:
			if o.err != nil {
				failures = append(failures, o.err)
				continue
			}
			if answers++; answers == 1 || o.epoch > best.epoch {
				best = o
			}
		}
	}
	if answers == 0 {
		return best, 0, errors.Join(failures...)
	}
	return best, answers, nil
}

// ask asks for the epoch first: the master may only be of a later one then.
func (s *sentinels) ask(ctx context.Context, client *goredis.SentinelClient) opinion {
	var o opinion
	// Who does not tell is believed where nobody does.
	if state, err := client.Master(ctx, s.options.MasterName).Result(); err == nil {
		o.epoch, _ = strconv.ParseInt(state["config-epoch"], 10, 64)
	}
	address, err := client.GetMasterAddrByName(ctx, s.options.MasterName).Result()
	switch {
	case err != nil:
		o.err = err
	case len(address) != 2:
		o.err = fmt.Errorf("an address of %d parts", len(address))
	default:
		o.master = net.JoinHostPort(address[0], address[1])
	}
	return o
}
