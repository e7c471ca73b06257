package token

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var options = []string{"claim", "cookie", "csrf", "header", "id_prefix", "key", "redis", "scheme", "user"}

// UnmarshalCaddyfile reads:
//
//	token {
//		scheme <word…>
//		header <name>
//		cookie <name>
//		key <pattern>
//		user <path>
//		claim <name> <path>
//		redis <url>
//		id_prefix <text>
//		csrf [off] { trusted_origins <origin…> }
//	}
func (a *Authenticator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the authenticator's name
	if d.NextArg() {
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
	case "scheme":
		return words.Many(d, &a.Scheme)
	case "header":
		return words.One(d, &a.Header)
	case "cookie":
		return words.One(d, &a.Cookie)
	case "key":
		return words.One(d, &a.Key)
	case "user":
		return words.One(d, &a.User)
	case "redis":
		return words.One(d, &a.Redis)
	case "id_prefix":
		return words.One(d, &a.IDPrefix)
	case "claim":
		return authenticators.UnmarshalClaim(d, &a.Claims)
	case "csrf":
		return authenticators.UnmarshalCSRF(d, &a.CSRF)
	}
	return words.Wrap(d, words.Unknown("token option", d.Val(), options))
}

var _ caddyfile.Unmarshaler = (*Authenticator)(nil)
