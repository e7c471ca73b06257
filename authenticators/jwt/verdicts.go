package jwt

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// verdict is what a check of a token found: whose it is. It is shared by all
// requests that carry the token, so nobody changes it.
type verdict struct {
	who     *identity.Identity
	key     *keys.Key // that it was signed with
	issuer  string
	expires time.Time // leeway included
	name    string    // that it may be revoked by
	bytes   int       // that it takes, about

	// When the store was last asked about a revocation, in nanoseconds, and how
	// many there had been made here by then.
	asked     atomic.Int64
	revisions atomic.Uint64
}

// verdictKey is a token by its SHA-256, and the config that it was checked by:
// what another config says of it need not be the same.
type verdictKey struct {
	token [sha256.Size]byte
	scope string
}

// verdicts remembers checked tokens, within a bound of bytes. Only what was
// accepted gets in, so a flood of forgeries pushes nothing out.
//
// Each shard has two generations. What is new, or is used again, goes into the
// young one; when that is full it becomes the old one, and the old one is
// dropped: about as good as least-recently-used, without a list to keep.
type verdicts struct {
	shards [verdictShards]verdictShard
	most   int // bytes in a generation of a shard
}

type verdictShard struct {
	mu         sync.Mutex // guards what follows
	young, old map[verdictKey]*verdict
	bytes      int // of young, about
}

const (
	verdictShards = 16
	verdictBytes  = 64 << 20 // in all
)

func newVerdicts(bytes int) *verdicts {
	v := &verdicts{most: bytes / (2 * verdictShards)}
	for i := range v.shards {
		v.shards[i].young = make(map[verdictKey]*verdict)
	}
	return v
}

// Destruct has nothing to close; it lets the verdicts live in the app's pool.
func (*verdicts) Destruct() error { return nil }

// get returns a verdict; nil if there is none.
func (v *verdicts) get(key verdictKey) *verdict {
	s := v.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.young[key]; found != nil {
		return found
	}
	found := s.old[key]
	if found != nil {
		delete(s.old, key)
		s.put(key, found, v.most)
	}
	return found
}

// put remembers a verdict.
func (v *verdicts) put(key verdictKey, found *verdict) {
	s := v.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, found, v.most)
}

// put adds to the young generation. s.mu is held.
func (s *verdictShard) put(key verdictKey, found *verdict, most int) {
	if s.bytes+found.bytes > most {
		s.old, s.young, s.bytes = s.young, make(map[verdictKey]*verdict), 0
	}
	if s.young[key] == nil {
		s.bytes += found.bytes
	}
	s.young[key] = found
}

// weigh reckons what a verdict on a token takes, in bytes, which may be many
// times the token's size.
func weigh(who *identity.Identity, token string) int {
	return 512 + len(token) + weighValue(who.Claims) + 16*(cap(who.Scopes)+cap(who.Groups))
}

func weighValue(value any) int {
	bytes := 16
	switch v := value.(type) {
	case map[string]any:
		bytes += 64 + 80*len(v)
		for _, item := range v {
			bytes += weighValue(item)
		}
	case []any:
		bytes += 24 + 16*cap(v)
		for _, item := range v {
			bytes += weighValue(item)
		}
	}
	return bytes
}

func (v *verdicts) shard(key verdictKey) *verdictShard { return &v.shards[key.token[0]%verdictShards] }

// provisionVerdicts takes the verdicts that all authenticators share, and finds
// out which of them are of this very config.
func (a *Authenticator) provisionVerdicts(host authenticators.Host) error {
	config, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	sum := sha256.Sum256(config)
	a.scope = string(sum[:])
	shared, err := host.Pooled("jwt verdicts", func() (caddy.Destructor, error) { return newVerdicts(verdictBytes), nil })
	if err != nil {
		return err
	}
	a.verdicts = shared.(*verdicts)
	return nil
}
