package issuer

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var options = []string{
	"access_lifetime", "audience", "deliver", "issuer", "jwks", "jwt", "login_rate", "refresh_lifetime", "rotate_refresh", "token", "trusted_origins",
}

// UnmarshalCaddyfile reads:
//
//	edge_auth_issuer [<matcher>] {
//		jwt   [<path>]
//		token [<path>] {
//			lifetime <duration>
//			single
//		}
//		jwks  [<path>]
//		issuer           <url>
//		audience         <name…>
//		access_lifetime  <duration>
//		refresh_lifetime <duration>
//		rotate_refresh   [off]
//		deliver          body|cookie
//		trusted_origins  <origin…>
//		login_rate       <attempts> <duration>
//	}
func (i *Issuer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	pair := new(JWT) // options of it may stand before the word jwt, or without it
	used := false
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		ofPair, err := i.unmarshalOption(d, pair)
		if err != nil {
			return err
		}
		used = used || ofPair
	}
	if i.JWT == nil && i.Token == nil && i.JWKS == "" {
		i.JWT, i.Token, i.JWKS = new(JWT), new(Token), defaultJWKSPath
	}
	if i.JWT != nil {
		pair.Path = i.JWT.Path
		i.JWT = pair
	} else if used {
		return d.Err("options of JWTs without the line 'jwt'; add it, or leave them out")
	}
	i.setDefaults()
	return words.Wrap(d, i.check())
}

// unmarshalOption reads one line. It reports whether that is about JWTs only.
func (i *Issuer) unmarshalOption(d *caddyfile.Dispenser, pair *JWT) (ofPair bool, err error) {
	switch option := d.Val(); option {
	case "jwt":
		i.JWT = new(JWT)
		return false, optionalPath(d, &i.JWT.Path)
	case "token":
		i.Token = new(Token)
		return false, i.Token.unmarshal(d)
	case "jwks":
		i.JWKS = defaultJWKSPath
		return false, optionalPath(d, &i.JWKS)
	case "issuer":
		return false, words.One(d, &i.Issuer)
	case "trusted_origins":
		return false, words.Many(d, &i.TrustedOrigins)
	case "login_rate":
		return false, i.unmarshalRate(d)
	case "audience":
		return true, words.Many(d, &pair.Audience)
	case "access_lifetime":
		return true, words.Duration(d, &pair.AccessLifetime)
	case "refresh_lifetime":
		return true, words.Duration(d, &pair.RefreshLifetime)
	case "deliver":
		return true, words.One(d, &pair.Deliver)
	case "rotate_refresh":
		if d.NextArg() {
			if d.Val() != "off" {
				return true, d.Errf("rotate_refresh '%s'; only 'off' may follow", d.Val())
			}
			pair.KeepRefresh = true
		}
		if d.NextArg() {
			return true, d.ArgErr()
		}
		return true, nil
	default:
		return false, words.Wrap(d, words.Unknown("option", option, options))
	}
}

func optionalPath(d *caddyfile.Dispenser, path *string) error {
	if d.NextArg() {
		*path = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func (t *Token) unmarshal(d *caddyfile.Dispenser) error {
	if err := optionalPath(d, &t.Path); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "lifetime":
			err = words.Duration(d, &t.Lifetime)
		case "single":
			err = words.Flag(d, &t.Single)
		default:
			err = words.Wrap(d, words.Unknown("token option", d.Val(), []string{"lifetime", "single"}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *Issuer) unmarshalRate(d *caddyfile.Dispenser) error {
	var attempts, window string
	if !d.Args(&attempts, &window) || d.NextArg() {
		return d.Err("login_rate needs a number and a duration, such as 5 1m")
	}
	number, err := strconv.Atoi(attempts)
	if err != nil {
		return d.Errf("login_rate '%s': a number of attempts is needed, such as 5", attempts)
	}
	duration, err := caddy.ParseDuration(window)
	if err != nil {
		return d.Errf("login_rate '%s': a duration is needed, such as 1m", window)
	}
	i.LoginRate = &Rate{Attempts: number, Window: caddy.Duration(duration)}
	return nil
}

var _ caddyfile.Unmarshaler = (*Issuer)(nil)
