package edgeauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// The values of Policy.CheckUser.
const (
	checkUserOn     = "on"
	checkUserStrict = "strict"
)

// djangoHash is the claim of a Django session that ends when the user's
// password changes.
const djangoHash = "_auth_user_hash"

// checkUser looks up whether the caller is still welcome. A credential says who
// logged in, not whether that user has been disabled since. What the record says is
// put into who.
func (p *Policy) checkUser(ctx context.Context, who *identity.Identity) error {
	revoked, err := records.LoginRevoked(ctx, p.app.Store(), who.ID, who.AuthTime)
	if err != nil {
		return fmt.Errorf("looking for a revocation: %w", err)
	}
	if revoked {
		return inactive(errors.New("logged in before all logins were revoked"))
	}
	user, err := records.GetUser(ctx, p.app.Store(), who.ID)
	if errors.Is(err, store.ErrNotFound) {
		if p.CheckUser == checkUserStrict {
			return inactive(errors.New("no user record"))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking user up: %w", err)
	}
	if err := stillWelcome(user, who); err != nil {
		return inactive(err)
	}
	complete(who, user)
	return nil
}

func inactive(cause error) error {
	return &authenticators.RejectedError{
		Code: authenticators.CodeUserInactive, Detail: "User inactive or deleted.", Cause: cause,
	}
}

func stillWelcome(user records.User, who *identity.Identity) error {
	if !user.Enabled() {
		return errors.New("user is disabled")
	}
	if !user.NotBefore.IsZero() && (who.AuthTime.IsZero() || who.AuthTime.Before(user.NotBefore)) {
		return errors.New("logged in before the user's not_before")
	}
	hash, ok := who.Claims[djangoHash].(string)
	if ok && user.AuthHash != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(user.AuthHash)) != 1 {
		return errors.New("password changed since")
	}
	return nil
}

// complete lets the record's fields take the place of the credential's, which
// are as old as the login.
func complete(who *identity.Identity, user records.User) {
	if user.Name != "" {
		who.Name = user.Name
	}
	if user.Email != "" {
		who.Email = user.Email
	}
	if user.Groups != nil {
		who.Groups = user.Groups
	}
}
