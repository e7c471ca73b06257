package redis

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

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
	if o.TLSConfig, err = c.tlsConfig(o.TLSConfig); err != nil {
		return err
	}
	c.options = o
	return nil
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
	if c.TLS.ServerName != "" {
		config.ServerName = c.TLS.ServerName
	}
	c.tlsFiles = nil
	if c.TLS.CA != "" {
		pem, err := c.readFile(c.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("store redis: tls ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store redis: tls ca %s holds no certificate in PEM", c.TLS.CA)
		}
	}
	if c.TLS.Certificate != "" {
		certificate, err := c.readFile(c.TLS.Certificate)
		if err != nil {
			return nil, fmt.Errorf("store redis: tls certificate: %w", err)
		}
		key, err := c.readFile(c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("store redis: tls certificate: %w", err)
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("store redis: tls certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (c *Config) readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	c.tlsFiles = append(c.tlsFiles, string(data))
	return data, err
}

// Key is a digest of all that defines the store, with placeholders replaced and
// files read: a reload after a change of password or certificate connects anew.
func (c *Config) Key() string {
	o := c.options
	parts := []string{
		c.network, o.MasterName, strconv.FormatBool(o.IsClusterMode), strconv.Itoa(o.DB),
		o.Username, o.Password, o.SentinelUsername, o.SentinelPassword,
		c.Prefix, time.Duration(c.Timeout).String(), strconv.Itoa(c.PoolSize), c.staleness().String(),
	}
	if o.TLSConfig != nil {
		parts = append(parts, "tls", o.TLSConfig.ServerName)
	}
	return fmt.Sprintf("redis %x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q", parts, o.Addrs, c.tlsFiles)))
}

// Name says which Redis it is, without any secret.
func (c *Config) Name() string {
	o := c.options
	switch {
	case o.MasterName != "":
		return fmt.Sprintf("redis %s@%s/%d", o.MasterName, o.Addrs[0], o.DB)
	case o.IsClusterMode:
		return "redis cluster " + o.Addrs[0]
	}
	return fmt.Sprintf("redis %s/%d", o.Addrs[0], o.DB)
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
	o.Dialer = guardedDialer(&o)
	// A new connection says HELLO and nothing more.
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return newStore(&o, c.network, c.Prefix, timeout, c.staleness()), nil
}

// At gives the config of a Redis at a URL, for reading what others keep there.
func At(address string, timeout time.Duration) (*Config, error) {
	c := &Config{URL: address, Timeout: caddy.Duration(timeout)}
	return c, c.prepare()
}
