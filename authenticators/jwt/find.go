package jwt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Find reads the token from the header; where that was not sent, from the
// cookie; where there is neither, from the query.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	c, err := a.headers.Find(r, a)
	if errors.Is(err, authenticators.ErrNoCredential) && !a.headers.Sent(r) {
		c, err = a.findElsewhere(r)
	}
	switch {
	case err == nil && len(c.Value) > a.maxSize: // before anything is computed from it
		if c.In == authenticators.InCookie {
			return c, authenticators.ErrNoCredential
		}
		return c, a.rejection(a.tooLong(c.Value))
	case err == nil, errors.Is(err, authenticators.ErrNoCredential):
		return c, err
	case errors.Is(err, authenticators.ErrCharacters):
		return c, a.rejection(invalid("%v", err))
	default:
		detail := "Authorization header must contain two space-delimited values" // SimpleJWT's words
		if !strings.EqualFold(c.Name, defaultHeader) {
			detail = c.Name + " must be sent once, with one token in it."
		}
		return c, &authenticators.RejectedError{
			Code: authenticators.CodeBadHeader, Detail: detail,
			Challenge: authenticators.Problem(a.Challenge(), "invalid_request", detail), Cause: err,
		}
	}
}

func (a *Authenticator) tooLong(token authenticators.Secret) *invalidError {
	return invalid("token of %d bytes; at most %d are read", len(token), a.maxSize)
}

func (a *Authenticator) findElsewhere(r *http.Request) (authenticators.Credential, error) {
	if a.Cookie != "" {
		value, err := authenticators.FromCookieExact(r, a.Cookie)
		if a.Query == "" || !errors.Is(err, authenticators.ErrNoCredential) {
			return authenticators.Credential{In: authenticators.InCookie, Name: a.Cookie, Value: value}, err
		}
	}
	if a.Query != "" {
		value, err := authenticators.FromQuery(r, a.Query)
		return authenticators.Credential{In: authenticators.InQuery, Name: a.Query, Value: value}, err
	}
	return authenticators.Credential{}, authenticators.ErrNoCredential
}

// Challenge asks for a bearer; empty where the token stands alone in a header.
func (a *Authenticator) Challenge() string {
	if a.Scheme[0] == "" {
		return ""
	}
	return a.Scheme[0] + ` realm="api"`
}

// SharedSchemes are where other tokens may travel too.
func (a *Authenticator) SharedSchemes() []string { return a.headers.SharedSchemes() }

// ShareScheme tells it who else reads a scheme.
func (a *Authenticator) ShareScheme(scheme string, sharing authenticators.Sharing) error {
	a.headers.ShareScheme(scheme, sharing)
	before := true
	for _, other := range sharing {
		rival, ok := other.(*Authenticator)
		if !ok {
			continue
		}
		if rival == a {
			before = false
			continue
		}
		a.rivals = true
		a.shadowed = a.shadowed || before && rival.takesAllOf(a)
		// Whoever can read the public keys must not be near to signing with one.
		for _, issuer := range a.issuers {
			if slices.Contains(rival.issuers, issuer) && a.bySecret() != rival.bySecret() {
				return fmt.Errorf("jwt: issuer '%s' with a shared secret (HS…) in one block and public keys in another; an issuer signs with one or the other", issuer)
			}
		}
	}
	return nil
}

// bySecret reports whether it is secrets that tokens are checked with.
func (a *Authenticator) bySecret() bool { return isSecret(a.fits[0]) }

// takesAllOf reports whether no token is left for b, which comes after it.
func (a *Authenticator) takesAllOf(b *Authenticator) bool {
	within := func(some, all []string) bool {
		return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
	}
	if len(a.issuers) > 0 || len(b.issuers) > 0 {
		return len(b.issuers) > 0 && within(b.issuers, a.issuers)
	}
	return within(b.fits, a.fits)
}

// How well a value suits an authenticator.
const (
	fitNot    = iota
	fitForm   // a JWT
	fitKeys   // of an algorithm that may be ours, where we name no issuer
	fitIssuer // of an issuer that we name
)

// Fit tells JWTs from opaque tokens, and, where several authenticators of JWTs
// read one header, by issuer. Nothing has been verified by then: a token that
// lies about its issuer is refused by whom it names.
func (a *Authenticator) Fit(value authenticators.Secret) int {
	switch {
	case !authenticators.LooksLikeJWT(value):
		return fitNot
	case !a.rivals || len(value) > a.maxSize:
		return fitForm
	}
	header, rest, _ := strings.Cut(value.Reveal(), ".")
	claims, _, _ := strings.Cut(rest, ".")
	if len(a.issuers) > 0 {
		if slices.Contains(a.issuers, peek(claims, "iss")) {
			return fitIssuer
		}
		return fitForm
	}
	if slices.Contains(a.fits, peek(header, "alg")) {
		return fitKeys
	}
	return fitForm
}

// peek reads one text of a part of a token, before it is known to be good.
// Empty: there is none.
func peek(part, name string) string {
	var buffer [1024]byte
	data, err := base64.RawURLEncoding.AppendDecode(buffer[:0], []byte(part))
	if err != nil {
		return ""
	}
	return identity.PeekText(data, name)
}

// CheckOrigin refuses the requests of other sites; see authenticators.CookieGuard.
func (a *Authenticator) CheckOrigin(r *http.Request) error {
	if a.checkOrigin == nil {
		return nil
	}
	return a.checkOrigin(r)
}
