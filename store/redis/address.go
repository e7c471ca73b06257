package redis

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/caddyserver/caddy/v2"
)

// onlyDatabase is the one query that a URL may hold. go-redis would take many
// more, such as skip_verify, which turns the check of the certificate off.
var onlyDatabase = regexp.MustCompile(`^db=[0-9]{1,6}$`)

// parseURL reads a URL. Its error never shows what could be a password.
func parseURL(text string) (*goredis.Options, error) {
	u, err := url.Parse(text)
	if err == nil && (u.Fragment != "" || u.RawQuery != "" && !onlyDatabase.MatchString(u.RawQuery)) {
		return nil, fmt.Errorf("store redis: %s: after '?' only db=<number> may stand; "+
			"'timeout', 'pool_size' and 'tls' are options of the block, and a password's special characters must be percent-encoded", shown(text))
	}
	options, err := goredis.ParseURL(text)
	if err != nil { // it may quote the URL, and with it the password
		return nil, fmt.Errorf("store redis: %s is no address of Redis; redis://host:6379/0, rediss://host:6379/0 or unix:///path would do "+
			"(a password's special characters must be percent-encoded)", shown(text))
	}
	return options, nil
}

// shown is what an error may say of a URL. Where a password holds an '@', '/'
// or '?' that is not percent-encoded, any part of the URL may be a piece of it.
func shown(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "that address"
	case !strings.Contains(text, "@"):
		return "'" + text + "'"
	case u.User == nil, strings.Count(text, "@") > 1:
		return "that " + u.Scheme + " address"
	}
	u.User = url.User("xxxxx")
	return "'" + u.String() + "'"
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

// address gives the options that say where Redis is and who asks.
func (c *Config) address() (*goredis.UniversalOptions, error) {
	o := new(goredis.UniversalOptions)
	switch {
	case c.Sentinel != nil:
		o.Addrs, o.MasterName, o.DB = c.Sentinel.Addresses, c.Sentinel.Master, c.Database
		err := errors.Join(resolve(c.Sentinel.Username, &o.SentinelUsername), resolve(c.Sentinel.Password, &o.SentinelPassword))
		if err != nil {
			return nil, err
		}
	case len(c.Cluster) > 0:
		o.Addrs, o.IsClusterMode = c.Cluster, true
	default:
		var text string
		if err := resolve(c.URL, &text); err != nil {
			return nil, err
		}
		single, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		c.network = single.Network
		o.Addrs, o.DB, o.TLSConfig = []string{single.Addr}, single.DB, single.TLSConfig
		o.Username, o.Password = single.Username, single.Password
	}
	return o, errors.Join(resolve(c.Username, &o.Username), resolve(c.Password, &o.Password))
}
