// Package jwt authenticates by JSON Web Tokens (RFC 7519), as strictly as
// RFC 8725 asks. A token is one compact JWS in its one canonical spelling; what
// may sign it, and how, comes from the config and never from the token.
package jwt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
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

	// Algorithms limits those that the keys allow.
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

	// RequireClaims must all hold.
	RequireClaims []RequiredClaim `json:"require_claims,omitempty"`

	// User is the path of the user id in the claims. Default: sub.
	User string `json:"user,omitempty"`

	// Claims are what else to take from the claims, beside name, email, groups
	// and scope or scp.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Preset simplejwt takes the access tokens of djangorestframework-simplejwt:
	// user_id is the user, token_type must be access, jti must be there.
	Preset string `json:"preset,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	// MaxSize of a token, in bytes or with a unit. Default: 8KB.
	MaxSize string `json:"max_size,omitempty"`

	// CSRF is how requests are checked whose token is in the cookie.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	sets        map[string]keys.Set // by issuer; "" for all
	mapping     *identity.Mapping
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
	// .jwk, .jwks, .json or .key. Give secrets by {env.NAME} or {file./path}.
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
	a.now = time.Now
	if a.Header == "" {
		a.Header = defaultHeader
	}
	if a.Scheme == "" && strings.EqualFold(a.Header, defaultHeader) {
		a.Scheme = defaultScheme
	}
	user := cmp.Or(a.User, defaultUser)
	if a.Preset == presetSimple {
		user = cmp.Or(a.User, "user_id")
	}
	a.maxSize, _ = parseSize(a.MaxSize)
	var err error
	if a.mapping, err = identity.NewMapping(user, a.Claims, a.IDPrefix); err != nil {
		return err
	}
	if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
		return err
	}
	return a.provisionKeys(authenticators.HostOf(ctx), ctx.Logger())
}

func (a *Authenticator) provisionKeys(host authenticators.Host, logger *zap.Logger) error {
	a.sets = make(map[string]keys.Set)
	switch {
	case len(a.Keys) > 0:
		set, err := a.configuredKeys(logger)
		a.sets[""] = set
		return err
	case a.JWKS != "" && isURL(a.JWKS):
		set, err := host.KeySet(a.JWKS)
		a.sets[""] = set
		return err
	case a.JWKS != "":
		set, err := keys.OpenFile(a.JWKS, func(data []byte) ([]*keys.Key, error) { return keys.Read(data, "") }, logger)
		a.sets[""] = set
		return err
	case len(a.Issuer) > 0:
		for _, issuer := range a.Issuer {
			set, err := host.KeySet(keys.DiscoveryURL(issuer))
			if err != nil {
				return fmt.Errorf("jwt: issuer '%s': %w", issuer, err)
			}
			a.sets[issuer] = set
		}
		return nil
	}
	a.own = true
	a.sets[""] = host.SigningKeys()
	return nil
}

// configuredKeys reads the keys that stand in the config or in files.
func (a *Authenticator) configuredKeys(logger *zap.Logger) (keys.Set, error) {
	var all keySets
	secrets := 0
	for _, c := range a.Keys {
		if c.secret() {
			secrets++
		}
		value, err := caddy.NewReplacer().ReplaceOrErr(c.Value, true, true)
		if err != nil {
			return nil, fmt.Errorf("jwt: %s key: %w", c.Algorithm, err)
		}
		parse := func(data []byte) ([]*keys.Key, error) {
			if c.secret() {
				return keys.ReadSecret(data, c.Algorithm)
			}
			return keys.Read(data, c.Algorithm)
		}
		if isFile(value) {
			set, err := keys.OpenFile(value, parse, logger)
			if err != nil {
				return nil, fmt.Errorf("jwt: %w", err)
			}
			all = append(all, set)
			continue
		}
		list, err := parse([]byte(value))
		if err != nil {
			return nil, fmt.Errorf("jwt: %w", err)
		}
		all = append(all, keys.Static(list))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// secret reports whether the key is shared with whoever signs.
func (c KeyConfig) secret() bool { return strings.HasPrefix(c.Algorithm, "HS") }

// keySets are several sets that are one.
type keySets []keys.Set

// Find collects what fits from each.
func (s keySets) Find(ctx context.Context, kid, alg string) ([]*keys.Key, error) {
	var all []*keys.Key
	for _, set := range s {
		found, err := set.Find(ctx, kid, alg)
		if err != nil && !errors.Is(err, keys.ErrNoKey) {
			return nil, err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, keys.ErrNoKey
	}
	return all, nil
}

func isURL(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}

func isFile(value string) bool {
	if strings.ContainsAny(value, "\n{") {
		return false
	}
	for _, prefix := range []string{"/", "./", "../"} {
		if strings.HasPrefix(value, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".pem", ".jwk", ".jwks", ".json", ".key"} {
		if strings.HasSuffix(value, suffix) {
			return true
		}
	}
	return false
}

// Validate refuses what can't be meant.
func (a *Authenticator) Validate() error { return a.check() }

func (a *Authenticator) check() error {
	switch {
	case a.Leeway < 0 || time.Duration(a.Leeway) > maxLeeway:
		return fmt.Errorf("jwt: leeway of %v; 0s to %v would do", time.Duration(a.Leeway), maxLeeway)
	case len(a.Keys) > 0 && a.JWKS != "":
		return errors.New("jwt: either 'key' or 'jwks'")
	case a.Preset != "" && a.Preset != presetSimple:
		return fmt.Errorf("jwt: %w", words.Unknown("preset", a.Preset, []string{presetSimple}))
	case a.Preset == presetSimple && len(a.Keys) == 0 && a.JWKS == "":
		return errors.New("jwt: preset simplejwt needs the 'key' that Django signs with, such as: key HS256 {env.SIGNING_KEY}")
	case strings.ContainsAny(a.Scheme, " \t,\""):
		return fmt.Errorf("jwt: scheme '%s': one word is needed, such as Bearer", a.Scheme)
	case slices.Contains(a.Audience, "") || slices.Contains(a.Issuer, ""):
		return errors.New("jwt: an issuer or audience is empty; name one, or leave it out")
	}
	if a.Header != "" && !strings.EqualFold(a.Header, defaultHeader) && identity.CheckName(a.Header) != nil {
		return fmt.Errorf("jwt: header '%s': a name such as X-Token is needed", a.Header)
	}
	if err := a.checkKeys(); err != nil {
		return err
	}
	for _, claim := range a.RequireClaims {
		if _, err := identity.ParsePath(claim.Path); err != nil {
			return fmt.Errorf("jwt: require_claim: %w", err)
		}
	}
	if _, err := identity.NewMapping(cmp.Or(a.User, defaultUser), a.Claims, a.IDPrefix); err != nil {
		return err
	}
	if _, err := parseSize(a.MaxSize); err != nil {
		return err
	}
	return a.CSRF.Check()
}

func (a *Authenticator) checkKeys() error {
	kinds := make(map[bool]bool)
	for _, c := range a.Keys {
		if err := keys.CheckAlgorithm(c.Algorithm); err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
		kinds[c.secret()] = true
		if err := c.checkValue(); err != nil {
			return err
		}
	}
	if len(kinds) > 1 {
		return errors.New("jwt: a shared secret (HS…) and public keys in one authenticator; give each a 'jwt' of its own")
	}
	for _, alg := range a.Algorithms {
		if err := keys.CheckAlgorithm(alg); err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
	}
	switch {
	case a.JWKS != "" && isURL(a.JWKS):
		if err := keys.CheckURL(a.JWKS); err != nil {
			return fmt.Errorf("jwt: jwks '%s': %w", a.JWKS, err)
		}
	case len(a.Keys) == 0 && a.JWKS == "":
		for _, issuer := range a.Issuer {
			if err := keys.CheckURL(issuer); err != nil {
				return fmt.Errorf("jwt: issuer '%s' without a key: its keys are looked up below it: %w", issuer, err)
			}
		}
	}
	return nil
}

// checkValue reads a key that stands in the config or in a file.
func (c KeyConfig) checkValue() error {
	if strings.HasPrefix(c.Value, "{env.") || strings.HasPrefix(c.Value, "{file.") || strings.HasPrefix(c.Value, "{$") {
		return nil // a placeholder, known when it runs
	}
	data := []byte(c.Value)
	if isFile(c.Value) {
		var err error
		if data, err = os.ReadFile(c.Value); err != nil {
			return fmt.Errorf("jwt: %s key: %w", c.Algorithm, err)
		}
	}
	read := keys.Read
	if c.secret() {
		read = keys.ReadSecret
	}
	if _, err := read(data, c.Algorithm); err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	return nil
}

func parseSize(text string) (int, error) {
	if text == "" {
		return defaultMaxSize, nil
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size < 256 || size > 1<<20 {
		return 0, fmt.Errorf("jwt: max_size '%s': 256B to 1MB would do, such as 8KB", text)
	}
	return int(size), nil
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
