package embedded

import (
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Config))
}

// Config says where the file of the embedded store is.
type Config struct {
	// Path of the file, for one process alone. Placeholders are replaced.
	// Default: edge_auth.db in Caddy's data folder.
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

var (
	_ caddy.Provisioner = (*Config)(nil)
	_ store.Provider    = (*Config)(nil)
)
