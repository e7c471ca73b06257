// Package jwt authenticates by JSON Web Tokens (RFC 7519), as strictly as
// RFC 8725 asks. A token is one compact JWS in its one canonical spelling; what
// may sign it, and how, comes from the config and never from the token.
package jwt

import (
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator checks JWTs. With none of Issuer, Keys and JWKS it checks those
// that we sign ourselves. Several in one policy may read the same header: each
// token goes to the one that names its issuer, else to one that names none.
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

	// Typ are the values of the header's typ that are accepted, such as at+jwt
	// for access tokens by RFC 9068; then it must be there. "application/" may be
	// left out, and case does not count (RFC 7515, section 4.1.9). Default: JWT,
	// at+jwt, or none.
	Typ []string `json:"typ,omitempty"`

	// Leeway is how far clocks may differ when exp, nbf and iat are checked
	// (RFC 7519, section 4.1.4). Default: 0s. At most 5m.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// MaxLifetime is how far ahead exp may be: what is farther can't be meant, or
	// is in milliseconds. Default: 366d; for tokens of our own any time.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// Header that carries the token. Default: Authorization, or the preset's.
	Header string `json:"header,omitempty"`

	// Scheme are the words that may stand before the token in the header. The
	// first is the challenge. Default: Bearer in Authorization, none elsewhere.
	Scheme []string `json:"scheme,omitempty"`

	// Cookie that carries the token where the header is missing. A token there
	// that is not valid counts as none, since browsers send it unasked. Default:
	// none; for tokens of our own OwnCookie.
	Cookie string `json:"cookie,omitempty"`

	// Query is the query parameter that carries the token where header and cookie
	// are missing, for clients that can set neither. Addresses end up in logs and
	// histories: RFC 9700, section 4.3.2, forbids it. It is taken out of the
	// address before anything is logged or forwarded. Default: none.
	Query string `json:"query,omitempty"`

	// RequireClaims must all hold. One on token_type also admits the refresh and
	// sliding tokens that it names, which are refused else; one on at_hash admits
	// ID tokens.
	RequireClaims []RequiredClaim `json:"require_claims,omitempty"`

	// User is the path of the user id in the claims. Default: sub, or the preset's.
	User string `json:"user,omitempty"`

	// Claims are what else to take from the claims, beside name, email, groups
	// and scope or scp, and in place of what the preset takes.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Preset is an issuer's conventions: simplejwt, keycloak, auth0, entra,
	// cognito, google or cloudflare_access. See Presets.
	Preset string `json:"preset,omitempty"`

	// TokenTypeClaim is SimpleJWT's TOKEN_TYPE_CLAIM; "off" where that is None,
	// and then refresh tokens are not told apart. Default: token_type. Only with
	// the preset simplejwt.
	TokenTypeClaim string `json:"token_type_claim,omitempty"`

	// JTIClaim is SimpleJWT's JTI_CLAIM; "off" where that is None. Default: jti.
	// Only with the preset simplejwt.
	JTIClaim string `json:"jti_claim,omitempty"`

	// CheckRevoked asks the store whether the token, or all tokens of its user so
	// far, were revoked.
	CheckRevoked bool `json:"check_revoked,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	// MaxSize of a token, in bytes or with a unit. Default: 8KB.
	MaxSize string `json:"max_size,omitempty"`

	// CSRF is how requests are checked whose token is in the cookie.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	preset      preset
	issuers     []string
	sets        map[string]keys.Set // by issuer; "" for all
	algorithms  []string            // empty: all that fit the keys
	fits        []string            // algorithms that the keys may be for
	typ         []string            // without "application/", in lower case
	typeClaim   string              // that says what a token is for; empty: none must
	idClaim     string              // that names the token
	mapping     *identity.Mapping
	groups      []identity.Path // where the config does not say
	required    []requiredClaim
	maxSize     int
	maxLifetime time.Duration // 0: any
	own         bool          // tokens of our own issuing
	headers     authenticators.Headers
	rivals      bool // another one reads the same header
	shadowed    bool // and gets all that this one could take
	checkOrigin func(*http.Request) error
	store       store.Store // nil: revocations are not asked for
	trusted     sync.Map    // from the serials of keys to the sets that hold them
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
	defaultMaxSize     = 8 << 10
	defaultMaxLifetime = 366 * 24 * time.Hour
	maxLeeway          = 5 * time.Minute
	defaultHeader      = "Authorization"
	defaultScheme      = "Bearer"
)

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  authenticators.Namespace + ".jwt",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Warn tells at load of what is allowed and not safe.
func (a *Authenticator) Warn(logger *zap.Logger) {
	if a.Query != "" {
		logger.Warn("jwt: tokens are taken from the query of addresses, which histories, proxies and referrers keep; prefer a header or a cookie",
			zap.String("query", a.Query))
	}
	if a.shadowed {
		logger.Warn("jwt: another 'jwt' above, which reads the same header, takes all of this one's tokens; name an 'issuer' in each",
			zap.Strings("issuer", a.issuers))
	}
	if len(a.issuers) > 0 && len(a.Audience) == 0 {
		logger.Warn("jwt: no audience is demanded, so tokens that this issuer made for other applications are accepted; add 'audience <name>'",
			zap.Strings("issuer", a.issuers))
	}
}

var (
	_ caddy.Provisioner            = (*Authenticator)(nil)
	_ caddy.Validator              = (*Authenticator)(nil)
	_ authenticators.Authenticator = (*Authenticator)(nil)
	_ authenticators.Challenger    = (*Authenticator)(nil)
	_ authenticators.SchemeSharer  = (*Authenticator)(nil)
	_ authenticators.CookieGuard   = (*Authenticator)(nil)
	_ authenticators.Lasting       = (*Authenticator)(nil)
	_ authenticators.Warner        = (*Authenticator)(nil)
)
