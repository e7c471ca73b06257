// Command soak loads gateways with each kind of credential, good and bad, for an hour
// or so, while configs are loaded, credentials are revoked and what the gateways need
// fails at random. Each answer is judged: it must be right for its caller at its time.
// It ends with a table, and with exit status 1 if one answer was wrong.
package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func main() {
	length := flag.Duration("for", time.Hour, "how long")
	rate := flag.Int("rate", 500, "requests a second in total")
	every := flag.Duration("sample", 10*time.Second, "how often memory and the like are sampled")
	caddy := flag.String("caddy", os.Getenv("EDGE_AUTH_CADDY"), "the Caddy to load")
	out := flag.String("json", "", "a file for the samples")
	timeout := flag.Duration("timeout", time.Second, "of calls of Redis; by default a gateway has 250ms, but a busy machine is no fault of its own")
	keep := flag.String("dir", "", "a folder for logs, stores and heap profiles, which is kept; default: none is")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, options{*length, *every, *timeout, *rate, *caddy, *out, *keep})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// world is all that takes part.
type world struct {
	events     *log.Logger // what was done when, to read beside the logs of the gateways
	dir, caddy string
	signingKey string
	timeout    time.Duration // of calls of Redis
	basic      string        // lines of a config
	basicUsers []basicUser
	redis      *redisServer
	idp        *idp
	up         *upstream
	sides      []*side // that of Redis, and that of the embedded store
	gateways   []*gateway

	outages     outages
	tally       *tally
	revocations durations // how long after its revocation a credential was still accepted
	reloadTimes durations
	stopTimes   durations
	mostReads   atomic.Int64 // of one hot session
	unsettledAt atomic.Int64

	quiet   atomic.Bool  // no requests now
	working atomic.Int64 // requests that are under way
	acting  sync.RWMutex // held by whoever changes something, and taken whole for quiet
}

type basicUser struct{ name, header string }

func (w *world) event(format string, args ...any) { w.events.Printf(format, args...) }

// wait pauses, and returns false if the soak has ended.
func (w *world) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// options are those of the command line.
type options struct {
	length, every, timeout time.Duration
	rate                   int
	caddy, out, dir        string
}

func run(ctx context.Context, o options) (err error) {
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "edge-auth-soak"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	} else if err = os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	events, err := os.Create(filepath.Join(dir, "events"))
	if err != nil {
		return err
	}
	defer func() { _ = events.Close() }()
	w := &world{events: log.New(events, "", log.Ltime|log.Lmicroseconds), dir: dir, caddy: o.caddy, timeout: o.timeout, tally: newTally()}
	defer w.stop()
	if err := w.start(ctx); err != nil {
		return err
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("%s: the load begins, for %s\n", began.Format(time.TimeOnly), o.length)
	samples := w.soak(ctx, o.length, o.rate, o.every)
	ended := time.Since(began)
	w.checkShutdown()
	return w.report(samples, ended, o.out)
}

// start runs all servers, and makes users and credentials.
func (w *world) start(ctx context.Context) (err error) {
	if w.idp, err = startIDP(); err != nil {
		return err
	}
	if w.up, err = startUpstream(func(told string) { w.tally.fail("upstream", "I1: reached by %s", told) }); err != nil {
		return err
	}
	redisDir := filepath.Join(w.dir, "redis")
	if err := os.Mkdir(redisDir, 0o700); err != nil {
		return err
	}
	if w.redis, err = startRedis(ctx, redisDir); err != nil {
		return err
	}
	if w.signingKey, err = writeKey(w.dir); err != nil {
		return err
	}
	for i := range 4 {
		name, pass := fmt.Sprint("user", i), fmt.Sprint("password of ", i)
		hash, err := bcrypt.GenerateFromPassword([]byte(pass), bcrypt.MinCost)
		if err != nil {
			return err
		}
		w.basic += fmt.Sprintf("%s %s\n", name, hash)
		w.basicUsers = append(w.basicUsers, basicUser{name, "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+pass))})
	}
	w.sides = []*side{{world: w, redis: w.redis}, {world: w}}
	for _, name := range []string{"one", "two"} {
		way, err := startProxy(w.redis.addr)
		if err != nil {
			return err
		}
		if err := w.join(ctx, name, way, w.sides[0]); err != nil {
			return err
		}
	}
	if err := w.join(ctx, "embedded", nil, w.sides[1]); err != nil {
		return err
	}
	for _, s := range w.sides {
		if err := s.populate(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) join(ctx context.Context, name string, way *proxy, s *side) error {
	g, err := w.startGateway(ctx, name, way)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.gateways = append(s.gateways, g)
	w.gateways = append(w.gateways, g)
	return nil
}

func (w *world) stop() {
	for _, g := range w.gateways {
		g.stop()
	}
	if w.redis != nil {
		w.redis.stops()
	}
}

// soak runs the load with all that goes on meanwhile, and samples.
func (w *world) soak(ctx context.Context, length time.Duration, rate int, every time.Duration) []sample {
	began := time.Now()
	loadCtx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	pace := w.pacer(loadCtx, rate)
	for range 64 {
		all.Go(func() { w.work(loadCtx, pace) })
	}
	for _, s := range w.sides {
		all.Go(func() { w.garden(loadCtx, s) })
		all.Go(func() { w.logins(loadCtx, s) })
		all.Go(func() { w.expel(loadCtx, s) })
	}
	all.Go(func() { w.rush(loadCtx, w.sides[0]) })
	all.Go(func() { w.trouble(loadCtx) })
	all.Go(func() { w.watchMachine(loadCtx) })
	all.Go(func() { w.reloads(loadCtx) })
	w.sockets(loadCtx)

	var samples []sample
	take := func(quiet bool) {
		for _, g := range w.gateways {
			s, err := g.sample(ctx, began, quiet)
			if err == nil {
				samples = append(samples, s)
			} else if ctx.Err() == nil {
				fmt.Printf("no sample of %s: %v\n", g.name, err)
			}
		}
	}
	pauseEvery := min(10*time.Minute, length/5)
	nextPause := began.Add(min(time.Minute, pauseEvery)) // the first figures are of a gateway that has worked
	for w.wait(loadCtx, every) {
		if time.Now().Before(nextPause) {
			take(false)
			continue
		}
		nextPause = time.Now().Add(pauseEvery)
		w.inQuiet(loadCtx, min(10*time.Second, length/25), func() { take(true) })
		w.progress(time.Since(began))
	}
	all.Wait()
	if ctx.Err() == nil {
		w.inQuiet(ctx, min(10*time.Second, length/25), func() { take(true) })
	}
	return samples
}

// inQuiet stops all load and all trouble for a while, at whose end it does something.
func (w *world) inQuiet(ctx context.Context, pause time.Duration, do func()) {
	w.acting.Lock()
	defer w.acting.Unlock()
	w.quiet.Store(true)
	defer w.quiet.Store(false)
	for w.working.Load() > 0 && w.wait(ctx, 10*time.Millisecond) {
	}
	for _, g := range w.gateways {
		g.client.CloseIdleConnections()
	}
	if w.wait(ctx, pause) {
		do()
	}
}
