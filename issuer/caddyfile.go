package issuer

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var options = []string{
	"access_lifetime", "audience", "claim", "csrf_cookie", "deliver", "issuer", "jwks", "jwt", "login_lifetime", "login_rate", "refresh_lifetime", "rotate_refresh", "second_factor", "session", "token", "trusted_origins", "users",
}

// UnmarshalCaddyfile reads:
//
//	edge_auth_issuer [<matcher>] {
//		jwt   [<path>]
//		token [<path>] {
//			lifetime <duration>
//			single
//		}
//		session [<path>] {
//			logout             <path>
//			account            <path>
//			lifetime           <duration>
//			home               <path>
//			next_origins       <origin…>
//			breached_passwords <file>
//			passkeys           <domain>
//			title              <text>
//			logo               <url>
//			color              <color>
//			templates          <folder>
//			language           <tag> <file>
//		}
//		jwks  [<path>]
//		issuer           <url>
//		audience         <name…>
//		claim            <name> <field>
//		access_lifetime  <duration>
//		refresh_lifetime <duration>
//		login_lifetime <duration>
//		rotate_refresh   [off]
//		deliver          body|cookie
//		trusted_origins  <origin…>
//		csrf_cookie      <name>
//		login_rate       <attempts> <duration>
//		second_factor    <group…>
//		users            htpasswd <file> | http <url>
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
	if i.JWT == nil && i.Token == nil && i.Session == nil && i.JWKS == "" {
		i.JWT, i.Token, i.Session, i.JWKS = new(JWT), new(Token), new(Session), defaultJWKSPath
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
	case "session":
		i.Session = new(Session)
		return false, i.Session.unmarshal(d)
	case "jwks":
		i.JWKS = defaultJWKSPath
		return false, optionalPath(d, &i.JWKS)
	case "issuer":
		return false, words.One(d, &i.Issuer)
	case "trusted_origins":
		return false, words.Many(d, &i.TrustedOrigins)
	case "csrf_cookie":
		return false, words.One(d, &i.CSRFCookie)
	case "second_factor":
		return false, words.Many(d, &i.SecondFactor)
	case "users":
		return false, i.unmarshalUsers(d)
	case "login_rate":
		return false, i.unmarshalRate(d)
	case "audience":
		return true, words.Many(d, &pair.Audience)
	case "claim":
		var claim Claim
		if !d.Args(&claim.Name, &claim.Field) || d.NextArg() {
			return true, d.Err("claim needs a name and a field of the user: id, pk, name, email or groups")
		}
		pair.Claims = append(pair.Claims, claim)
		return true, nil
	case "access_lifetime":
		return true, words.Duration(d, &pair.AccessLifetime)
	case "refresh_lifetime":
		return true, words.Duration(d, &pair.RefreshLifetime)
	case "login_lifetime":
		return true, words.Duration(d, &pair.LoginLifetime)
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

var sessionOptions = []string{
	"account", "breached_passwords", "color", "home", "language", "lifetime", "logo", "logout", "next_origins", "passkeys", "templates", "title",
}

func (s *Session) unmarshal(d *caddyfile.Dispenser) error {
	if err := optionalPath(d, &s.Path); err != nil {
		return err
	}
	texts := map[string]*string{
		"account": &s.Account, "breached_passwords": &s.Breached, "home": &s.Home, "logout": &s.Logout, "passkeys": &s.Passkeys,
		"color": &s.Pages.Color, "logo": &s.Pages.Logo, "templates": &s.Pages.Templates, "title": &s.Pages.Title,
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); {
		case option == "color" && d.CountRemainingArgs() == 0:
			err = d.Err(`color needs a value, in quotes where it begins with #, which begins a comment: color "#0b57d0"`)
		case texts[option] != nil:
			err = words.One(d, texts[option])
		case option == "lifetime":
			err = words.Duration(d, &s.Lifetime)
		case option == "next_origins":
			err = words.Many(d, &s.NextOrigins)
		case option == "language":
			err = s.Pages.unmarshalLanguage(d)
		default:
			err = words.Wrap(d, words.Unknown("session option", option, sessionOptions))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pages) unmarshalLanguage(d *caddyfile.Dispenser) error {
	var tag, file string
	if !d.AllArgs(&tag, &file) {
		return d.ArgErr()
	}
	if p.Languages == nil {
		p.Languages = make(map[string]string)
	}
	if p.Languages[tag] != "" {
		return d.Errf("language %s stands twice; once is enough", tag)
	}
	p.Languages[tag] = file
	return nil
}

func (i *Issuer) unmarshalUsers(d *caddyfile.Dispenser) error {
	var kind, where string
	if !d.AllArgs(&kind, &where) {
		return d.Err("users needs 'htpasswd <file>' or 'http <url>'; without this line it is the users of the store")
	}
	if i.Users != nil {
		return d.Err("users stands twice; once is enough")
	}
	switch kind {
	case "htpasswd":
		i.Users = &Users{Htpasswd: where}
	case "http":
		i.Users = &Users{HTTP: where}
	default:
		return words.Wrap(d, words.Unknown("kind of users", kind, []string{"htpasswd", "http"}))
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
