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
	guess  string // empty: none
	found  chan foundRecord
}

type foundRecord struct {
	user records.User
	err  error
}

// lookUp asks for the record of the user whose a token was the last time.
func (o *owners) lookUp(ctx context.Context, s store.Store, token [sha256.Size]byte) *ownerLookUp {
	l := &ownerLookUp{owners: o, store: s, token: token}
	o.mu.Lock()
	l.guess = o.known[token]
	o.mu.Unlock()
	if l.guess != "" {
		l.found = make(chan foundRecord, 1)
		go func() {
			defer func() { // what panics here would end the process
				if cause := recover(); cause != nil {
					l.found <- foundRecord{err: fmt.Errorf("looking the token's user up: %w", panics.Error(cause))}
				}
			}()
			user, err := records.GetUser(ctx, s, l.guess)
			l.found <- foundRecord{user, err}
		}()
	}
	return l
}

// end waits for a record that nobody needs, so that no look-up outlives its request.
func (l *ownerLookUp) end() {
	if l.found != nil {
		<-l.found
	}
}

// user returns the record of the token's user, as records.GetUser does.
func (l *ownerLookUp) user(ctx context.Context, id string) (records.User, error) {
	if l.guess == id {
		found := <-l.found
		return found.user, found.err
	}
	l.owners.mu.Lock()
	if len(l.owners.known) == maxOwners || l.owners.known == nil {
		l.owners.known = make(map[[sha256.Size]byte]string)
	}
	l.owners.known[l.token] = id
	l.owners.mu.Unlock()
	return records.GetUser(ctx, l.store, id)
}
