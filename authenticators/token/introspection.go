package token

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Introspection asks an OAuth server whose a token is (RFC 7662).
type Introspection struct {
	// URL of the introspection endpoint. Plain HTTP is taken for localhost only.
	URL string `json:"url,omitempty"`

	// ClientID and ClientSecret are what the gateway shows there. Placeholders are
	// replaced: {env.*} and {file.*} keep the secret out of the config.
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret string `json:"client_secret,omitempty"`

	// ClientAuth is how it shows them: basic (client_secret_basic of RFC 6749,
	// section 2.3.1) or post (client_secret_post). Default: basic.
	ClientAuth string `json:"client_auth,omitempty"`

	// Audience are names of this resource, one of which must be in aud. Default: the
	// server is trusted to answer for tokens that are for this client only.
	Audience []string `json:"audience,omitempty"`

	// Issuer must be iss, where it is set.
	Issuer string `json:"issuer,omitempty"`

	// Timeout of a question in all, 50ms to 30s. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// MaxAge is how long an answer holds without asking again, and so how long a
	// token may live that was revoked at the server. Negative: not at all. Default:
	// 10s, or less where the answer's Cache-Control says so. It never holds longer
	// than the token lives, or than the max_age of the store's cache.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

// The values of Introspection.ClientAuth.
const (
	clientBasic = "basic"
	clientPost  = "post"
)

const (
	introspectedUser = "sub"

	introspectTimeout = 2 * time.Second
	introspectMaxAge  = 10 * time.Second

	notKept caddy.Duration = -1 // of MaxAge
)

func (i *Introspection) check() error {
	u, err := url.Parse(i.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return errors.New("token: introspect: an address such as https://idp.example.com/oauth/introspect is needed, without a user name in it")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return fmt.Errorf("token: introspect %s://%s: https is needed, since tokens and the client's secret go there (http would do for localhost)", u.Scheme, u.Host)
	case i.ClientID == "" || i.ClientSecret == "":
		return errors.New("token: introspect: client_id and client_secret are needed, those that the server knows the gateway by")
	case !slices.Contains([]string{"", clientBasic, clientPost}, i.ClientAuth):
		return fmt.Errorf("token: introspect: client_auth '%s'; basic or post would do", i.ClientAuth)
	case i.Timeout != 0 && (time.Duration(i.Timeout) < 50*time.Millisecond || time.Duration(i.Timeout) > 30*time.Second):
		return fmt.Errorf("token: introspect: timeout of %v; 50ms to 30s would do", time.Duration(i.Timeout))
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// claims are where names, groups and scopes stand, unless the config says otherwise.
func (*Introspection) claims(configured []identity.ClaimPath) []identity.ClaimPath {
	all := slices.Clone(configured)
	for _, name := range []string{"name", "email", "groups"} {
		all = withClaim(all, identity.ClaimPath{Name: name, Path: name})
	}
	return withClaim(all, identity.ClaimPath{Name: "scopes", Path: "scope"})
}

func withClaim(all []identity.ClaimPath, claim identity.ClaimPath) []identity.ClaimPath {
	if slices.ContainsFunc(all, func(c identity.ClaimPath) bool { return c.Name == claim.Name }) {
		return all
	}
	return append(all, claim)
}

func (i *Introspection) lookUp(mapping *identity.Mapping, logger *zap.Logger) (*introspector, error) {
	secrets := make([]string, 2)
	for n, text := range []string{i.ClientID, i.ClientSecret} {
		var err error
		if secrets[n], err = caddy.NewReplacer().ReplaceOrErr(text, true, true); err != nil {
			return nil, fmt.Errorf("token: introspect: %w", err)
		}
		if secrets[n] == "" {
			return nil, errors.New("token: introspect: client_id or client_secret is empty; those that the server knows the gateway by are needed")
		}
	}
	maxAge := time.Duration(i.MaxAge)
	return newIntrospector(&introspector{
		url: i.URL, clientID: secrets[0], clientSecret: secrets[1], post: i.ClientAuth == clientPost,
		audience: i.Audience, issuer: i.Issuer, mapping: mapping, logger: logger,
		timeout: time.Duration(cmp.Or(i.Timeout, caddy.Duration(introspectTimeout))),
		maxAge:  max(cmp.Or(maxAge, introspectMaxAge), 0), heedHeader: maxAge == 0,
	}), nil
}
