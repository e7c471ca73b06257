package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// The bounds of a fetch, which is two requests where there is discovery.
const (
	fetchTimeout = 5 * time.Second
	maxRedirects = 3
)

// discoveryPath is where an issuer's OpenID configuration is.
const discoveryPath = "/.well-known/openid-configuration"

// DiscoveryURL names the key set of an issuer, for NewRemote. A slash at the
// issuer's end stays, although it is not in the address that is asked: the
// document must name the very same issuer.
func DiscoveryURL(issuer string) string { return issuer + discoveryPath }

// source is where a remote set comes from.
type source struct {
	url     string
	host    string // in url
	client  *http.Client
	timeout time.Duration // of a fetch in all
}

// fetched is a set as it came.
type fetched struct {
	Loaded

	lifetime time.Duration
	host     string // where it came from
}

func newSource(address string) (source, error) {
	if err := CheckURL(address); err != nil {
		return source{}, err
	}
	host := hostOf(address)
	// A transport of our own: few connections, and each phase bounded.
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer{host}.DialContext,
			TLSHandshakeTimeout:    fetchTimeout,
			ResponseHeaderTimeout:  fetchTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           2,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(next *http.Request, earlier []*http.Request) error {
			first := earlier[0].URL
			if len(earlier) > maxRedirects || next.URL.Scheme != first.Scheme || next.URL.Host != first.Host {
				return errors.New("redirected to another origin, or too often")
			}
			return nil
		},
	}
	return source{url: address, host: host, client: client, timeout: fetchTimeout}, nil
}

// CheckURL says what is wrong with the address of a key set, if anything.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil:
		return errors.New("an address such as https://idp.example.com/keys is needed, without a user name in it")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%s://%s: https is needed, since whoever changes the keys on the way can sign any token (http would do for localhost)", u.Scheme, u.Host)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetch gets the set, through the issuer's configuration if that is the source.
func (s source) fetch(ctx context.Context) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	address := s.url
	if issuer, ok := strings.CutSuffix(s.url, discoveryPath); ok {
		var err error
		if address, err = s.discover(ctx, issuer); err != nil {
			return fetched{}, err
		}
	}
	data, lifetime, err := s.get(ctx, address)
	if err != nil {
		return fetched{}, err
	}
	loaded, err := parseSet(data, "", false)
	return fetched{loaded, lifetime, hostOf(address)}, err
}

// hostOf is the host of an address that was checked.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// discover reads where an issuer's keys are (OpenID Connect Discovery 1.0,
// section 4). The document must be that of this very issuer. The algorithms
// that it lists are not looked at: keys decide.
func (s source) discover(ctx context.Context, issuer string) (string, error) {
	data, _, err := s.get(ctx, strings.TrimSuffix(issuer, "/")+discoveryPath)
	if err != nil {
		return "", err
	}
	document, err := identity.ParseClaims(data)
	if err != nil {
		return "", fmt.Errorf("OpenID configuration: %w", err)
	}
	if got, _ := document["issuer"].(string); got != issuer {
		return "", fmt.Errorf("OpenID configuration is that of issuer %.200q, not %q", got, issuer)
	}
	address, _ := document["jwks_uri"].(string)
	if err := CheckURL(address); err != nil {
		return "", fmt.Errorf("jwks_uri of the OpenID configuration: %w", err)
	}
	if host := hostOf(address); isLoopback(host) && !isLoopback(s.host) {
		return "", fmt.Errorf("jwks_uri of the OpenID configuration: %s is this machine, and the issuer is another", host)
	}
	return address, nil
}

// retryError is an answer that says when to ask again.
type retryError struct {
	status string
	after  time.Duration
}

func (e *retryError) Error() string { return "answer " + e.status }

func (s source) get(ctx context.Context, address string) ([]byte, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31)
		return nil, 0, &retryError{resp.Status, time.Duration(seconds) * time.Second}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxSetBytes {
		return nil, 0, fmt.Errorf("answer of more than %d bytes", maxSetBytes)
	}
	return data, lifetimeOf(strings.Join(resp.Header.Values("Cache-Control"), ",")), nil
}

// lifetimeOf reads max-age, within bounds.
func lifetimeOf(cacheControl string) time.Duration {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err != nil {
			break
		}
		return min(max(time.Duration(seconds)*time.Second, minLifetime), maxLifetime)
	}
	return defaultLifetime
}
