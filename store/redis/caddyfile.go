package redis

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

var options = []string{
	"cache", "cluster", "database", "password", "pool_size", "prefix", "sentinel", "sentinel_password",
	"sentinel_username", "timeout", "tls", "username",
}

// UnmarshalCaddyfile reads:
//
//	redis [<url>] {
//		sentinel <master> <host:port…>
//		sentinel_username <name>
//		sentinel_password <password>
//		cluster <host:port…>
//		database <number>
//		username <name>
//		password <password>
//		prefix <text>
//		timeout <duration>
//		pool_size <number>
//		tls {
//			ca <file>
//			certificate <file> <key file>
//			server_name <name>
//		}
//		cache off | <entries> {
//			max_age <duration>
//			max_staleness <duration>
//		}
//	}
func (c *Config) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		c.URL = args[0]
	default:
		return d.ArgErr()
	}
	var sentinel Sentinel // its secrets may stand before its addresses
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if option := d.Val(); seen[option] && option != "cluster" {
			return d.Errf("%s stands twice; once is enough", option)
		}
		seen[d.Val()] = true
		if err := c.unmarshalOption(d, &sentinel); err != nil {
			return err
		}
	}
	if sentinel.Username != "" || sentinel.Password != "" {
		if c.Sentinel == nil {
			return d.Err("store redis: sentinel_username and sentinel_password go with 'sentinel'")
		}
		c.Sentinel.Username, c.Sentinel.Password = sentinel.Username, sentinel.Password
	}
	return words.Wrap(d, c.check())
}

func (c *Config) unmarshalOption(d *caddyfile.Dispenser, sentinel *Sentinel) error {
	switch d.Val() {
	case "sentinel":
		args := d.RemainingArgs()
		if len(args) < 2 {
			return d.ArgErr()
		}
		c.Sentinel = &Sentinel{Master: args[0], Addresses: args[1:]}
		return nil
	case "sentinel_username":
		return words.One(d, &sentinel.Username)
	case "sentinel_password":
		return words.One(d, &sentinel.Password)
	case "cluster":
		return words.Many(d, &c.Cluster)
	case "database":
		return number(d, &c.Database, 0)
	case "username":
		return words.One(d, &c.Username)
	case "password":
		return words.One(d, &c.Password)
	case "prefix":
		return words.One(d, &c.Prefix)
	case "timeout":
		return words.Duration(d, &c.Timeout)
	case "pool_size":
		return number(d, &c.PoolSize, 1)
	case "tls":
		return c.unmarshalTLS(d)
	case "cache":
		return c.unmarshalCache(d)
	}
	return words.Wrap(d, words.Unknown("redis option", d.Val(), options))
}

func (c *Config) unmarshalTLS(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	c.TLS = new(TLS)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "ca":
			err = words.One(d, &c.TLS.CA)
		case "certificate":
			switch {
			case c.TLS.Certificate != "":
				err = d.Err("certificate stands twice; once is enough")
			case !d.AllArgs(&c.TLS.Certificate, &c.TLS.Key):
				err = d.ArgErr()
			}
		case "server_name":
			err = words.One(d, &c.TLS.ServerName)
		default:
			err = words.Wrap(d, words.Unknown("tls option", d.Val(), []string{"ca", "certificate", "server_name"}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) unmarshalCache(d *caddyfile.Dispenser) error {
	var size string
	if !d.AllArgs(&size) {
		return d.ArgErr()
	}
	c.Cache = new(Cache)
	if size == "off" {
		c.Cache.Off = true
		if nesting := d.Nesting(); d.NextBlock(nesting) {
			return d.Errf("'cache off' takes no options; found '%s'", d.Val())
		}
		return nil
	}
	entries, err := strconv.Atoi(size)
	if err != nil || entries < 1 {
		return d.Errf("cache %s: 'off' or a number of entries is needed", size)
	}
	c.Cache.Entries = entries
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "max_age":
			err = words.Duration(d, &c.Cache.MaxAge)
		case "max_staleness":
			err = words.Duration(d, &c.Cache.MaxStaleness)
		default:
			err = words.Wrap(d, words.Unknown("cache option", d.Val(), []string{"max_age", "max_staleness"}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func number(d *caddyfile.Dispenser, to *int, least int) error {
	option, text := d.Val(), ""
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		return d.Errf("%s %s: a whole number of at least %d is needed", option, text, least)
	}
	*to = n
	return nil
}

var (
	_ caddyfile.Unmarshaler = (*Config)(nil)
	_ caddy.Module          = (*Config)(nil)
)
