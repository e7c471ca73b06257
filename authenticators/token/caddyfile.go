package token

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var (
	options = []string{"claim", "cookie", "csrf", "header", "id_prefix", "introspect", "key", "own", "redis", "scheme", "user"}

	keyOptions = []string{"claim", "id_prefix", "redis", "user"}

	introspectOptions = []string{"audience", "claim", "client_auth", "client_id", "client_secret", "id_prefix", "issuer", "max_age", "timeout", "user"}
)

// UnmarshalCaddyfile reads:
//
//	token {
//		scheme <word…>
//		header <name>
//		cookie <name>
//		own
//		key <pattern> {
//			user <path>
//			claim <name> <path>
//			redis <url>
//			id_prefix <text>
//		}
//		introspect <url> {
//			client_id <id>
//			client_secret <secret>
//			client_auth basic|post
//			audience <name…>
//			issuer <url>
//			timeout <duration>
//			max_age <duration>|off
//			user <claim>
//			claim <name> <path>
//			id_prefix <text>
//		}
//		user <path>
//		claim <name> <path>
//		redis <url>
//		id_prefix <text>
//		csrf [off] { trusted_origins <origin…> }
//	}
//
// Tokens are looked up in own, key and introspect in the order of their lines.
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
	case "own":
		s := Source{}
		defer func() { a.Sources = append(a.Sources, s) }()
		return words.Flag(d, &s.Own)
	case "key":
		return a.unmarshalKey(d)
	case "introspect":
		return a.unmarshalIntrospect(d)
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

func (a *Authenticator) unmarshalKey(d *caddyfile.Dispenser) error {
	var s Source
	if err := words.One(d, &s.Key); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "user":
			err = words.One(d, &s.User)
		case "claim":
			err = authenticators.UnmarshalClaim(d, &s.Claims)
		case "redis":
			err = words.One(d, &s.Redis)
		case "id_prefix":
			err = words.One(d, &s.IDPrefix)
		default:
			err = words.Wrap(d, words.Unknown("option of key", d.Val(), keyOptions))
		}
		if err != nil {
			return err
		}
	}
	a.Sources = append(a.Sources, s)
	return nil
}

func (a *Authenticator) unmarshalIntrospect(d *caddyfile.Dispenser) error {
	i := new(Introspection)
	s := Source{Introspection: i}
	if err := words.One(d, &i.URL); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := s.unmarshalIntrospection(d); err != nil {
			return err
		}
	}
	a.Sources = append(a.Sources, s)
	return nil
}

func (s *Source) unmarshalIntrospection(d *caddyfile.Dispenser) error {
	i := s.Introspection
	switch d.Val() {
	case "client_id":
		return words.One(d, &i.ClientID)
	case "client_secret":
		return words.One(d, &i.ClientSecret)
	case "client_auth":
		return words.One(d, &i.ClientAuth)
	case "audience":
		return words.Many(d, &i.Audience)
	case "issuer":
		return words.One(d, &i.Issuer)
	case "timeout":
		return words.Duration(d, &i.Timeout)
	case "max_age":
		return i.unmarshalMaxAge(d)
	case "user":
		return words.One(d, &s.User)
	case "claim":
		return authenticators.UnmarshalClaim(d, &s.Claims)
	case "id_prefix":
		return words.One(d, &s.IDPrefix)
	}
	return words.Wrap(d, words.Unknown("option of introspect", d.Val(), introspectOptions))
}

func (i *Introspection) unmarshalMaxAge(d *caddyfile.Dispenser) error {
	if i.MaxAge != 0 {
		return d.Err("max_age stands twice; once is enough")
	}
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.ArgErr()
	}
	if args[0] == "off" {
		i.MaxAge = notKept
		return nil
	}
	duration, err := caddy.ParseDuration(args[0])
	if err != nil || duration <= 0 {
		return d.Errf("max_age %s: a duration such as 10s, or off, is needed", args[0])
	}
	i.MaxAge = caddy.Duration(duration)
	return nil
}

var _ caddyfile.Unmarshaler = (*Authenticator)(nil)
