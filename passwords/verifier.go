package passwords

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/edgeauth/caddy-edgeauth/internal/panics"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
)

const (
	// remembered is how long a success is not computed again.
	remembered = time.Minute

	// maxRemembered bounds the successes that are kept.
	maxRemembered = 10_000

	// maxWait is how long a check waits for its turn.
	maxWait = 2 * time.Second

	// waitingPerCore is how many checks wait for each core: as many hashes of ours as
	// it computes within maxWait, so that more would wait in vain.
	waitingPerCore = 64

	// largeHash is the memory of a hash, in bytes, from which on only one at a time is
	// computed. So all that is computed takes that much for each core, and one of the
	// largest.
	largeHash = 128 << 20
)

// ErrBusy says that too many checks were under way: it is unknown whether the
// password is right.
var ErrBusy = errors.New("too many password checks at once")

// Verifier checks passwords. A hash takes tens of milliseconds of a core and
// megabytes, so only as many run at once as there are cores, and not many more wait. A
// success is remembered for a minute, and goes before others when it is checked again.
// A failure never is.
type Verifier struct {
	key   []byte // of this process: what is remembered is of use nowhere else
	slots *queue.Queue
	large *queue.Queue
	now   func() time.Time
	told  func(hash string) // of each hashing; nil: nobody asks

	mu sync.Mutex // guards what follows
	// known are successes, and until when they count; older ones only go first.
	known map[verdict]time.Time
	// running are the checks under way; those for the same wait for one.
	running map[verdict]*check
	// renewing are hashes that are being replaced.
	renewing map[verdict]bool
}

// verdict names a user, a password and a hash, by a keyed digest of all three.
type verdict [sha256.Size]byte

type check struct {
	waiting int           // callers; guarded by the verifier's mu
	gone    func()        // called when the last of them has gone away
	done    chan struct{} // closed when ok and err stand
	ok      bool
	err     error
}

// Shared returns the verifier of this process: the bound holds for all that
// check passwords in it, and what is remembered outlives a reload.
var Shared = sync.OnceValue(newVerifier)

func newVerifier() *Verifier {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	cores := runtime.GOMAXPROCS(0)
	return &Verifier{
		key:      key,
		slots:    queue.New(cores, waitingPerCore*cores, queue.OldestFirst),
		large:    queue.New(1, waitingPerCore*cores, queue.OldestFirst),
		now:      time.Now,
		known:    make(map[verdict]time.Time),
		running:  make(map[verdict]*check),
		renewing: make(map[verdict]bool),
	}
}

// Counted returns a verifier of its own that tells of each hashing which hash it is
// for: so can be shown that who does not exist costs the same work as who does.
func Counted(told func(hash string)) *Verifier {
	v := newVerifier()
	v.told = told
	return v
}

// Verify reports whether a user's password has this hash. ErrBusy, or the
// context's error: it could not find out.
func (v *Verifier) Verify(ctx context.Context, user, password, hash string) (bool, error) {
	if len(password) > MaxLength {
		return false, nil
	}
	name := v.name(user, password, hash)
	v.mu.Lock()
	until, before := v.known[name]
	if before && v.now().Before(until) {
		v.mu.Unlock()
		return true, nil
	}
	c, ok := v.running[name]
	if !ok {
		waits, gone := context.WithTimeout(context.Background(), maxWait)
		if before || queue.IsFirst(ctx) {
			waits = queue.First(waits)
		}
		c = &check{gone: gone, done: make(chan struct{})}
		v.running[name] = c
		// In a goroutine of its own, since the caller may go away while others
		// wait for the same. It ends after maxWait and one hashing at the latest.
		go v.run(waits, name, c, password, hash) //nolint:contextcheck // see above
	}
	c.waiting++
	v.mu.Unlock()

	select {
	case <-c.done:
		return c.ok, c.err
	case <-ctx.Done():
		v.leave(name, c)
		return false, ctx.Err()
	}
}

// leave takes a caller who went away off a check. Without any it gives its
// place in the queue up, so that nobody fills the queue by hanging up.
func (v *Verifier) leave(name verdict, c *check) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		v.drop(name, c)
		c.gone()
	}
}

// drop lets nobody else join a check; v.mu is held.
func (v *Verifier) drop(name verdict, c *check) {
	if v.running[name] == c {
		delete(v.running, name)
	}
}

func (v *Verifier) run(waits context.Context, name verdict, c *check, password, hash string) {
	defer c.gone()
	c.err = v.hashing(waits, hash, func() {
		if v.told != nil {
			v.told(hash)
		}
		c.ok = match(hash, password)
	})
	v.mu.Lock()
	v.drop(name, c)
	if c.ok {
		v.remember(name)
	}
	v.mu.Unlock()
	close(c.done)
}

// hashing does what takes as much time and memory as a check of a hash, when its turn
// comes. ErrBusy: it did not come.
func (v *Verifier) hashing(waits context.Context, hash string, do func()) (err error) {
	queues := []*queue.Queue{v.slots}
	if memoryOf(hash) > largeHash {
		queues = []*queue.Queue{v.large, v.slots} // not to wait with a core taken
	}
	for _, q := range queues {
		if q.Enter(waits) != nil {
			return ErrBusy
		}
		defer q.Leave()
	}
	defer func() {
		// In the request's own goroutine net/http would have caught it.
		if cause := recover(); cause != nil {
			err = fmt.Errorf("checking a password: %w", panics.Error(cause))
		}
	}()
	do()
	return nil
}

// Renew returns a new hash for a password that was right, unless it is being made for
// somebody else who logs in as the same user: ErrBusy, as where there is no time.
func (v *Verifier) Renew(ctx context.Context, user, password, hash string) (string, error) {
	name := v.name(user, password, hash)
	v.mu.Lock()
	renewing := v.renewing[name]
	v.renewing[name] = true
	v.mu.Unlock()
	if renewing {
		return "", ErrBusy
	}
	defer func() {
		v.mu.Lock()
		delete(v.renewing, name)
		v.mu.Unlock()
	}()
	return v.Hash(ctx, password)
}

// Hash is the function Hash, when its turn comes, before those of strangers.
func (v *Verifier) Hash(ctx context.Context, password string) (string, error) {
	waits, cancel := context.WithTimeout(queue.First(ctx), maxWait)
	defer cancel()
	var hash string
	var failed error
	err := v.hashing(waits, "", func() { hash, failed = Hash(password) })
	return hash, errors.Join(err, failed)
}

// remember keeps a success; v.mu is held. When there are too many, all are
// forgotten: they cost one hashing each to learn anew.
func (v *Verifier) remember(name verdict) {
	if len(v.known) >= maxRemembered {
		clear(v.known)
	}
	v.known[name] = v.now().Add(remembered)
}

// name is a keyed digest of all that decides, each with its length before it,
// so that no two cases look alike.
func (v *Verifier) name(fields ...string) verdict {
	mac := hmac.New(sha256.New, v.key)
	for _, field := range fields {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		mac.Write(length[:])
		mac.Write([]byte(field))
	}
	return verdict(mac.Sum(nil))
}
