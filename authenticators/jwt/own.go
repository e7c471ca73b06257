package jwt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// OwnCookie is the cookie that the issuer gives access tokens in. Its prefix
// binds it to one host, and to HTTPS (RFC 6265bis, section 4.1.3.2).
const OwnCookie = "__Host-access_token"

// Verifier checks our own tokens for what issues them, as strictly as an
// Authenticator does; but what a token is for, and whose it is, is left to
// the caller.
type Verifier struct{ a Authenticator }

// NewVerifier checks with the keys of a set. now is the clock, such
// as time.Now.
func NewVerifier(set keys.Set, now func() time.Time) *Verifier {
	return &Verifier{Authenticator{sets: map[string]keys.Set{"": set}, maxSize: defaultMaxSize, now: now, Scheme: []string{defaultScheme}}}
}

// Claims returns what a token says, if it is well-formed, signed by us, and not
// expired. *authenticators.RejectedError: it is not, and its first message has
// SimpleJWT's words for why. Any other error: it could not find out.
func (v *Verifier) Claims(ctx context.Context, token string) (map[string]any, error) {
	claims, err := v.claims(ctx, token)
	if why, ok := errors.AsType[*invalidError](err); ok {
		return nil, v.a.rejection(why)
	}
	return claims, err
}

func (v *Verifier) claims(ctx context.Context, token string) (map[string]any, error) {
	if len(token) > v.a.maxSize {
		return nil, invalid("token of %d bytes; at most %d are read", len(token), v.a.maxSize)
	}
	t, err := v.a.open(ctx, token)
	if err != nil {
		return nil, err
	}
	_, err = v.a.checkTimes(t.claims)
	return t.claims, err
}

// CheckType refuses a token that is not for what kind says, in SimpleJWT's words.
func (v *Verifier) CheckType(claims map[string]any, kind string) error {
	switch got, given := claims["token_type"]; {
	case !given:
		return v.a.rejection(&invalidError{"no token_type", "Token has no type"})
	case got != kind:
		return v.a.rejection(&invalidError{fmt.Sprintf("token_type is not %s", kind), "Token has wrong type"})
	}
	return nil
}

// Refuse is the rejection of a token for a reason, with SimpleJWT's words.
func (v *Verifier) Refuse(reason, message string) *authenticators.RejectedError {
	return v.a.rejection(&invalidError{reason, message})
}
