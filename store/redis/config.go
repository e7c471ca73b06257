// Package redis keeps records in Redis: a single server, one behind Sentinel,
// or a Cluster. It is the one place that knows go-redis.
//
// Every call returns within the store's timeout, whatever Redis does.
package redis

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Config))
}

// Config says where Redis is. One of URL, Sentinel and Cluster is needed.
type Config struct {
	// URL of a single server: redis://host:port/database, rediss:// for TLS, or
	// unix:///path?db=database. Placeholders are replaced.
	URL string `json:"url,omitempty"`

	// Sentinel finds the master of a name through sentinels.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	// Cluster are seeds of a Cluster, as host:port.
	Cluster []string `json:"cluster,omitempty"`

	// Database number; with Sentinel only (a URL names its own). Default: 0.
	Database int `json:"database,omitempty"`

	// Username and Password of an ACL user. Use placeholders such as
	// {env.REDIS_PASSWORD}, so that the config does not hold the password.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`

	// Prefix begins every key of ours. Default: edge_auth:
	Prefix string `json:"prefix,omitempty"`

	// Timeout bounds every call. Default: 250ms. 1ms to 1m.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// PoolSize bounds the connections to each server. Default: 10 per CPU.
	PoolSize int `json:"pool_size,omitempty"`

	// TLS encrypts the connections. Default: off, but on for rediss://.
	TLS *TLS `json:"tls,omitempty"`

	// Cache says how many findings are kept in the process. Default: 100,000.
	Cache *Cache `json:"cache,omitempty"`

	options  *goredis.UniversalOptions
	network  string   // unix, or empty for TCP
	tlsFiles []string // what the files of TLS held when they were read
}

// Sentinel finds a master through sentinels.
type Sentinel struct {
	// Master is its name, such as mymaster.
	Master string `json:"master"`

	// Addresses are those of the sentinels, as host:port.
	Addresses []string `json:"addresses"`

	// Username and Password for the sentinels themselves.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// TLS says how connections are encrypted. The server's certificate is always
// verified.
type TLS struct {
	// CA is a PEM file with the authorities that are trusted. Default: those of
	// the system.
	CA string `json:"ca,omitempty"`

	// Certificate and Key are PEM files with a client certificate.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`

	// ServerName is the name in the server's certificate. Default: the host.
	ServerName string `json:"server_name,omitempty"`
}

// Cache says how many identities are kept in the process, and for how long. Redis
// tells of changes to what they rest on, and then they are looked up anew.
type Cache struct {
	// Off says that nothing is kept: every request asks Redis.
	Off bool `json:"off,omitempty"`

	// Entries is how many identities are kept, each reckoned at 512 bytes, which is
	// more than twice what a usual one takes. 1 to 100,000,000, unless Off.
	Entries int `json:"entries,omitempty"`

	// MaxAge is how long an identity is kept at most. Default: 1m. At most 1h.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// MaxStaleness is how long one may be served after it was revoked while Redis
	// can't be heard; usually it is milliseconds. Default: 2s. 100ms to 1m.
	MaxStaleness caddy.Duration `json:"max_staleness,omitempty"`
}

const (
	defaultMaxStaleness = 2 * time.Second
	leastMaxStaleness   = 100 * time.Millisecond
	greatestStaleness   = time.Minute
	greatestMaxAge      = time.Hour
	mostEntries         = 100_000_000
)

// staleness is how long changes may go unheard; 0: nothing is kept.
func (c *Config) staleness() time.Duration {
	switch {
	case c.Cache == nil:
		return defaultMaxStaleness
	case c.Cache.Off:
		return 0
	}
	return cmp.Or(time.Duration(c.Cache.MaxStaleness), defaultMaxStaleness)
}

// Caching says what is kept; see store.CacheProvider.
func (c *Config) Caching() store.Cache {
	kept := store.Cache{Entries: store.DefaultCacheEntries, MaxAge: store.DefaultCacheMaxAge}
	if c.Cache != nil && c.Cache.Off {
		kept.Entries = 1 // for what no store has a say in: tokens that were checked
	} else if c.Cache != nil {
		kept.Entries = c.Cache.Entries
		kept.MaxAge = cmp.Or(time.Duration(c.Cache.MaxAge), kept.MaxAge)
	}
	return kept
}

const (
	defaultPrefix  = "edge_auth:"
	defaultTimeout = 250 * time.Millisecond
	maxTimeout     = time.Minute
)

// CaddyModule returns the Caddy module information.
func (*Config) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  store.Namespace + ".redis",
		New: func() caddy.Module { return new(Config) },
	}
}

// Provision resolves placeholders and reads certificates.
func (c *Config) Provision(caddy.Context) error { return c.prepare() }

// Validate refuses what can't be meant.
func (c *Config) Validate() error { return c.check() }

func (c *Config) check() error {
	ways := 0
	for _, given := range []bool{c.URL != "", c.Sentinel != nil, len(c.Cluster) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("store redis: one of a URL, 'sentinel <master> <host:port…>' and 'cluster <host:port…>' is needed")
	case c.Sentinel != nil && (c.Sentinel.Master == "" || len(c.Sentinel.Addresses) == 0):
		return errors.New("store redis: sentinel needs the master's name and at least one host:port")
	case c.Database < 0, c.Database != 0 && c.Sentinel == nil:
		return errors.New("store redis: 'database' goes with 'sentinel'; a URL names its database itself, as in redis://host:6379/3")
	case c.Timeout != 0 && (time.Duration(c.Timeout) < time.Millisecond || time.Duration(c.Timeout) > maxTimeout):
		return fmt.Errorf("store redis: timeout of %v; 1ms to 1m would do", time.Duration(c.Timeout))
	case c.PoolSize < 0:
		return fmt.Errorf("store redis: pool_size of %d; at least 1 is needed", c.PoolSize)
	case c.TLS != nil && (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return errors.New("store redis: a client certificate needs both files, certificate and key")
	}
	if err := c.Cache.check(); err != nil {
		return err
	}
	if c.URL == "" || strings.Contains(c.URL, "{") {
		return nil // a placeholder is known when it runs
	}
	_, err := parseURL(c.URL)
	return err
}

func (c *Cache) check() error {
	switch {
	case c == nil:
	case c.Off && *c != Cache{Off: true}:
		return errors.New("store redis: 'cache off' takes no other option")
	case !c.Off && (c.Entries < 1 || c.Entries > mostEntries):
		return fmt.Errorf("store redis: cache of %d entries; 'off' or 1 to %d is needed", c.Entries, mostEntries)
	case c.MaxAge < 0 || time.Duration(c.MaxAge) > greatestMaxAge:
		return fmt.Errorf("store redis: cache: max_age of %v; up to 1h would do", time.Duration(c.MaxAge))
	case c.MaxStaleness != 0 && (time.Duration(c.MaxStaleness) < leastMaxStaleness || time.Duration(c.MaxStaleness) > greatestStaleness):
		return fmt.Errorf("store redis: cache: max_staleness of %v; 100ms to 1m would do", time.Duration(c.MaxStaleness))
	}
	return nil
}

var (
	_ caddy.Provisioner = (*Config)(nil)
	_ caddy.Validator   = (*Config)(nil)
	_ store.Provider    = (*Config)(nil)

	_ store.CacheProvider = (*Config)(nil)
	_ store.Named         = (*Config)(nil)
)
