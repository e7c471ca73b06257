package session

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var options = []string{
	"claim", "cookie", "csrf", "decode", "id_prefix", "key", "redis", "secret", "signature", "touch", "user",
}

// UnmarshalCaddyfile reads:
//
//	session [<preset>] {
//		cookie <name>
//		key <pattern>
//		secret <secret…>
//		signature <preset>
//		decode <format>
//		user <path>
//		claim <name> <path>
//		touch <duration>
//		csrf [off] { trusted_origins <origin…>; cookie <name>; header <name>; token off }
//		redis <url>
//		id_prefix <text>
//	}
func (a *Authenticator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the authenticator's name
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		a.Preset = args[0]
		if _, ok := presets[a.Preset]; !ok {
			return words.Wrap(d, words.Unknown("session preset", a.Preset, presetNames()))
		}
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
	case "cookie":
		return words.One(d, &a.Cookie)
	case "key":
		return words.One(d, &a.Key)
	case "decode":
		return words.One(d, &a.Decode)
	case "user":
		return words.One(d, &a.User)
	case "redis":
		return words.One(d, &a.Redis)
	case "id_prefix":
		return words.One(d, &a.IDPrefix)
	case "touch":
		return words.Duration(d, &a.Touch)
	case "claim":
		return authenticators.UnmarshalClaim(d, &a.Claims)
	case "csrf":
		return authenticators.UnmarshalCSRF(d, &a.CSRF)
	case "secret":
		return words.Many(d, &a.Secrets)
	case "signature":
		return words.One(d, &a.Signature)
	}
	return words.Wrap(d, words.Unknown("session option", d.Val(), options))
}

var _ caddyfile.Unmarshaler = (*Authenticator)(nil)
