package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
)

// How remote sets are kept live.
const (
	defaultLifetime = 15 * time.Minute // where the issuer states none
	minLifetime     = time.Minute
	maxLifetime     = time.Hour
	maxStale        = 24 * time.Hour   // how long an issuer may be down
	refetchEvery    = 30 * time.Second // for unknown kids, whatever the flood
	firstBackoff    = time.Second
	maxBackoff      = 5 * time.Minute
)

// Remote is the key set that an issuer publishes. Nothing is fetched before it
// is first asked for; then it is refetched in the background when it is old,
// and at most every 30 s for a kid that it doesn't have. While the issuer is
// down the last set is used, for a day at most. A set that was not asked for in
// a long time is fetched anew before it is used: a key that the issuer has
// taken back must not live on because nobody came by.
type Remote struct {
	source source
	logger *zap.Logger
	now    func() time.Time

	ctx  context.Context //nolint:containedctx // bounds fetches, which no single caller owns
	stop context.CancelFunc

	mu      sync.Mutex // guards what follows
	keys    []*Key     // nil: never fetched
	fetched time.Time  // when keys were
	fresh   time.Time  // until when they need no refetch
	idle    time.Time  // after which they are refetched before they are used
	retry   time.Time  // before which a failed fetch is not tried again
	backoff time.Duration
	failure error         // of the last fetch; nil: it went well
	sought  time.Time     // when an unknown kid last led to a fetch
	flight  chan struct{} // closed when the fetch under way ends; nil: none
	told    string        // what was last logged of the set's contents
}

// NewRemote makes the set at url: that of a JWK Set, or what DiscoveryURL made
// of an issuer. Plain HTTP is taken from loopback addresses only.
func NewRemote(url string, logger *zap.Logger) (*Remote, error) {
	source, err := newSource(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Remote{source: source, logger: logger.With(zap.String("url", url)), now: time.Now, ctx: ctx, stop: cancel}, nil
}

// Find picks the keys that fit, and waits for a fetch only where there is no
// other way to know.
func (r *Remote) Find(ctx context.Context, kid, alg string) ([]*Key, error) {
	keys, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	found, err := fitting(keys, kid, alg)
	if err == nil || kid == "" || has(keys, kid) {
		return found, err
	}
	if flight := r.seek(); flight != nil {
		if err := wait(ctx, flight); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	keys, failure := r.keys, r.failure
	r.mu.Unlock()
	if found, err = fitting(keys, kid, alg); err != nil && failure != nil {
		return nil, r.unavailable(failure) // the kid may be that of a new key
	}
	return found, err
}

func has(keys []*Key, kid string) bool {
	for _, k := range keys {
		if k.ID == kid {
			return true
		}
	}
	return false
}

func (r *Remote) unavailable(failure error) error {
	return fmt.Errorf("key set %s: %w", r.source.url, failure)
}

// current returns the set. If it is old, a fetch is started, which is waited
// for only if there is none, or none that may be used without.
func (r *Remote) current(ctx context.Context) ([]*Key, error) {
	r.mu.Lock()
	now := r.now()
	usable := r.usable(now)
	if usable && now.Before(r.fresh) {
		defer r.mu.Unlock()
		return r.keys, nil
	}
	if r.flight == nil && !now.Before(r.retry) {
		r.start()
	}
	keys, flight, failure := r.keys, r.flight, r.failure
	idle := failure == nil && now.After(r.idle)
	r.mu.Unlock()
	switch {
	case usable && !idle:
		return keys, nil
	case flight == nil:
		return nil, r.unavailable(failure)
	}
	if err := wait(ctx, flight); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.usable(r.now()) {
		return nil, r.unavailable(r.failure)
	}
	return r.keys, nil
}

// usable reports whether there is a set that is not too old. r.mu is held.
func (r *Remote) usable(now time.Time) bool { return r.keys != nil && now.Sub(r.fetched) < maxStale }

// seek starts a fetch for an unknown kid, or joins one under way; nil if one
// was made lately.
func (r *Remote) seek() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.flight != nil {
		return r.flight
	}
	if now.Sub(r.sought) < refetchEvery || now.Before(r.retry) {
		return nil
	}
	r.sought = now
	r.start()
	return r.flight
}

func wait(ctx context.Context, flight <-chan struct{}) error {
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start fetches in a goroutine that ends by the fetch's own time limit, or with
// Destruct. r.mu is held.
func (r *Remote) start() {
	flight := make(chan struct{})
	r.flight = flight
	go func() {
		set, err := r.source.fetch(r.ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.land(set, err)
		r.flight = nil
		close(flight)
	}()
}

// land takes the outcome of a fetch. r.mu is held.
func (r *Remote) land(set fetched, err error) {
	now := r.now()
	if err != nil {
		r.backoff = min(max(2*r.backoff, firstBackoff), maxBackoff)
		if asked, ok := errors.AsType[*retryError](err); ok {
			r.backoff = min(max(r.backoff, asked.after), maxBackoff)
		}
		r.retry = now.Add(r.backoff)
		if r.failure == nil && r.ctx.Err() == nil {
			r.logger.Error("key set can't be fetched: the last one, if any, is used for up to a day", zap.Error(err))
		}
		r.failure = err
		return
	}
	if r.failure != nil {
		r.logger.Info("key set can be fetched again")
	}
	r.keys = set.Keys
	if r.keys == nil {
		r.keys = []*Key{} // an empty set is an answer
	}
	r.fetched, r.fresh, r.idle = now, now.Add(set.lifetime), now.Add(2*set.lifetime)
	r.failure, r.backoff, r.retry = nil, 0, time.Time{}
	r.tell(set.Loaded)
}

// tell logs what is not as it should be in the set, once. r.mu is held.
func (r *Remote) tell(loaded Loaded) {
	text := fmt.Sprint(len(loaded.Keys) == 0, loaded.Skipped)
	if text == r.told {
		return
	}
	r.told = text
	for _, skipped := range loaded.Skipped {
		r.logger.Warn("key of a set is not used", zap.Error(skipped))
	}
	if len(loaded.Keys) == 0 {
		r.logger.Warn("key set holds no key that can be used: none of its tokens is accepted")
	}
}

// Destruct ends a fetch that is under way, and closes idle connections.
func (r *Remote) Destruct() error {
	r.stop()
	r.source.client.CloseIdleConnections()
	return nil
}

var (
	_ Set              = (*Remote)(nil)
	_ caddy.Destructor = (*Remote)(nil)
)
