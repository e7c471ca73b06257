package basic

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// UnmarshalCaddyfile reads:
//
//	basic {
//		realm <text>
//		<user> <hash>
//		htpasswd <file>
//		id_prefix <text>
//	}
//
// A user who is called as an option must stand in an htpasswd file.
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
	case "realm":
		return words.One(d, &a.Realm)
	case "htpasswd":
		if err := words.One(d, &a.Htpasswd); err != nil {
			return err
		}
		if err := new(records.HashedUsers).ReadHtpasswd(a.Htpasswd); err != nil { // here too, so that a mistake is told with its line
			return words.Wrap(d, fmt.Errorf("basic: %w", err))
		}
		return nil
	case "id_prefix":
		return words.One(d, &a.IDPrefix)
	}
	user := User{Name: d.Val()}
	if !d.AllArgs(&user.Hash) {
		return d.Errf("basic: 'realm <text>', 'htpasswd <file>', 'id_prefix <text>' or '<user> <hash>' is needed; found '%s'", user.Name)
	}
	a.Users = append(a.Users, user)
	return words.Wrap(d, a.check())
}

var _ caddyfile.Unmarshaler = (*Authenticator)(nil)
