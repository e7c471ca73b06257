// Package token authenticates by opaque tokens: our own, which the store keeps
// by their digests, or those of another application in Redis. The token itself
// is never stored, logged or put into an error.
package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
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

	// Key is the Redis key of another application's tokens, with {token} or
	// {sha256} (the token's SHA-256 in hex). With {token} only tokens of A-Z a-z
	// 0-9 and - _ . ~ + / = are looked up, and with / only where the key has none
	// itself, so that no token leads out of the pattern. The value is a JSON
	// object, or the user id alone. Default: our own tokens in the store.
	Key string `json:"key,omitempty"`

	// User is the path of the user id in that JSON object; then the value must be
	// one. Default: user.
	User string `json:"user,omitempty"`

	// Claims are what else to take from it.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Redis is the URL of the Redis that Key is in. Default: the store's.
	Redis string `json:"redis,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	// CSRF is how requests are checked whose token is in a cookie.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	store       store.Store
	foreign     store.Reader // nil: our own tokens
	pattern     foreign.Pattern
	mapping     *identity.Mapping
	checkOrigin func(*http.Request) error
	headers     authenticators.Headers
}

const (
	defaultScheme = "Token"
	defaultUser   = "user"
)

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  authenticators.Namespace + ".token",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision finds the store, or the Redis of the other application.
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
	host := authenticators.HostOf(ctx)
	a.store = host.Store()
	var err error
	if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
		return err
	}
	if a.Key == "" {
		return nil
	}
	if a.pattern, err = foreign.ParsePattern(a.Key, "token", "sha256"); err != nil {
		return err
	}
	if a.mapping, err = identity.NewMapping(cmp.Or(a.User, defaultUser), a.Claims, a.IDPrefix); err != nil {
		return err
	}
	a.foreign, err = host.Foreign(a.Redis, a.pattern.Prefix())
	return err
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
	if a.IDPrefix != "" && !identity.ValidID(a.IDPrefix+"a") {
		return fmt.Errorf("token: id_prefix '%s': no control characters and no blank at the start, please", a.IDPrefix)
	}
	if a.Key == "" {
		if a.User != "" || len(a.Claims) > 0 || a.Redis != "" {
			return errors.New("token: user, claim and redis are for the tokens of another application; name their 'key' too")
		}
		return nil
	}
	if _, err := foreign.ParsePattern(a.Key, "token", "sha256"); err != nil {
		return err
	}
	_, err := identity.NewMapping(cmp.Or(a.User, defaultUser), a.Claims, a.IDPrefix)
	return err
}

// Find reads the token from Authorization, from its own header, or from its
// cookie, in this order.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	c, err := a.headers.Find(r, a)
	if a.Cookie != "" && errors.Is(err, authenticators.ErrNoCredential) {
		value, err := authenticators.FromCookie(r, a.Cookie)
		return authenticators.Credential{In: authenticators.InCookie, Name: a.Cookie, Value: value}, err
	}
	return c, inWords(err)
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
	lookUp := a.own
	if a.foreign != nil {
		lookUp = a.others
	}
	who, err := lookUp(ctx, c.Value)
	var rejected *authenticators.RejectedError
	if c.In == authenticators.InCookie && errors.As(err, &rejected) {
		return nil, authenticators.ErrNoCredential
	}
	return who, err
}

func (a *Authenticator) own(ctx context.Context, secret authenticators.Secret) (*identity.Identity, error) {
	token, err := records.FindToken(ctx, a.store, secret.Reveal())
	switch {
	case errors.Is(err, records.ErrMalformed), errors.Is(err, store.ErrNotFound):
		return nil, invalid(err)
	case err != nil:
		return nil, fmt.Errorf("looking token up: %w", err)
	}
	who := &identity.Identity{
		ID: a.IDPrefix + token.User, Groups: token.Groups, Scopes: token.Scopes,
		Method: "token", Expires: token.Expires, AuthTime: token.Created,
	}
	if token.Label != "" {
		who.Claims = map[string]any{"token_name": token.Label}
	}
	if !identity.ValidID(who.ID) {
		return nil, invalid(identity.ErrNoUser)
	}
	return who, nil
}

func (a *Authenticator) others(ctx context.Context, secret authenticators.Secret) (*identity.Identity, error) {
	key, err := a.keyOf(secret)
	if err != nil {
		return nil, invalid(err)
	}
	record, err := a.foreign.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrWrongType):
		return nil, invalid(err)
	case err != nil:
		return nil, fmt.Errorf("looking token up: %w", err)
	}
	who, err := a.identify(record.Value)
	if err != nil {
		return nil, invalid(err)
	}
	who.Method = "token"
	return who, nil
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

// ShareScheme tells it who else reads a scheme.
func (a *Authenticator) ShareScheme(scheme string, with authenticators.Sharing) error {
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
	return authenticators.Description{Own: a.Key == "", IDPrefix: a.IDPrefix, Header: a.Header, Cookie: a.Cookie}
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
)
