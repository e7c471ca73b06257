package keys

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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
// is first asked for. From then on a timer refetches it before it is old, so
// that a key which the issuer has taken back is out within the set's lifetime,
// and nobody waits for that. While the issuer is down the last set is used, for
// a day at most. A kid that it doesn't have is looked for at the issuer, at most
// every 30 s.
//
// A request waits for the network only where there is no set yet, for an unknown
// kid, and where the machine slept through a refetch: what was known before may
// have been taken back since.
type Remote struct {
	source source
	logger *zap.Logger
	now    func() time.Time

	ctx  context.Context //nolint:containedctx // bounds fetches, which no single caller owns
	stop context.CancelFunc

	// What is known now; never nil. It is read without a lock, and replaced with
	// mu held.
	known atomic.Pointer[known]

	mu       sync.Mutex // guards what follows
	flight   *flight    // the fetch under way; nil: none
	timer    *time.Timer
	backoff  time.Duration // after the last failure
	sought   time.Time     // when an unknown kid last led to a fetch
	told     string        // what was last logged of the set's contents
	host     string        // where the set last came from
	fetches  uint64        // that went well
	failures uint64        // of fetches
}

// known is what a Remote knows at one time. It is never written to.
type known struct {
	keys     []*Key        // nil: never fetched
	fetched  time.Time     // when the fetch of keys began
	lifetime time.Duration // for which keys need no refetch
	failure  error         // of the last fetch; nil: it went well
	tried    time.Time     // when the last fetch went well or failed
	wait     time.Duration // from tried until somebody who comes by starts the next
}

// usable reports whether there are keys that are not too old.
func (k *known) usable(now time.Time) bool { return k.keys != nil && age(k.fetched, now) < maxStale }

// ready reports whether the keys may be used without asking the issuer first:
// they are not old, or it was asked in vain, and is when its time comes. Where
// the next try is overdue, the machine slept.
func (k *known) ready(now time.Time) bool {
	fresh := age(k.fetched, now) < k.lifetime
	down := k.failure != nil && age(k.tried, now) < k.wait+2*fetchTimeout
	return k.usable(now) && (fresh || down)
}

// due reports whether it is time for a fetch.
func (k *known) due(now time.Time) bool { return age(k.tried, now) >= k.wait }

// age is how long ago a time was, by the clock that says more: the monotonic
// one stands still while a machine sleeps, and the other may be set back.
func age(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

// NewRemote makes the set at url: that of a JWK Set, or what DiscoveryURL made
// of an issuer. Plain HTTP is taken from loopback addresses only.
func NewRemote(url string, logger *zap.Logger) (*Remote, error) {
	source, err := newSource(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Remote{source: source, logger: logger.With(zap.String("url", url)), now: time.Now, ctx: ctx, stop: cancel, host: source.host}
	r.known.Store(new(known))
	return r, nil
}

// Find picks the keys that fit, and waits for a fetch only where there is no
// other way to know.
func (r *Remote) Find(ctx context.Context, kid, alg string) ([]*Key, error) {
	keys, err := r.current(ctx, kid)
	if err != nil {
		return nil, err
	}
	found, err := fitting(keys, kid, alg)
	if err == nil || kid == "" || has(keys, kid) {
		return found, err
	}
	if flight := r.seek(kid); flight != nil {
		if err := flight.wait(ctx); err != nil {
			return nil, err
		}
	}
	known := r.known.Load()
	if found, err = fitting(known.keys, kid, alg); err != nil && known.failure != nil {
		return nil, r.unavailable(known.failure) // the kid may be that of a new key
	}
	return found, err
}

func has(keys []*Key, kid string) bool {
	return slices.ContainsFunc(keys, func(k *Key) bool { return k.ID == kid })
}

// current returns the set. If it is old, a fetch is started, which is waited
// for only if there is no set, or none that may be used without.
func (r *Remote) current(ctx context.Context, kid string) ([]*Key, error) {
	known, now := r.known.Load(), r.now()
	if known.ready(now) {
		if known.due(now) {
			r.begin(kid)
		}
		return known.keys, nil
	}
	if flight := r.begin(kid); flight != nil {
		if err := flight.wait(ctx); err != nil {
			return nil, err
		}
	}
	if known = r.known.Load(); known.usable(r.now()) {
		return known.keys, nil
	}
	return nil, r.unavailable(known.failure)
}

func (r *Remote) unavailable(failure error) error {
	return fmt.Errorf("key set %s: %w", r.source.url, failure)
}

// Holds reports whether Find would still return the key without asking the issuer:
// it is one that was published last, and that was not too long ago. A key keeps
// its serial for as long as the issuer publishes it unchanged.
func (r *Remote) Holds(serial uint64) bool {
	known, now := r.known.Load(), r.now()
	if known.keys != nil && known.due(now) {
		r.begin("")
	}
	return known.ready(now) && Static(known.keys).Holds(serial)
}

// Want begins a fetch where the keys are due for one, as those are that were never
// asked for. It does not wait for it.
func (r *Remote) Want() {
	if r.known.Load().due(r.now()) {
		r.begin("")
	}
}

// Status is how a key set fares, for metrics and health.
type Status struct {
	URL string // as it was configured

	// Keys is how many keys are in use; none where Usable is false.
	Keys int

	// Usable is false before the first fetch went well, and once the last that did
	// was too long ago: then no token can be checked.
	Usable bool

	// Fresh is whether they are no older than the issuer says they are good for.
	Fresh bool

	// Fetched is when a fetch last went well. The zero time: never.
	Fetched time.Time

	// Failing is whether the last fetch failed.
	Failing bool

	// Fetches and Failures count the fetches that went well and that failed.
	Fetches, Failures uint64
}

// Status says how the set fares. It never fetches.
func (r *Remote) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, now := r.known.Load(), r.now()
	s := Status{
		URL: r.source.url, Usable: known.usable(now), Fresh: known.keys != nil && age(known.fetched, now) < known.lifetime, Fetched: known.fetched, Failing: known.failure != nil,
		Fetches: r.fetches, Failures: r.failures,
	}
	if s.Usable {
		s.Keys = len(known.keys)
	}
	return s
}

// Destruct stops the timer, ends a fetch that is under way, and closes idle
// connections.
func (r *Remote) Destruct() error {
	r.stop()
	r.mu.Lock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.source.client.CloseIdleConnections()
	return nil
}

var (
	_ Set              = (*Remote)(nil)
	_ caddy.Destructor = (*Remote)(nil)
)
