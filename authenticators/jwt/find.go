package jwt

import (
	"errors"
	"net/http"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// Find reads the token from the header, and where there is none of that name,
// from the cookie.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	value, err := authenticators.FromHeader(r, a.Header, a.Scheme)
	if err == nil && a.shared && !authenticators.LooksLikeJWT(value) {
		err = authenticators.ErrNoCredential
	}
	header := authenticators.Credential{In: authenticators.InHeader, Name: a.Header, Value: value}
	switch {
	case err == nil:
		return header, nil
	case !errors.Is(err, authenticators.ErrNoCredential):
		return header, &authenticators.RejectedError{
			Code: authenticators.CodeBadHeader, Detail: "Authorization header must contain two space-delimited values",
			Challenge: a.challenge("invalid_request"), Cause: err,
		}
	case a.Cookie == "" || len(r.Header[http.CanonicalHeaderKey(a.Header)]) > 0:
		return authenticators.Credential{}, err
	}
	value, err = authenticators.FromCookie(r, a.Cookie)
	return authenticators.Credential{In: authenticators.InCookie, Name: a.Cookie, Value: value}, err
}

// Challenge asks for a bearer; empty where the token stands alone in a header.
func (a *Authenticator) Challenge() string { return a.challenge("") }

// challenge names what was wrong with the last token (RFC 6750, section 3.1).
func (a *Authenticator) challenge(problem string) string {
	if a.Scheme == "" {
		return ""
	}
	text := a.Scheme + ` realm="api"`
	if problem != "" {
		text += `, error="` + problem + `"`
	}
	return text
}

// SharedScheme is the scheme that an opaque token may travel under too.
func (a *Authenticator) SharedScheme() string {
	if a.Scheme == "" {
		return ""
	}
	return strings.ToLower(a.Header + " " + a.Scheme)
}

// ShareScheme leaves values that don't look like a JWT to others.
func (a *Authenticator) ShareScheme() { a.shared = true }

// CheckOrigin refuses the requests of other sites; see authenticators.CookieGuard.
func (a *Authenticator) CheckOrigin(r *http.Request) error {
	if a.checkOrigin == nil {
		return nil
	}
	return a.checkOrigin(r)
}
