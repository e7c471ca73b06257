package embedded

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads: embedded [<path>]
func (c *Config) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		c.Path = args[0]
	default:
		return d.ArgErr()
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("store embedded has no options; found '%s'", d.Val())
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Config)(nil)
