package passwords

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"time"
)

const (
	// remembered is how long a success is not computed again.
	remembered = time.Minute

	// maxRemembered bounds the successes that are kept.
	maxRemembered = 10_000

	// maxWait is how long a check waits for its turn.
	maxWait = 2 * time.Second
)

// ErrBusy says that too many checks were under way: it is unknown whether the
// password is right.
var ErrBusy = errors.New("too many password checks at once")

// Verifier checks passwords. A hash takes tens of milliseconds of a core and
// megabytes, so only as many run at once as there are cores, and a success is
// remembered for a minute. A failure never is.
type Verifier struct {
	key   []byte // of this process: what is remembered is of use nowhere else
	slots chan struct{}
	now   func() time.Time
	told  func(hash string) // of each hashing; nil: nobody asks

	mu    sync.Mutex // guards known and running
	known map[verdict]time.Time
	// running are the checks under way; those for the same wait for one.
	running map[verdict]*check
}

// verdict names a user, a password and a hash, by a keyed digest of all three.
type verdict [sha256.Size]byte

type check struct {
	waiting int           // callers; guarded by the verifier's mu
	gone    chan struct{} // closed when the last of them has gone away
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
	return &Verifier{
		key:     key,
		slots:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		now:     time.Now,
		known:   make(map[verdict]time.Time),
		running: make(map[verdict]*check),
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
	if until, ok := v.known[name]; ok && v.now().Before(until) {
		v.mu.Unlock()
		return true, nil
	}
	c, ok := v.running[name]
	if !ok {
		c = &check{gone: make(chan struct{}), done: make(chan struct{})}
		v.running[name] = c
		// In a goroutine of its own, since the caller may go away while others
		// wait for the same. It ends after maxWait and one hashing at the latest.
		go v.run(name, c, password, hash)
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
		close(c.gone)
	}
}

// drop lets nobody else join a check; v.mu is held.
func (v *Verifier) drop(name verdict, c *check) {
	if v.running[name] == c {
		delete(v.running, name)
	}
}

func (v *Verifier) run(name verdict, c *check, password, hash string) {
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	select {
	case v.slots <- struct{}{}:
		if v.told != nil {
			v.told(hash)
		}
		c.ok = match(hash, password)
		<-v.slots
	case <-timeout.C:
		c.err = ErrBusy
	case <-c.gone:
		return
	}
	v.mu.Lock()
	v.drop(name, c)
	if c.ok {
		v.remember(name)
	}
	v.mu.Unlock()
	close(c.done)
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
