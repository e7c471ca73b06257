package words

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// One reads an option with one argument, which may stand once.
func One(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if *to != "" {
		return d.Errf("%s stands twice; once is enough", option)
	}
	*to = value
	return nil
}

// Many reads an option with one argument or more, which may stand often.
func Many(d *caddyfile.Dispenser, to *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	*to = append(*to, args...)
	return nil
}

// Flag reads an option without arguments, which may stand once.
func Flag(d *caddyfile.Dispenser, to *bool) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	if *to {
		return d.Errf("%s stands twice; once is enough", d.Val())
	}
	*to = true
	return nil
}

// Duration reads an option with a positive duration, which may stand once.
func Duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option, text := d.Val(), ""
	if err := One(d, &text); err != nil {
		return err
	}
	if *to != 0 {
		return d.Errf("%s stands twice; once is enough", option)
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil || duration <= 0 {
		return d.Errf("%s %s: a duration such as 250ms, 10s, 5m or 1d is needed", option, text)
	}
	*to = caddy.Duration(duration)
	return nil
}

// Wrap adds to an error where in the Caddyfile it is; nil stays nil, which
// Dispenser.WrapErr does not see to.
func Wrap(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}
