package edgeauth

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// Assertion is a signed JWT that tells the upstream who is calling. An upstream
// that verifies it need not trust the network between: nobody else can make one,
// and it holds for its audience, this method and this host only. It is made anew
// for each request and signed by the key that our own tokens are signed with, of
// which edge_auth_issuer publishes the public part.
type Assertion struct {
	// Header that carries it. Default: X-Edge-Auth-Assertion.
	Header string `json:"header,omitempty"`

	// Audience is whom it is for: what the upstream knows itself by. At least one
	// is needed, since what names nobody could be used at any upstream.
	Audience []string `json:"audience,omitempty"`

	// Lifetime is how long it holds. Default: 60s, which is also the most; 1s is
	// the least.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// Issuer is the value of iss. Default: edge_auth.
	Issuer string `json:"issuer,omitempty"`

	canonical string
	common    identity.Assertion
	ring      *keys.Ring
}

const (
	maxAssertionLifetime   = 60 * time.Second
	minAssertionLifetime   = time.Second
	defaultAssertionIssuer = "edge_auth"
)

// header is the name of its header, as the config has it.
func (a *Assertion) header() string { return cmp.Or(a.Header, identity.AssertionHeader) }

func (a *Assertion) check() error {
	if err := identity.CheckName(a.header()); err != nil {
		return fmt.Errorf("assertion: %w", err)
	}
	if len(a.Audience) == 0 || slices.Contains(a.Audience, "") {
		return errors.New("assertion: 'audience <name>' is needed, what the upstream knows itself by; without it an upstream could use the assertion at another one")
	}
	if l := time.Duration(a.Lifetime); l != 0 && (l < minAssertionLifetime || l > maxAssertionLifetime) {
		return fmt.Errorf("assertion: lifetime %s; 1s to 60s are possible, since each request gets a new one", l)
	}
	return nil
}

// provision asks for the signing keys, so that there are some.
func (a *Assertion) provision(app *App, logger *zap.Logger) {
	a.canonical = http.CanonicalHeaderKey(a.header())
	a.common = identity.Assertion{
		Issuer: cmp.Or(a.Issuer, defaultAssertionIssuer), Audience: a.Audience,
		Lifetime: cmp.Or(time.Duration(a.Lifetime), maxAssertionLifetime),
	}
	a.ring = app.SigningKeys()
	if a.ring.Secret() {
		logger.Warn("assertions are signed with a secret, so an upstream that can verify them can make them too: give signing_key a private key first",
			zap.Strings("audience", a.Audience))
	}
}

// assertionOf makes the assertion that who sent r; empty where the policy has
// none. An error means that there is no key to sign with.
func (p *Policy) assertionOf(r *http.Request, who *identity.Identity) (string, error) {
	if p.Assertion == nil {
		return "", nil
	}
	claims, err := p.Assertion.common.Claims(r, who, time.Now())
	if err != nil {
		return "", fmt.Errorf("assertion: %w", err)
	}
	assertion, err := p.Assertion.ring.Sign(claims, identity.AssertionType)
	if err != nil {
		return "", fmt.Errorf("assertion: %w", err)
	}
	return assertion, nil
}
