package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// ErrLogin says that nobody may log in with a name and a password. It wraps the
// reason, which is for the log: who asks must not learn it.
var ErrLogin = errors.New("no login")

// ErrUnknownUser is an ErrLogin: nobody has that name.
var ErrUnknownUser = fmt.Errorf("%w: unknown user", ErrLogin)

// ErrDisabled is an ErrLogin: the user may not come in any more.
var ErrDisabled = fmt.Errorf("%w: user is disabled", ErrLogin)

var errWrongPassword = fmt.Errorf("%w: wrong password", ErrLogin)

// LogIn checks the password of a user. It costs the same whether there is such a
// user. ErrLogin: unknown, disabled, or a wrong password. Any other error: it
// could not find out.
func LogIn(ctx context.Context, s store.Store, verifier *passwords.Verifier, name, given string) (User, error) {
	user, hash, err := login(ctx, s, name)
	if err != nil {
		return User{}, fmt.Errorf("looking user up: %w", err)
	}
	known := hash != ""
	if !known {
		if hash, err = unknownUser(ctx, s, name); err != nil {
			return User{}, fmt.Errorf("looking user up: %w", err)
		}
	}
	ok, err := verifier.Verify(ctx, name, given, hash)
	switch {
	case err != nil:
		return User{}, fmt.Errorf("checking password: %w", err)
	case !known:
		return User{}, ErrUnknownUser
	case !ok:
		return User{}, errWrongPassword
	case !user.Enabled():
		return User{}, ErrDisabled
	}
	upgrade(ctx, s, verifier, name, given, hash)
	return user, nil
}

// login returns a user and their password's hash; empty if there is no such user.
func login(ctx context.Context, s store.Store, name string) (User, string, error) {
	user, err := GetUser(ctx, s, name)
	var hash string
	if err == nil {
		hash, err = PasswordHash(ctx, s, name)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return User{}, "", nil
	case err != nil:
		return User{}, "", err
	}
	return user, hash, passwords.Check(hash)
}

// upgrade replaces a hash that is weaker than new ones, now that the password is
// known. It ends nobody's sessions, and never undoes a change of the password
// made meanwhile. Where it fails, the next login tries again.
func upgrade(ctx context.Context, s store.Store, verifier *passwords.Verifier, name, given, hash string) {
	if !passwords.Outdated(hash) {
		return
	}
	better, err := verifier.Renew(ctx, name, given, hash)
	if err != nil {
		return
	}
	old, _ := json.Marshal(password{Hash: hash})
	upgraded, _ := json.Marshal(password{Hash: better})
	_ = s.Swap(ctx, passwordKey+name, old, upgraded, 0)
}
