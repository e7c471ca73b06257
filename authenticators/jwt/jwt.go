// Package jwt authenticates by JSON Web Tokens (RFC 7519), as strictly as
// RFC 8725 asks. A token is one compact JWS in its one canonical spelling; what
// may sign it, and how, comes from the config and never from the token.
package jwt

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator checks JWTs. With none of Issuer, Keys and JWKS it checks those
// that we sign ourselves.
type Authenticator struct {
	// Issuer are the values of iss that are accepted. With neither Keys nor JWKS
	// each must be an address, below which the keys are found by OpenID Connect
	// discovery; a token is then checked with the keys of its own issuer only.
	Issuer []string `json:"issuer,omitempty"`

	// Audience are the values of aud that are accepted; one match is enough.
	// Default: aud is not looked at, which is warned about where there is an
	// issuer, since its tokens for other applications would do.
	Audience []string `json:"audience,omitempty"`

	// Keys are given one by one.
	Keys []KeyConfig `json:"keys,omitempty"`

	// JWKS is the address or file of a JWK Set (RFC 7517).
	JWKS string `json:"jwks,omitempty"`

	// Algorithms limits those that the keys allow. They are never taken from a
	// token. Default: all that fit the keys.
	Algorithms []string `json:"algorithms,omitempty"`

	// Leeway is how far clocks may differ when exp, nbf and iat are checked
	// (RFC 7519, section 4.1.4). Default: 0s. At most 5m.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// Header that carries the token. Default: Authorization.
	Header string `json:"header,omitempty"`

	// Scheme before the token in the header. Default: Bearer in Authorization,
	// none elsewhere.
	Scheme string `json:"scheme,omitempty"`

	// Cookie that carries the token where the header is missing. A token there
	// that is not valid counts as none, since browsers send it unasked.
	Cookie string `json:"cookie,omitempty"`

	// RequireClaims must all hold. One on token_type also admits the refresh and
	// sliding tokens that it names, which are refused else.
	RequireClaims []RequiredClaim `json:"require_claims,omitempty"`

	// User is the path of the user id in the claims. Default: sub.
	User string `json:"user,omitempty"`

	// Claims are what else to take from the claims, beside name, email, groups
	// and scope or scp.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Preset simplejwt takes the access tokens of djangorestframework-simplejwt:
	// user_id is the user, token_type must be access, jti must be there, and the
	// algorithm is HS256 unless a key or Algorithms says another.
	Preset string `json:"preset,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	// MaxSize of a token, in bytes or with a unit. Default: 8KB.
	MaxSize string `json:"max_size,omitempty"`

	// CSRF is how requests are checked whose token is in the cookie.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	sets        map[string]keys.Set // by issuer; "" for all
	algorithms  []string            // empty: all that fit the keys
	mapping     *identity.Mapping
	required    []requiredClaim
	maxSize     int
	own         bool // tokens of our own issuing
	shared      bool // another authenticator reads the same scheme
	checkOrigin func(*http.Request) error
	now         func() time.Time
}

// KeyConfig is one key.
type KeyConfig struct {
	// Algorithm the key is for, such as HS256 or RS256.
	Algorithm string `json:"algorithm"`

	// Value is the key itself (PEM, a JWK or JWK Set, or the text of a secret),
	// or a file that holds it: what begins with / or ./ or ../, or ends in .pem,
	// .jwk, .jwks, .json or .key. Files are read again when they change. Give
	// secrets by {env.NAME} or {file./path}; what comes from there is never taken
	// for a file's name.
	Value string `json:"value"`
}

// RequiredClaim is a claim that a token must have.
type RequiredClaim struct {
	// Path of the claim.
	Path string `json:"path"`

	// Values are those that will do; one match is enough, also in a list.
	// Default: any.
	Values []string `json:"values,omitempty"`
}

// requiredClaim is one that is ready to be checked.
type requiredClaim struct {
	RequiredClaim

	path identity.Path
}

const (
	defaultUser    = "sub"
	defaultMaxSize = 8 << 10
	maxLeeway      = 5 * time.Minute
	presetSimple   = "simplejwt"
	defaultHeader  = "Authorization"
	defaultScheme  = "Bearer"
)

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  authenticators.Namespace + ".jwt",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision reads the keys that are here, and prepares for those that are not.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	a.now, a.required = time.Now, nil
	if a.Header == "" {
		a.Header = defaultHeader
	}
	if a.Scheme == "" && strings.EqualFold(a.Header, defaultHeader) {
		a.Scheme = defaultScheme
	}
	user := cmp.Or(a.User, defaultUser)
	a.algorithms = a.Algorithms
	if a.Preset == presetSimple {
		user = cmp.Or(a.User, "user_id")
		if len(a.algorithms) == 0 && len(a.Keys) == 0 {
			a.algorithms = []string{"HS256"}
		}
	}
	a.maxSize, _ = parseSize(a.MaxSize)
	var err error
	if a.mapping, err = identity.NewMapping(user, a.Claims, a.IDPrefix); err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	for _, claim := range a.RequireClaims {
		path, err := identity.ParsePath(claim.Path)
		if err != nil {
			return fmt.Errorf("jwt: require_claim: %w", err)
		}
		a.required = append(a.required, requiredClaim{claim, path})
	}
	if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
		return err
	}
	return a.provisionKeys(authenticators.HostOf(ctx), ctx.Logger())
}

// Warn tells at load of an issuer whose tokens for other applications would do.
func (a *Authenticator) Warn(logger *zap.Logger) {
	if len(a.Issuer) > 0 && len(a.Audience) == 0 {
		logger.Warn("jwt: no audience is demanded, so tokens that this issuer made for other applications are accepted; add 'audience <name>'",
			zap.Strings("issuer", a.Issuer))
	}
}

var (
	_ caddy.Provisioner            = (*Authenticator)(nil)
	_ caddy.Validator              = (*Authenticator)(nil)
	_ authenticators.Authenticator = (*Authenticator)(nil)
	_ authenticators.Challenger    = (*Authenticator)(nil)
	_ authenticators.SchemeSharer  = (*Authenticator)(nil)
	_ authenticators.CookieGuard   = (*Authenticator)(nil)
	_ authenticators.Warner        = (*Authenticator)(nil)
)
