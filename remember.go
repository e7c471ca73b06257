package edgeauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// scope says within what a finding holds: what another config says of the same
// credential need not be the same.
type scope [sha256.Size]byte

// newScope is that of an authenticator by its config, in policies that check users
// alike, and by the store that it reads unless it names another.
func newScope(config, checkUser, store string) scope {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q", config, checkUser, store))
}

// of is where the finding about a credential is kept.
func (s scope) of(secret authenticators.Secret) cache.Key {
	var buffer [2048]byte // on the stack: most credentials fit, and nothing is allocated
	return sha256.Sum256(append(append(buffer[:0], s[:]...), secret...))
}

// verify says whose credential it is, and that they are still welcome. What was
// found out earlier is taken while all that it rests on is as it was; cached says so.
func (p *Policy) verify(ctx context.Context, m *member, c authenticators.Credential, s *state) (who *identity.Identity, cached bool, err error) {
	lasting, ok := m.Authenticator.(authenticators.Lasting)
	if !ok {
		who, err = p.verifyAnew(ctx, m, c)
		return who, false, err
	}
	key, now := m.scope.of(c.Value), time.Now()
	if entry, ok := p.app.cache.Get(key, now); ok && lasting.Holds(entry.Basis) {
		who := s.identity()
		return who, true, identity.Unpack(entry.Value, who)
	}
	if entry, ok := p.app.refusals.Get(refusalKey(key, c.In), now); ok {
		return nil, true, unpackRefusal(entry.Value)
	}
	if p.app.cache.Knew(key) { // whoever was let in lately need not queue behind strangers
		ctx = queue.First(ctx)
	}
	began := store.Now() // what is read from now on is as old as this
	ctx, reads := store.Collecting(ctx)
	who, err = p.verifyAnew(ctx, m, c)
	if err == nil {
		p.remember(key, who, reads, began+p.app.maxAge)
	} else {
		p.rememberRefusal(refusalKey(key, c.In), err, reads, began+min(p.app.maxAge, maxRefusalAge))
	}
	return who, false, err
}

func (p *Policy) verifyAnew(ctx context.Context, m *member, c authenticators.Credential) (*identity.Identity, error) {
	who, err := m.Verify(ctx, c)
	if err != nil {
		return nil, err
	}
	if who == nil || !identity.ValidID(who.ID) {
		return nil, fmt.Errorf("authenticator %s accepted a credential of nobody", m.name)
	}
	if p.CheckUser != "" {
		completed := *who // the authenticator may have made it for more than this request
		if err := p.checkUser(ctx, &completed); err != nil {
			return nil, err
		}
		who = &completed
	}
	return who, nil
}

// remember keeps a finding, if it is known what it rests on.
func (p *Policy) remember(key cache.Key, who *identity.Identity, reads *store.Reads, old time.Duration) {
	stamps, end, known := reads.Known()
	if !known {
		return
	}
	if !who.Expires.IsZero() && (end.IsZero() || who.Expires.Before(end)) {
		end = who.Expires
	}
	packed, err := identity.Pack(make([]byte, 0, 256), who)
	if err != nil {
		return // it is looked up each time
	}
	p.app.cache.Put(key, cache.Entry{Value: string(packed), Basis: who.Basis}, stamps, old, end)
}
