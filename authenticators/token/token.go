// Package token authenticates by opaque tokens: our own, which the store keeps
// by their digests, those of another application in Redis, and those of an OAuth
// server, which is asked. The token itself is never stored, logged or put into an
// error.
package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator checks opaque tokens. Its words are those of Django REST
// framework's TokenAuthentication.
type Authenticator struct {
	// Scheme are the words that may stand before the token in Authorization.
	// The first is the challenge. Default: Token, unless Header or Cookie is set.
	Scheme []string `json:"scheme,omitempty"`

	// Header is one whose whole value is the token, such as X-API-Key.
	Header string `json:"header,omitempty"`

	// Cookie is the name of a cookie that holds the token. A token that is
	// unknown there counts as none, since browsers send old cookies unasked.
	Cookie string `json:"cookie,omitempty"`

	// Sources are where tokens are looked up, in this order: the first that knows a
	// token decides. Default: our own tokens in the store.
	Sources []Source `json:"sources,omitempty"`

	// User is the path of the user id in what a source says. Default: user in the
	// record of another application, sub in an answer of an OAuth server.
	User string `json:"user,omitempty"`

	// Claims are what else to take from it.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Redis is the URL of the Redis that the records of other applications are in.
	// Default: the store's.
	Redis string `json:"redis,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	// CSRF is how requests are checked whose token is in a cookie.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	lookUps     []lookUp
	longest     int // of the tokens that any of them can know, in bytes
	checkOrigin func(*http.Request) error
	headers     authenticators.Headers
}

// lookUp says whose a token is. errUnknown: it knows no such token. *invalidError,
// *authenticators.RejectedError: it does, and that is no way in.
type lookUp interface {
	find(ctx context.Context, token authenticators.Secret) (*identity.Identity, error)
}

// errUnknown says that a source knows no such token, so that the next is asked.
var errUnknown = errors.New("unknown token")

// invalidError says that a source knows a token that lets nobody in.
type invalidError struct{ cause error }

func (e *invalidError) Error() string { return e.cause.Error() }

const defaultScheme = "Token"

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  authenticators.Namespace + ".token",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision makes the sources ready.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	if len(a.Scheme) == 0 && a.Header == "" && a.Cookie == "" {
		a.Scheme = []string{defaultScheme}
	}
	for _, scheme := range a.Scheme {
		a.headers.Add("Authorization", scheme)
	}
	if a.Header != "" {
		a.headers.Add(a.Header, "")
	}
	var err error
	if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
		return err
	}
	for _, s := range a.sources() {
		l, err := s.lookUp(authenticators.HostOf(ctx), ctx.Logger())
		if err != nil {
			return err
		}
		a.lookUps = append(a.lookUps, l)
		a.longest = max(a.longest, s.longest())
	}
	return nil
}

// Validate refuses what can't be meant.
func (a *Authenticator) Validate() error { return a.check() }

func (a *Authenticator) check() error {
	for _, scheme := range a.Scheme {
		if scheme == "" || strings.ContainsAny(scheme, " \t,\"=") {
			return fmt.Errorf("token: scheme '%s': one word is needed, such as Token", scheme)
		}
	}
	if a.Header != "" {
		if err := identity.CheckName(a.Header); err != nil {
			return fmt.Errorf("token: header '%s': a name such as X-API-Key is needed; for Authorization set 'scheme'", a.Header)
		}
	}
	if err := a.CSRF.Check(); err != nil {
		return err
	}
	if a.CSRF != nil && a.Cookie == "" {
		return errors.New("token: csrf is for tokens in a cookie; name the 'cookie' too")
	}
	return a.checkSources()
}

// Find reads the token from Authorization, from its own header, or from its
// cookie, in this order.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	c, err := a.headers.Find(r, a)
	if a.Cookie != "" && errors.Is(err, authenticators.ErrNoCredential) {
		value, err := authenticators.FromCookie(r, a.Cookie)
		if err == nil && len(value) > a.longest {
			err = authenticators.ErrNoCredential
		}
		return authenticators.Credential{In: authenticators.InCookie, Name: a.Cookie, Value: value}, err
	}
	if err == nil && len(c.Value) > a.longest { // before anything is computed from it
		return c, a.asBearer("invalid_token", invalid(fmt.Errorf("token of %d bytes; at most %d are read", len(c.Value), a.longest)))
	}
	return c, a.asBearer("invalid_request", inWords(err))
}

// asBearer gives a rejection the challenge that names the problem, where the scheme is
// Bearer.
func (a *Authenticator) asBearer(problem string, err error) error {
	rejected, ok := errors.AsType[*authenticators.RejectedError](err)
	if !ok || !authenticators.IsBearer(a.Challenge()) {
		return err
	}
	named := *rejected
	named.Challenge = authenticators.Problem(a.Challenge(), problem, rejected.Detail)
	return &named
}

// inWords says what is wrong with a header as Django REST framework does.
func inWords(err error) error {
	var detail string
	switch {
	case err == nil, errors.Is(err, authenticators.ErrNoCredential):
		return err
	case errors.Is(err, authenticators.ErrNoValue):
		detail = "Invalid token header. No credentials provided."
	case errors.Is(err, authenticators.ErrCharacters):
		detail = "Invalid token header. Token string should not contain invalid characters."
	default: // sent twice, or several words
		detail = "Invalid token header. Token string should not contain spaces."
	}
	return &authenticators.RejectedError{Code: authenticators.CodeBadHeader, Detail: detail, Cause: err}
}

// Verify looks the token up.
func (a *Authenticator) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	who, err := a.find(ctx, c.Value)
	var bad *invalidError
	if errors.Is(err, errUnknown) || errors.As(err, &bad) {
		err = invalid(err)
	}
	var rejected *authenticators.RejectedError
	if c.In == authenticators.InCookie && errors.As(err, &rejected) {
		return nil, authenticators.ErrNoCredential
	}
	return who, a.asBearer("invalid_token", err)
}

// find asks the sources in their order. One that could not find out ends it: the
// token may be one that it would have turned away.
func (a *Authenticator) find(ctx context.Context, token authenticators.Secret) (*identity.Identity, error) {
	for _, l := range a.lookUps {
		who, err := l.find(ctx, token)
		if errors.Is(err, errUnknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		who.Method = "token"
		return who, nil
	}
	return nil, errUnknown
}

func invalid(cause error) error {
	return &authenticators.RejectedError{Code: authenticators.CodeNotValid, Detail: "Invalid token.", Cause: cause}
}

// Challenge asks for the first scheme; empty where there is none.
func (a *Authenticator) Challenge() string {
	switch {
	case len(a.Scheme) == 0:
		return ""
	case strings.EqualFold(a.Scheme[0], "Bearer"):
		return a.Scheme[0] + ` realm="api"`
	}
	return a.Scheme[0]
}

// SharedSchemes are where other kinds of token may travel too.
func (a *Authenticator) SharedSchemes() []string { return a.headers.SharedSchemes() }

// ShareScheme tells it who else reads a scheme. Nothing tells the opaque tokens of
// two authenticators apart, and the second would never be asked.
func (a *Authenticator) ShareScheme(scheme string, with authenticators.Sharing) error {
	for _, other := range with {
		if t, ok := other.(*Authenticator); ok && t != a {
			return fmt.Errorf("two 'token' authenticators read '%s', and the first would turn away the other's: put the lines of both into one, which are asked in their order, or give each a header or scheme of its own", scheme)
		}
	}
	a.headers.ShareScheme(scheme, with)
	return nil
}

// Fit leaves to others what looks like a JWT.
func (a *Authenticator) Fit(value authenticators.Secret) int {
	if authenticators.LooksLikeJWT(value) {
		return 0
	}
	return 1
}

// Holds says that what was read is all that counts; see authenticators.Lasting.
func (*Authenticator) Holds(uint64) bool { return true }

// CheckOrigin refuses the requests of other sites; see authenticators.CookieGuard.
func (a *Authenticator) CheckOrigin(r *http.Request) error {
	if a.checkOrigin == nil {
		return nil
	}
	return a.checkOrigin(r)
}

// Describe says whose ids these are; see authenticators.Describer.
func (a *Authenticator) Describe() authenticators.Description {
	d := authenticators.Description{Own: a.allOwn(), IDPrefix: a.IDPrefix, Header: a.Header, Cookie: a.Cookie}
	if d.Own {
		d.Lacks = []string{"amr", "claim"} // our records have no claims
	}
	return d
}

var (
	_ caddy.Provisioner            = (*Authenticator)(nil)
	_ caddy.Validator              = (*Authenticator)(nil)
	_ authenticators.Authenticator = (*Authenticator)(nil)
	_ authenticators.Challenger    = (*Authenticator)(nil)
	_ authenticators.SchemeSharer  = (*Authenticator)(nil)
	_ authenticators.Lasting       = (*Authenticator)(nil)
	_ authenticators.CookieGuard   = (*Authenticator)(nil)
	_ authenticators.Describer     = (*Authenticator)(nil)
	_ authenticators.Warner        = (*Authenticator)(nil)
)
