package embedded

import (
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Config))
}

// Config says where the file of the embedded store is.
type Config struct {
	// Path of the file. Default: edge_auth.db in Caddy's data folder.
	Path string `json:"path,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (*Config) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  store.Namespace + ".embedded",
		New: func() caddy.Module { return new(Config) },
	}
}

// Provision finds out the file's path.
func (c *Config) Provision(caddy.Context) error {
	c.path = filepath.Join(caddy.AppDataDir(), "edge_auth.db")
	if c.Path == "" {
		return nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(c.Path, true, true)
	if err != nil {
		return err
	}
	c.path, err = filepath.Abs(resolved)
	return err
}

// Key is all that defines the store.
func (c *Config) Key() string { return "embedded " + c.path }

// New makes the store; the file is opened at its first use.
func (c *Config) New() (store.Handle, error) { return newStore(c.path), nil }

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

var (
	_ caddy.Provisioner     = (*Config)(nil)
	_ caddyfile.Unmarshaler = (*Config)(nil)
	_ store.Provider        = (*Config)(nil)
)
