package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
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
// down the last set is used, for a day at most.
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
	retry   time.Time  // before which a failed fetch is not tried again
	backoff time.Duration
	failure error     // of the last fetch; nil: it went well
	sought  time.Time // when an unknown kid last led to a fetch
	flight  *fetching // the fetch under way; nil: none
}

// fetching is a fetch that any number of callers wait for.
type fetching struct {
	done chan struct{}
}

// NewRemote makes the set at url: that of a JWK Set, or that of an issuer's
// OpenID configuration, which ends in /.well-known/openid-configuration. Plain
// HTTP is taken from loopback addresses only.
func NewRemote(url string, logger *zap.Logger) (*Remote, error) {
	source, err := newSource(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Remote{source: source, logger: logger, now: time.Now, ctx: ctx, stop: cancel}, nil
}

// Find picks the keys that fit, and waits for a fetch only where there is no
// other way to know.
func (r *Remote) Find(ctx context.Context, kid, alg string) ([]*Key, error) {
	keys, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	found, err := fitting(keys, kid, alg)
	if !errors.Is(err, ErrNoKey) || kid == "" || has(keys, kid) {
		return found, err
	}
	flight := r.seek()
	if flight == nil {
		return nil, err
	}
	if err := flight.wait(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	keys = r.keys
	r.mu.Unlock()
	return fitting(keys, kid, alg)
}

func has(keys []*Key, kid string) bool {
	for _, k := range keys {
		if k.ID == kid {
			return true
		}
	}
	return false
}

// current returns the set. If it is old, a fetch is started; only for the first
// set of all it is waited for.
func (r *Remote) current(ctx context.Context) ([]*Key, error) {
	r.mu.Lock()
	now := r.now()
	usable := r.keys != nil && now.Sub(r.fetched) < maxStale
	if usable && now.Before(r.fresh) {
		defer r.mu.Unlock()
		return r.keys, nil
	}
	if r.flight == nil && !now.Before(r.retry) {
		r.start()
	}
	flight, keys, failure := r.flight, r.keys, r.failure
	r.mu.Unlock()
	if usable {
		return keys, nil
	}
	if flight == nil {
		return nil, fmt.Errorf("key set %s: %w", r.source.url, failure)
	}
	if err := flight.wait(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil || r.now().Sub(r.fetched) >= maxStale {
		return nil, fmt.Errorf("key set %s: %w", r.source.url, r.failure)
	}
	return r.keys, nil
}

// seek starts a fetch for an unknown kid, or joins one under way, unless one
// was made lately.
func (r *Remote) seek() *fetching {
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

func (f *fetching) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start fetches in a goroutine that ends by the fetch's own time limit, or with
// Destruct. r.mu is held.
func (r *Remote) start() {
	flight := &fetching{done: make(chan struct{})}
	r.flight = flight
	go func() {
		set, err := r.source.fetch(r.ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.land(set, err)
		r.flight = nil
		close(flight.done)
	}()
}

// land takes the outcome of a fetch. r.mu is held.
func (r *Remote) land(set fetched, err error) {
	now := r.now()
	if err != nil {
		r.backoff = min(max(2*r.backoff, firstBackoff), maxBackoff)
		r.retry = now.Add(r.backoff)
		if r.failure == nil && r.ctx.Err() == nil {
			r.logger.Error("key set can't be fetched: the last one is used for up to a day", zap.String("url", r.source.url), zap.Error(err))
		}
		r.failure = err
		return
	}
	if r.failure != nil {
		r.logger.Info("key set can be fetched again", zap.String("url", r.source.url))
	}
	for _, skipped := range set.skipped {
		r.logger.Warn("key of a set is not used", zap.String("url", r.source.url), zap.Error(skipped))
	}
	if len(set.keys) == 0 {
		r.logger.Warn("key set holds no key that can be used: none of its tokens is accepted", zap.String("url", r.source.url))
	}
	r.keys = set.keys
	if r.keys == nil {
		r.keys = []*Key{} // an empty set is an answer
	}
	r.fetched, r.fresh = now, now.Add(set.lifetime)
	r.failure, r.backoff, r.retry = nil, 0, time.Time{}
}

// Destruct ends a fetch that is under way.
func (r *Remote) Destruct() error {
	r.stop()
	return nil
}

var _ Set = (*Remote)(nil)
