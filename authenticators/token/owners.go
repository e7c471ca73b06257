package token

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/edgeauth/caddy-edgeauth/internal/panics"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// owners remembers whose tokens are that were looked up before: then both records are
// asked for at once, and share a round trip. It is a guess and no more: what counts is
// what the token's record says.
type owners struct {
	mu    sync.Mutex // guards known
	known map[[sha256.Size]byte]string
}

// maxOwners bounds the tokens that are known. When there are more, all are forgotten:
// they cost a round trip each to learn anew.
const maxOwners = 10_000

// ownerLookUp is a user's record that may be on its way.
type ownerLookUp struct {
	owners *owners
	store  store.Store
	token  [sha256.Size]byte
	guess  string        // empty: none
	done   chan struct{} // closed when the guess was looked up; nil: there is none
	found  records.User
	err    error
}

// lookUp asks for the record of the user whose a token was the last time.
func (o *owners) lookUp(ctx context.Context, s store.Store, token [sha256.Size]byte) *ownerLookUp {
	l := &ownerLookUp{owners: o, store: s, token: token}
	o.mu.Lock()
	l.guess = o.known[token]
	o.mu.Unlock()
	if l.guess != "" {
		l.done = make(chan struct{})
		go func() {
			defer close(l.done)
			defer func() { // what panics here would end the process
				if cause := recover(); cause != nil {
					l.err = fmt.Errorf("looking the token's user up: %w", panics.Error(cause))
				}
			}()
			l.found, l.err = records.GetUser(ctx, s, l.guess)
		}()
	}
	return l
}

// end waits for a record that nobody may need, so that no look-up outlives its request.
func (l *ownerLookUp) end() {
	if l.done != nil {
		<-l.done
	}
}

// user returns the record of the token's user, as records.GetUser does.
func (l *ownerLookUp) user(ctx context.Context, id string) (records.User, error) {
	if l.done != nil && l.guess == id {
		<-l.done
		return l.found, l.err
	}
	l.owners.mu.Lock()
	if len(l.owners.known) == maxOwners || l.owners.known == nil {
		l.owners.known = make(map[[sha256.Size]byte]string)
	}
	l.owners.known[l.token] = id
	l.owners.mu.Unlock()
	return records.GetUser(ctx, l.store, id)
}
