package jwt

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

var options = []string{
	"algorithms", "audience", "check_revoked", "claim", "cookie", "csrf", "header", "id_prefix", "issuer", "jti_claim",
	"jwks", "key", "leeway", "max_lifetime", "max_size", "preset", "query", "require_claim", "token_type_claim", "typ", "user",
}

// UnmarshalCaddyfile reads:
//
//	jwt [<issuer>] {
//		issuer <url…>
//		audience <name…>
//		key <alg> <value or file>
//		jwks <url or file>
//		algorithms <alg…>
//		typ <type…>
//		leeway <duration>
//		max_lifetime <duration>
//		max_size <size>
//		header <name> [<scheme…>]
//		cookie <name>
//		query <name>
//		require_claim <path> [<value…>]
//		user <path>
//		claim <name> <path>
//		preset <name>
//		token_type_claim <name>|off
//		jti_claim <name>|off
//		check_revoked
//		id_prefix <text>
//		csrf [off] { trusted_origins <origin…> }
//	}
func (a *Authenticator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the authenticator's name
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		a.Issuer = args
	default:
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := a.unmarshalOption(d); err != nil {
			return err
		}
	}
	return words.Wrap(d, a.check())
}

func (a *Authenticator) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "issuer":
		return words.Many(d, &a.Issuer)
	case "audience":
		return words.Many(d, &a.Audience)
	case "algorithms":
		return words.Many(d, &a.Algorithms)
	case "jwks":
		return a.unmarshalJWKS(d)
	case "cookie":
		return words.One(d, &a.Cookie)
	case "query":
		return words.One(d, &a.Query)
	case "typ":
		return words.Many(d, &a.Typ)
	case "token_type_claim":
		return words.One(d, &a.TokenTypeClaim)
	case "jti_claim":
		return words.One(d, &a.JTIClaim)
	case "max_lifetime":
		return words.Duration(d, &a.MaxLifetime)
	case "check_revoked":
		return words.Flag(d, &a.CheckRevoked)
	case "user":
		return words.One(d, &a.User)
	case "preset":
		return words.One(d, &a.Preset)
	case "id_prefix":
		return words.One(d, &a.IDPrefix)
	case "max_size":
		return words.One(d, &a.MaxSize)
	case "leeway":
		return a.unmarshalLeeway(d)
	case "key":
		return a.unmarshalKey(d)
	case "header":
		return a.unmarshalHeader(d)
	case "require_claim":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		a.RequireClaims = append(a.RequireClaims, RequiredClaim{Path: args[0], Values: args[1:]})
		return nil
	case "claim":
		return authenticators.UnmarshalClaim(d, &a.Claims)
	case "csrf":
		return authenticators.UnmarshalCSRF(d, &a.CSRF)
	}
	return words.Wrap(d, words.Unknown("jwt option", d.Val(), options))
}

func (a *Authenticator) unmarshalKey(d *caddyfile.Dispenser) error {
	var key KeyConfig
	if !d.AllArgs(&key.Algorithm, &key.Value) {
		return d.ArgErr()
	}
	a.Keys = append(a.Keys, key)
	if err := (&Authenticator{Keys: []KeyConfig{key}}).check(); err != nil || key.hasPlaceholder() {
		return words.Wrap(d, err)
	}
	// Read here too, so that a key that can't be used is told with its line.
	if _, _, err := key.load(zap.NewNop()); err != nil {
		return words.Wrap(d, fmt.Errorf("jwt: %w", err))
	}
	return nil
}

func (a *Authenticator) unmarshalJWKS(d *caddyfile.Dispenser) error {
	if err := words.One(d, &a.JWKS); err != nil || isURL(a.JWKS) || strings.Contains(a.JWKS, "{") {
		return err
	}
	if _, err := keys.OpenFile(a.JWKS, readSet, zap.NewNop()); err != nil {
		return words.Wrap(d, fmt.Errorf("jwt: %w", err))
	}
	return nil
}

func (a *Authenticator) unmarshalHeader(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	if a.Header != "" {
		return d.Err("header stands twice; once is enough")
	}
	a.Header, a.Scheme = args[0], args[1:]
	return nil
}

// unmarshalLeeway takes what words.Duration does, and zero.
func (a *Authenticator) unmarshalLeeway(d *caddyfile.Dispenser) error {
	var text string
	if err := words.One(d, &text); err != nil {
		return err
	}
	if a.Leeway != 0 {
		return d.Err("leeway stands twice; once is enough")
	}
	leeway, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("leeway %s: a duration such as 10s is needed", text)
	}
	a.Leeway = caddy.Duration(leeway)
	return words.Wrap(d, a.checkBounds())
}

var _ caddyfile.Unmarshaler = (*Authenticator)(nil)
