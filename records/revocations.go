package records

import (
	"context"
	"errors"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// The keys of revocations, which must outlive what they revoke: those of tokens
// live as long as the token, those of users for good.
const (
	revokedJWTKey  = "revoked:jwt:"
	revokedUserKey = "revoked:user:"
)

// NameByID names a JWT by its issuer and jti (RFC 7519, section 4.1.7), which is
// unique only among those of one issuer.
func NameByID(issuer, id string) string { return digest("jti\x00" + issuer + "\x00" + id) }

// NameByInput names a JWT without jti by what was signed: its text before the
// second dot. Not by the whole text, since a signature may have two spellings.
func NameByInput(input string) string { return digest("jws\x00" + input) }

// NameByLogin names all JWTs that came of one login of ours, by its id (OpenID
// Connect Front-Channel Logout, section 3: sid).
func NameByLogin(id string) string { return digest("sid\x00" + id) }

// revokedToken says that a token ends before its time.
type revokedToken struct {
	form
}

// RevokeJWT ends the JWT of a name for good. lifetime is how long it would have
// lived.
func RevokeJWT(ctx context.Context, s store.Store, name string, lifetime time.Duration) error {
	if lifetime <= 0 {
		return errors.New("a token that has ended needs no revocation")
	}
	err := put(ctx, s, revokedJWTKey+name, revokedToken{}, lifetime)
	return err
}

// revokedUser says that what a user got before a time is not valid any more.
type revokedUser struct {
	form
	Before int64 `json:"before"` // seconds since 1970
}

func (r revokedUser) check() error {
	if r.Before <= 0 {
		return errors.New("a revocation of all before no time")
	}
	return r.form.check()
}

// RevokeBefore ends all logins of a user before a time. Tokens say when the user
// logged in by the second, so the whole second counts as before. It holds for
// good: opaque tokens need not end by themselves.
func RevokeBefore(ctx context.Context, s store.Store, user string, before time.Time) error {
	if err := checkOwner(user); err != nil {
		return err
	}
	err := put(ctx, s, revokedUserKey+user, revokedUser{Before: before.Unix() + 1}, 0)
	return err
}

// JWTRevoked reports whether the JWT of a name was revoked.
func JWTRevoked(ctx context.Context, s store.Store, name string) (bool, error) {
	var r revokedToken
	_, err := get(ctx, s, revokedJWTKey+name, &r)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// LoginRevoked reports whether a login of a user was revoked. The zero time is
// an unknown one, which is before any other.
func LoginRevoked(ctx context.Context, s store.Store, user string, login time.Time) (bool, error) {
	var r revokedUser
	_, err := get(ctx, s, revokedUserKey+user, &r)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && login.Before(time.Unix(r.Before, 0)), err
}
