package main

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"
)

// between is a time at random.
func between(least, most time.Duration) time.Duration {
	return least + time.Duration(mathrand.Int64N(int64(most-least)))
}

// fault puts something out of order for a while.
type fault struct {
	name string
	do   func(ctx context.Context, w *world)
}

// stores names the ways of gateways to their store.
func stores(gateways ...*gateway) (names []string) {
	for _, g := range gateways {
		names = append(names, dependency(g.name, storeDep))
	}
	return names
}

var faults = []fault{
	{"redis killed", func(ctx context.Context, w *world) {
		end := w.outages.begin("redis killed", stores(w.sides[0].gateways...)...)
		w.redis.kill()
		w.wait(ctx, between(100*time.Millisecond, 6*time.Second))
		if err := w.redis.launch(ctx); err != nil && ctx.Err() == nil {
			w.tally.fail("soak", "redis does not start again: %v", err)
		}
		end()
	}},
	{"redis hangs", func(ctx context.Context, w *world) {
		end := w.outages.begin("redis hangs", stores(w.sides[0].gateways...)...)
		w.redis.hang()
		w.wait(ctx, between(100*time.Millisecond, 6*time.Second))
		w.redis.goOn()
		end()
	}},
	// Requests read through meanwhile: 503 is not excused.
	{"tracking connections killed", func(_ context.Context, w *world) {
		w.unsettle()
		ids, _ := w.redis.trackers()
		for _, id := range ids {
			_, _ = w.redis.do("CLIENT", "KILL", "ID", id)
		}
	}},
	{"tracking connection of one deaf", func(ctx context.Context, w *world) {
		g := w.sides[0].any()
		w.unsettle()
		g.way.each(true, func(k *link) { k.deaf.Store(true) })
		w.wait(ctx, between(time.Second, 6*time.Second))
		g.way.each(true, (*link).cut)
		w.unsettle()
	}},
	{"all connections killed", func(_ context.Context, w *world) {
		end := w.outages.begin("all connections killed", stores(w.sides[0].gateways...)...)
		for _, g := range w.sides[0].gateways {
			g.way.each(false, (*link).cut)
		}
		end()
	}},
	// Below the timeout: 503 is not excused.
	{"slow", func(ctx context.Context, w *world) {
		w.unsettle()
		g := w.sides[0].any()
		g.way.delay.Store(int64(w.timeout / 10))
		w.wait(ctx, between(time.Second, 8*time.Second))
		g.way.delay.Store(0)
		w.unsettle()
	}},
	{"slower than the timeout", func(ctx context.Context, w *world) {
		g := w.sides[0].any()
		end := w.outages.begin("slower than the timeout", stores(g)...)
		g.way.delay.Store(int64(w.timeout * 6 / 10))
		w.wait(ctx, between(time.Second, 6*time.Second))
		g.way.delay.Store(0)
		end()
	}},
	{"one cut off", func(ctx context.Context, w *world) {
		g := w.sides[0].any()
		end := w.outages.begin("one cut off", stores(g)...)
		g.way.closed.Store(true)
		g.way.each(false, (*link).cut)
		w.wait(ctx, between(100*time.Millisecond, 6*time.Second))
		g.way.closed.Store(false)
		end()
	}},
	{"one cut off, silently", func(ctx context.Context, w *world) {
		g := w.sides[0].any()
		end := w.outages.begin("one cut off, silently", stores(g)...)
		g.way.frozen.Store(true)
		w.wait(ctx, between(100*time.Millisecond, 8*time.Second))
		g.way.frozen.Store(false)
		end()
	}},
	// Tokens of known keys go on: 503 is not excused.
	{"issuer's keys not to be had", func(ctx context.Context, w *world) {
		all := make([]string, len(w.gateways))
		for i, g := range w.gateways {
			all[i] = dependency(g.name, keysDep)
		}
		end := w.outages.beginFor(keysRecovery, "issuer's keys not to be had", all...)
		w.idp.down.Store(1 + mathrand.Int32N(3))
		w.wait(ctx, between(5*time.Second, 40*time.Second))
		w.idp.down.Store(0)
		end()
	}},
}

// unsettle notes that there may be more reads than usual from now on.
func (w *world) unsettle() { w.unsettledAt.Store(time.Now().UnixNano()) }

func (w *world) unsettled(since time.Time) bool {
	return time.Unix(0, w.unsettledAt.Load()).After(since.Add(-recovery))
}

// trouble makes one fault after another, each kind as often.
func (w *world) trouble(ctx context.Context) {
	for {
		for _, i := range mathrand.Perm(len(faults)) {
			if !w.wait(ctx, between(4*time.Second, 12*time.Second)) {
				return
			}
			w.acting.RLock()
			w.event("%s: begins", faults[i].name)
			faults[i].do(ctx, w)
			w.event("%s: ends", faults[i].name)
			w.tally.done("fault: " + faults[i].name)
			w.acting.RUnlock()
		}
	}
}

// reloads gives gateways other configs, and now and then one that must be refused.
func (w *world) reloads(ctx context.Context) {
	for w.wait(ctx, between(4*time.Second, 15*time.Second)) {
		w.acting.RLock()
		g := w.gateways[mathrand.IntN(len(w.gateways))]
		times, pause := 1, time.Duration(0)
		if mathrand.IntN(10) == 0 {
			times, pause = 20, 500*time.Millisecond
		}
		for range times {
			w.reloadOne(ctx, g)
			if pause > 0 && !w.wait(ctx, pause) {
				break
			}
		}
		w.acting.RUnlock()
	}
}

func (w *world) reloadOne(ctx context.Context, g *gateway) {
	if mathrand.IntN(4) == 0 {
		err := g.load(ctx, spoil(g.text(g.round), mathrand.IntN(4)))
		switch {
		case ctx.Err() != nil:
		case err == nil:
			w.tally.fail("reload", "%s has taken a bad config", g.name)
		case errors.As(err, new(*statusError)):
			w.tally.done("bad config refused")
		default:
			w.tally.fail("reload", "%s: %v", g.name, err)
		}
		return
	}
	w.unsettle()
	began := time.Now()
	w.event("%s: reload", g.name)
	err := g.reload(ctx)
	w.event("%s: reloaded", g.name)
	w.unsettle()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.tally.fail("reload", "%s refuses a good config: %v", g.name, err)
	default:
		w.tally.done("reload")
		w.reloadTimes.add(time.Since(began))
	}
}

// busy is the fault that the machine itself is: everything waits for its cores.
const busy = "machine too busy"

// watchMachine asks Redis itself, past the gateways and what is between. When it is long
// in answering, they can't be blamed for that.
func (w *world) watchMachine(ctx context.Context) {
	for w.wait(ctx, 50*time.Millisecond) {
		answered := make(chan struct{})
		go func() {
			_, _ = w.redis.do("PING")
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(w.timeout / 8):
			end := w.outages.begin(busy, stores(w.sides[0].gateways...)...)
			<-answered
			end()
		}
	}
}
