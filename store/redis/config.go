// Package redis keeps records in Redis: a single server, one behind Sentinel,
// or a Cluster. It is the one place that knows go-redis.
//
// Every call returns within the store's timeout, whatever Redis does.
package redis

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Config))
}

// Config says where Redis is. One of URL, Sentinel and Cluster is needed.
type Config struct {
	// URL of a single server: redis://host:port/database, rediss:// for TLS, or
	// unix:///path. Placeholders are replaced.
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

	// Cache holds looked-up identities in the process. It is read and checked,
	// but not used by this release: every look-up asks Redis.
	Cache *Cache `json:"cache,omitempty"`

	options *goredis.UniversalOptions
	network string // unix, or empty for TCP
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

// Cache says how many identities are held in the process and for how long.
type Cache struct {
	Off          bool           `json:"off,omitempty"`
	Entries      int            `json:"entries,omitempty"`
	MaxAge       caddy.Duration `json:"max_age,omitempty"`
	MaxStaleness caddy.Duration `json:"max_staleness,omitempty"`
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

// Warn tells at load what the config asks for and does not get.
func (c *Config) Warn(logger *zap.Logger) {
	if c.Cache != nil && !c.Cache.Off {
		logger.Warn("store redis: 'cache' is not used by this release; every look-up asks Redis")
	}
}

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
	if strings.Contains(c.URL, "{") {
		return nil // a placeholder, known when it runs
	}
	if c.URL != "" {
		if _, err := parseURL(c.URL); err != nil {
			return err
		}
	}
	return nil
}

// parseURL reads a URL. Its error never shows what could be a password.
func parseURL(text string) (*goredis.Options, error) {
	options, err := goredis.ParseURL(text)
	if err == nil {
		return options, nil
	}
	shown := "that address"
	if u, parseErr := url.Parse(text); parseErr == nil {
		shown = "'" + u.Redacted() + "'"
	}
	return nil, fmt.Errorf("store redis: %s is no address of Redis; redis://host:6379/0, rediss://host:6379/0 or unix:///path would do", shown)
}

// prepare makes the client's options, but no client.
func (c *Config) prepare() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Timeout == 0 {
		c.Timeout = caddy.Duration(defaultTimeout)
	}
	o, err := c.address()
	if err != nil {
		return err
	}
	for _, secret := range []struct{ from, to *string }{{&c.Username, &o.Username}, {&c.Password, &o.Password}} {
		if err := resolve(*secret.from, secret.to); err != nil {
			return err
		}
	}
	if o.TLSConfig, err = c.tlsConfig(o.TLSConfig); err != nil {
		return err
	}
	c.options = o
	return nil
}

// resolve puts text with its placeholders replaced into to, if there is any.
func resolve(text string, to *string) error {
	if text == "" {
		return nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	*to = resolved
	return nil
}

func (c *Config) address() (*goredis.UniversalOptions, error) {
	switch {
	case c.Sentinel != nil:
		o := &goredis.UniversalOptions{Addrs: c.Sentinel.Addresses, MasterName: c.Sentinel.Master, DB: c.Database}
		if err := resolve(c.Sentinel.Username, &o.SentinelUsername); err != nil {
			return nil, err
		}
		return o, resolve(c.Sentinel.Password, &o.SentinelPassword)
	case len(c.Cluster) > 0:
		return &goredis.UniversalOptions{Addrs: c.Cluster, IsClusterMode: true}, nil
	}
	var address string
	if err := resolve(c.URL, &address); err != nil {
		return nil, err
	}
	single, err := parseURL(address)
	if err != nil {
		return nil, err
	}
	c.network = single.Network
	return &goredis.UniversalOptions{
		Addrs: []string{single.Addr}, DB: single.DB, Username: single.Username, Password: single.Password, TLSConfig: single.TLSConfig,
	}, nil
}

// tlsConfig completes what the URL asked for.
func (c *Config) tlsConfig(config *tls.Config) (*tls.Config, error) {
	if c.TLS == nil {
		return config, nil
	}
	if config == nil {
		config = new(tls.Config)
	}
	config.MinVersion = tls.VersionTLS12
	config.InsecureSkipVerify = false // a URL could ask for it; nobody gets it
	if c.TLS.ServerName != "" {
		config.ServerName = c.TLS.ServerName
	}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("store redis: tls ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store redis: tls ca %s holds no certificate in PEM", c.TLS.CA)
		}
	}
	if c.TLS.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("store redis: tls certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Key is all that defines the store.
func (c *Config) Key() string {
	defining := *c
	defining.Cache = nil
	data, err := json.Marshal(defining) //nolint:gosec // it only tells stores apart, and is never shown
	if err != nil {
		return err.Error() // can't be: strings and numbers only
	}
	return "redis " + string(data) + " " + strings.Join([]string{c.options.Username, c.options.Password, strings.Join(c.options.Addrs, " ")}, "\x00")
}

// New makes the store; nothing is dialled before its first use.
func (c *Config) New() (store.Handle, error) {
	o := *c.options
	timeout := time.Duration(c.Timeout)
	o.Addrs = slices.Clone(o.Addrs)
	o.PoolSize = c.PoolSize
	// A context's deadline counts only with ContextTimeoutEnabled, and each of
	// the others has a default of seconds.
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DisableIdentity = true
	return newStore(&o, c.network, c.Prefix, timeout), nil
}

// At gives the config of a Redis at a URL, for reading what others keep there.
func At(address string, timeout time.Duration) (*Config, error) {
	c := &Config{URL: address, Timeout: caddy.Duration(timeout)}
	return c, c.prepare()
}

var (
	_ caddy.Provisioner = (*Config)(nil)
	_ caddy.Validator   = (*Config)(nil)
	_ store.Provider    = (*Config)(nil)
)
