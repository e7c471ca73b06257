package edgeauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var assertionOptions = []string{"audience", "issuer", "lifetime"}

// unmarshalAssertion reads the option:
//
//	assertion [<header>] {
//		audience <name…>
//		lifetime <duration>
//		issuer   <text>
//	}
func (p *Policy) unmarshalAssertion(d *caddyfile.Dispenser) error {
	if p.Assertion != nil {
		return d.Err("assertion stands twice; once is enough")
	}
	a := new(Assertion)
	if d.NextArg() {
		a.Header = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); option {
		case "audience":
			err = words.Many(d, &a.Audience)
		case "lifetime":
			err = words.Duration(d, &a.Lifetime)
		case "issuer":
			err = words.One(d, &a.Issuer)
		default:
			err = words.Wrap(d, words.Unknown("option", option, assertionOptions))
		}
		if err != nil {
			return err
		}
	}
	p.Assertion = a
	return words.Wrap(d, a.check())
}
