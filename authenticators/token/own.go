package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// own are the tokens that Edge Auth made or imported.
type own struct {
	store    store.Store
	idPrefix string
	uses     *uses
	users    *owners
}

func newOwn(s store.Store, idPrefix string, logger *zap.Logger) *own {
	return &own{s, idPrefix, newUses(s, logger), new(owners)}
}

// find asks for the token, and then for its user, as Django REST framework does: who
// has been disabled or removed is out, and groups are those of today.
func (o *own) find(ctx context.Context, secret authenticators.Secret) (*identity.Identity, error) {
	look := o.users.lookUp(ctx, o.store, secret.Sum())
	defer look.end() // also when the look-up below panics
	token, err := records.FindToken(ctx, o.store, secret.Reveal())
	switch {
	case errors.Is(err, records.ErrMalformed), errors.Is(err, store.ErrNotFound):
		return nil, errUnknown
	case err != nil:
		return nil, fmt.Errorf("looking token up: %w", err)
	}
	user, err := look.user(ctx, token.User)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, inactive(errors.New("the token's user has no record"))
	case err != nil:
		return nil, fmt.Errorf("looking the token's user up: %w", err)
	case !user.Enabled():
		return nil, inactive(errors.New("the token's user is disabled"))
	}
	who := &identity.Identity{
		ID: o.idPrefix + token.User, Name: user.Name, Email: user.Email, Groups: user.Groups, Scopes: token.Scopes,
		Expires: token.Expires, AuthTime: token.Created,
	}
	if token.Groups != nil {
		who.Groups = token.Groups
	}
	if token.Label != "" {
		who.Claims = map[string]any{"token_name": token.Label}
	}
	if !identity.ValidID(who.ID) {
		return nil, &invalidError{identity.ErrNoUser}
	}
	store.ReadUntil(ctx, time.Now().Add(records.UseEvery)) // then it is to be noted again
	o.uses.note(token)                                     //nolint:contextcheck // it is written after the caller has gone
	return who, nil
}

func inactive(cause error) error {
	return &authenticators.RejectedError{
		Code: authenticators.CodeUserInactive, Detail: "User inactive or deleted.", Cause: cause,
	}
}
