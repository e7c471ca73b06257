package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// tracker hears from Redis which keys change (CLIENT TRACKING in broadcast mode,
// Redis 6 and later). It holds one connection to each master, and what comes in on
// it, it passes on to changes.
//
// Pings on that connection are its signs of life: the answer to one comes after all
// news of what happened before. What was heard so far is trusted for staleness after
// the last ping that was answered was sent, and not longer. A connection that is new,
// or made anew, makes all that was read before worth nothing.
type tracker struct {
	changes   *store.Changes
	staleness time.Duration
	masters   func(context.Context) ([]string, error)
	every     time.Duration // how often masters is called
	dial      func(address string, tracking func(context.Context, *goredis.Conn) error) *goredis.Client
	logger    *zap.Logger

	ctx  context.Context //nolint:containedctx // bounds followers, which no caller owns
	stop context.CancelFunc
	done chan struct{} // closed when run has ended

	mu        sync.Mutex // guards what follows
	followers map[string]*follower
	failing   bool // which has been told
}

// follower is the connection to one master.
type follower struct {
	address string
	stop    context.CancelFunc
	done    chan struct{} // closed when it has ended
	heard   atomic.Int64  // when the last ping that was answered was sent, by store.Now; 0: none yet
}

// beat is how often a master is pinged.
func (t *tracker) beat() time.Duration { return t.staleness / 4 }

func (t *tracker) start() {
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.done = make(chan struct{})
	t.logger = caddy.Log().Named("edge_auth.store.redis")
	t.followers = make(map[string]*follower)
	go t.run()
}

// end stops it, and waits for that.
func (t *tracker) end() {
	t.stop()
	<-t.done
}

// run sees to it that each master has a follower.
func (t *tracker) run() {
	defer close(t.done)
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	for {
		addresses, err := t.masters(t.ctx)
		if err == nil {
			t.follow(addresses)
		} else {
			t.tell(err)
		}
		select {
		case <-t.ctx.Done():
			t.follow(nil)
			return
		case <-ticker.C:
		}
	}
}

// follow starts and stops followers, so that there is one for each address.
func (t *tracker) follow(addresses []string) {
	var gone []*follower
	t.mu.Lock()
	wanted := make(map[string]bool, len(addresses))
	for _, address := range addresses {
		wanted[address] = true
		if t.followers[address] == nil {
			t.followers[address] = t.newFollower(address)
		}
	}
	for address, f := range t.followers {
		if !wanted[address] {
			gone = append(gone, f)
			delete(t.followers, address)
		}
	}
	t.mu.Unlock()
	for _, f := range gone {
		f.stop()
		<-f.done
	}
	if len(gone) > 0 {
		t.changes.AllChanged() // its keys may be another's now
	}
}

// again lets all followers connect anew, for more prefixes.
func (t *tracker) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for address, f := range t.followers {
		f.stop()
		t.followers[address] = t.newFollower(address)
	}
}

func (t *tracker) newFollower(address string) *follower {
	ctx, cancel := context.WithCancel(t.ctx)
	f := &follower{address: address, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			err := t.listen(ctx, f)
			if ctx.Err() != nil {
				return
			}
			t.tell(err)
			select {
			case <-ctx.Done():
			case <-time.After(t.beat()):
			}
		}
	}()
	return f
}

var (
	errSilent = errors.New("no sign of life")
	errEnded  = errors.New("ended")
	errMute   = errors.New("the server, or a proxy before it, does not speak RESP3")
)

// listen connects and passes on what it hears, until that ends or is silent for too
// long.
func (t *tracker) listen(ctx context.Context, f *follower) error {
	client := t.dial(f.address, t.track)
	defer func() { _ = client.Close() }()
	if err := client.RegisterPushNotificationHandler("invalidate", news{t.changes}, true); err != nil {
		return err
	}
	connection := client.Subscribe(ctx) // to nothing: it reads all the time, and that is what counts
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(ctx)
	var both sync.WaitGroup
	both.Go(func() { ended <- t.ping(ctx, connection) })
	both.Go(func() { ended <- t.receive(ctx, connection, f) })
	err := t.watch(ctx, f, ended)
	cancel()
	_ = connection.Close() // ends both
	both.Wait()            // what one of them still hears must not count for the next connection
	f.heard.Store(0)
	return err
}

// track turns tracking on for a connection. One that go-redis had to make do with
// RESP2 for would take that, answer pings, and never be told of anything.
func (t *tracker) track(ctx context.Context, connection *goredis.Conn) error {
	hello := goredis.NewMapStringInterfaceCmd(ctx, "hello", "3")
	if err := connection.Process(ctx, hello); err != nil {
		return fmt.Errorf("%w: %w", errMute, err)
	}
	if proto, ok := hello.Val()["proto"].(int64); !ok || proto < 3 {
		return errMute
	}
	prefixes := t.changes.Prefixes()
	args := append(make([]any, 0, 4+2*len(prefixes)), "client", "tracking", "on", "bcast")
	for _, prefix := range prefixes {
		args = append(args, "prefix", prefix)
	}
	return connection.Process(ctx, goredis.NewStatusCmd(ctx, args...))
}

// ping sends a ping each beat, with the time.
func (t *tracker) ping(ctx context.Context, connection *goredis.PubSub) error {
	ticker := time.NewTicker(t.beat())
	defer ticker.Stop()
	for {
		if err := connection.Ping(ctx, strconv.FormatInt(int64(store.Now()), 10)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errEnded
		case <-ticker.C:
		}
	}
}

// receive reads answers to pings. News has been passed on by then.
func (t *tracker) receive(ctx context.Context, connection *goredis.PubSub, f *follower) error {
	for {
		message, err := connection.Receive(ctx)
		if err != nil {
			return err
		}
		pong, ok := message.(*goredis.Pong)
		if !ok {
			continue
		}
		sent, err := strconv.ParseInt(pong.Payload, 10, 64)
		if err != nil {
			continue // an answer to nothing of ours
		}
		if f.heard.Swap(sent) == 0 {
			t.changes.AllChanged() // unheard
		}
		t.trust()
	}
}

// watch returns when one of the others has ended, or nothing was heard for too long.
func (t *tracker) watch(ctx context.Context, f *follower, ended <-chan error) error {
	ticker := time.NewTicker(t.beat())
	defer ticker.Stop()
	for began := store.Now(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-ticker.C:
		}
		if heard := max(time.Duration(f.heard.Load()), began); store.Now()-heard > t.staleness {
			return errSilent
		}
	}
}

// trust says for how long what was heard can be relied on: as long as of the master
// that was heard least lately.
func (t *tracker) trust() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.followers) == 0 {
		return
	}
	least := store.Forever
	for _, f := range t.followers {
		least = min(least, time.Duration(f.heard.Load()))
	}
	if least == 0 {
		return
	}
	t.changes.Trust(least + t.staleness)
	if t.failing {
		t.failing = false
		t.logger.Info("Redis tells of changes again")
	}
}

// tell logs that changes are not heard of; once until they are.
func (t *tracker) tell(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing {
		t.failing = true
		t.logger.Warn("Redis does not tell of changes: what was found out is forgotten, and each request asks Redis anew. "+
			"It must be Redis 6 or later, and the user needs the right to CLIENT TRACKING", zap.Error(err))
	}
}

// news handles what Redis pushes: a list of keys, or none for all.
type news struct{ changes *store.Changes }

// HandlePushNotification passes the news on.
func (n news) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, notification []any) error {
	if len(notification) < 2 {
		return nil
	}
	keys, ok := notification[1].([]any)
	if !ok {
		n.changes.AllChanged()
		return nil
	}
	for _, key := range keys {
		if name, ok := key.(string); ok {
			n.changes.Changed(name)
		} else {
			n.changes.AllChanged()
		}
	}
	return nil
}
