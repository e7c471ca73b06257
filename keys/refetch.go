package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// flight is a fetch under way.
type flight struct {
	kid   string // that whoever started it was looking for; empty: none
	began time.Time
	done  chan struct{} // closed when what it brought is known
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin returns the fetch under way, or starts one if it is time; nil if not.
func (r *Remote) begin(kid string) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight == nil && r.known.Load().due(r.now()) {
		r.start(kid)
	}
	return r.flight
}

// seek returns the fetch under way, or starts one for an unknown kid; nil if
// one was made lately, or the issuer is to be left alone.
func (r *Remote) seek(kid string) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, now := r.known.Load(), r.now()
	if r.flight != nil {
		return r.flight
	}
	if has(known.keys, kid) || age(r.sought, now) < refetchEvery || known.failure != nil && !known.due(now) {
		return nil
	}
	r.sought = now
	r.start(kid)
	return r.flight
}

// renewal is when a set is renewed that is good for a lifetime: about 80 % of
// it, not the same for all gateways.
func renewal(lifetime time.Duration) time.Duration {
	var jitter [1]byte
	_, _ = rand.Read(jitter[:]) // never fails
	return lifetime*3/4 + lifetime/10*time.Duration(jitter[0])/255
}

// tick is the timer's.
func (r *Remote) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight == nil && r.ctx.Err() == nil {
		r.start("")
	}
}

// start fetches in a goroutine that ends by the fetch's own time limit, or with
// Destruct. r.mu is held.
func (r *Remote) start(kid string) {
	f := &flight{kid: kid, began: r.now(), done: make(chan struct{})}
	r.flight = f
	go func() {
		set, err := r.source.fetch(r.ctx)
		if err != nil { // a connection that hangs must not take the next try along
			r.source.client.CloseIdleConnections()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.fail(err)
		} else {
			r.land(f, set)
		}
		r.flight = nil
		close(f.done)
	}()
}

// land takes what a fetch brought. r.mu is held.
func (r *Remote) land(f *flight, set fetched) {
	last := r.known.Load()
	keys := kept(last.keys, set.Keys)
	// The issuer may have changed its mind as soon as it was asked.
	r.known.Store(&known{keys: keys, fetched: f.began, lifetime: set.lifetime, tried: f.began, wait: set.lifetime})
	r.fetches++
	r.backoff = 0
	if f.kid != "" && !has(keys, f.kid) {
		r.sought = f.began // this was the look for that kid
	}
	if last.failure != nil {
		r.logger.Info("key set can be fetched again")
	}
	r.tell(set)
	// Before the set is old, and not when all other gateways do it.
	r.arm(renewal(set.lifetime) - age(f.began, r.now()))
}

// kept gives fresh keys the pointers that they had in an earlier set: what was
// verified with a key holds on while the key is published. It is never nil: an
// empty set is an answer.
func kept(earlier, fresh []*Key) []*Key {
	keys := make([]*Key, len(fresh))
	for i, key := range fresh {
		keys[i] = key
		for _, old := range earlier {
			if old.equal(key) {
				keys[i] = old
				break
			}
		}
	}
	return keys
}

// fail takes the failure of a fetch: what is known stays, and the next try is
// later than the last was. r.mu is held.
func (r *Remote) fail(err error) {
	r.backoff = min(max(2*r.backoff, firstBackoff), maxBackoff)
	if asked, ok := errors.AsType[*retryError](err); ok {
		r.backoff = min(max(r.backoff, asked.after), maxBackoff)
	}
	last := r.known.Load()
	r.known.Store(&known{keys: last.keys, fetched: last.fetched, lifetime: last.lifetime, failure: err, tried: r.now(), wait: r.backoff})
	r.failures++
	if last.failure == nil && r.ctx.Err() == nil {
		r.logger.Error("key set can't be fetched: the last one, if any, is used for up to a day", zap.Error(err))
	}
	r.arm(r.backoff)
}

// arm sets the timer for the next fetch. r.mu is held.
func (r *Remote) arm(after time.Duration) {
	switch {
	case r.ctx.Err() != nil: // and Destruct has stopped the timer, or will
	case r.timer == nil:
		r.timer = time.AfterFunc(after, r.tick)
	default:
		r.timer.Reset(after)
	}
}

// tell logs what is not as one may expect of the set, once. r.mu is held.
func (r *Remote) tell(set fetched) {
	if set.host != r.host {
		r.host = set.host
		r.logger.Info("keys of the issuer are on another host, which its configuration names", zap.String("host", set.host))
	}
	text := fmt.Sprint(len(set.Keys) == 0, set.Skipped)
	if text == r.told {
		return
	}
	r.told = text
	for _, skipped := range set.Skipped {
		if errors.Is(skipped, errPrivate) {
			r.logger.Error("issuer publishes a private key: whoever has read it can sign tokens with it", zap.Error(skipped))
			continue
		}
		r.logger.Warn("key of a set is not used", zap.Error(skipped))
	}
	if len(set.Keys) == 0 {
		r.logger.Warn("key set holds no key that can be used: none of its tokens is accepted")
	}
}
