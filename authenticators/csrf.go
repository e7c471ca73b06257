package authenticators

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// CSRF says how requests are checked whose credential is a cookie: a browser
// sends it along with the requests of any site. Unsafe methods pass by the rules
// of Django's CsrfViewMiddleware: their Origin (or, over HTTPS, else their
// Referer) must be this site's or a trusted one, and a token must be that of a
// cookie, which other sites can't read. A WebSocket's Origin must be such a one too.
type CSRF struct {
	// Off leaves the check to the application behind.
	Off bool `json:"off,omitempty"`

	// TrustedOrigins are other sites that may make unsafe requests, such as
	// https://app.example.com, or https://*.example.com for all below a domain.
	TrustedOrigins []string `json:"trusted_origins,omitempty"`

	// Cookie is the name of the cookie with the token. Default: csrftoken. Edge
	// Auth's login sets it, and so does Django.
	Cookie string `json:"cookie,omitempty"`

	// Header is where a request repeats the token. Default: X-CSRFToken. Forms may
	// have it in the field csrfmiddlewaretoken instead.
	Header string `json:"header,omitempty"`

	// NoToken leaves it at the check of Origin and Sec-Fetch-Site, for sites whose
	// forms know of no token. Requests of programs, which send neither, pass.
	NoToken bool `json:"no_token,omitempty"`
}

// The defaults, which are Django's.
const (
	DefaultCSRFCookie = "csrftoken"
	defaultCSRFHeader = "X-CSRFToken"
)

// Check says what is wrong with it, if anything.
func (c *CSRF) Check() error {
	if c == nil {
		return nil
	}
	if c.Off && (len(c.TrustedOrigins) > 0 || c.Cookie != "" || c.Header != "" || c.NoToken) {
		return errors.New("csrf off checks nothing; leave its other options out")
	}
	if c.NoToken && (c.Cookie != "" || c.Header != "") {
		return errors.New("csrf: without a token there is no cookie and no header for it; leave 'cookie' and 'header' out")
	}
	for _, origin := range c.TrustedOrigins {
		if _, err := parseOrigin(origin); err != nil {
			return fmt.Errorf("csrf: trusted origin '%s': scheme and host are needed, such as https://app.example.com or https://*.example.com", origin)
		}
	}
	return nil
}

// OriginCheck makes the check of requests; nil if it is off.
func (c *CSRF) OriginCheck() (func(*http.Request) error, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c == nil {
		c = new(CSRF)
	}
	if c.Off {
		return nil, nil //nolint:nilnil // no check, as said
	}
	checker := csrfChecker{
		cookie: cmp.Or(c.Cookie, DefaultCSRFCookie),
		header: textproto.CanonicalMIMEHeaderKey(cmp.Or(c.Header, defaultCSRFHeader)), noToken: c.NoToken,
	}
	for _, text := range c.TrustedOrigins {
		origin, err := parseOrigin(text)
		if err != nil {
			return nil, err
		}
		checker.trusted = append(checker.trusted, origin)
	}
	return checker.check, nil
}

// csrfChecker is a CSRF that is complete.
type csrfChecker struct {
	trusted        []origin
	cookie, header string
	noToken        bool
}

func (c *csrfChecker) check(r *http.Request) error {
	if upgrades(r) {
		if len(r.Header["Origin"]) == 0 { // no browser
			return nil
		}
		return c.checkSite(r)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace: // RFC 9110, section 9.2.1
		return nil
	}
	if err := c.checkSite(r); err != nil {
		return err
	}
	if c.noToken {
		return nil
	}
	return c.checkToken(r)
}

// upgrades reports whether a request opens a WebSocket, or another protocol. Nothing
// keeps a page of another site from reading what comes by it, so its origin is checked
// as that of a request that changes something; scripts can't give it the token.
func upgrades(r *http.Request) bool {
	return r.Method == http.MethodGet && len(r.Header["Upgrade"]) > 0 || identity.UpstreamMethod(r) != r.Method
}

// refusedCSRF is a refusal in the words of Django and its REST framework.
func refusedCSRF(reason string) error {
	return &ForbiddenError{Code: CodeCSRF, Detail: "CSRF Failed: " + reason}
}

// checkSite refuses what a browser says to come from another site.
func (c *csrfChecker) checkSite(r *http.Request) error {
	if origins := r.Header["Origin"]; len(origins) > 0 {
		from, err := parseOrigin(origins[0])
		if len(origins) > 1 || err != nil || from.wildcard || !c.allows(r, from) {
			return refusedCSRF("Origin checking failed - " + strings.Join(origins, ", ") + " does not match any trusted origins.")
		}
		return nil
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin":
		return nil
	case "", "none": // no browser, an old one, or one whose user typed the address
		if c.noToken || r.TLS == nil {
			return nil
		}
	}
	return c.checkReferer(r)
}

// checkReferer stands in for Origin. Over plain HTTP it tells nothing, since
// whoever is between writes it.
func (c *csrfChecker) checkReferer(r *http.Request) error {
	referer := r.Header.Get("Referer")
	if referer == "" {
		return refusedCSRF("Referer checking failed - no Referer.")
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return refusedCSRF("Referer checking failed - Referer is malformed.")
	}
	if u.Scheme != "https" && r.TLS != nil {
		return refusedCSRF("Referer checking failed - Referer is insecure while host is secure.")
	}
	from, err := parseOrigin(u.Scheme + "://" + u.Host)
	if err != nil || from.wildcard || !c.allows(r, from) {
		return refusedCSRF("Referer checking failed - " + referer + " does not match any trusted origins.")
	}
	return nil
}

// allows reports whether a request may come from an origin: the site's own, or a
// trusted one. Where HTTPS ends in front of us, our own scheme is unknown.
func (c *csrfChecker) allows(r *http.Request, from origin) bool {
	if r.TLS == nil || from.scheme == "https" {
		if own, err := parseOrigin(from.scheme + "://" + r.Host); err == nil && own == from {
			return true
		}
	}
	for _, trusted := range c.trusted {
		if trusted.covers(from) {
			return true
		}
	}
	return false
}

// origin is a site: RFC 6454, section 4.
type origin struct {
	scheme, host, port string

	// wildcard says that all hosts below this one are meant.
	wildcard bool
}

var errNoOrigin = errors.New("not an origin")

func parseOrigin(text string) (origin, error) {
	rest, wildcard := text, false
	if scheme, host, ok := strings.Cut(text, "://*."); ok {
		rest, wildcard = scheme+"://"+host, true
	}
	u, err := url.Parse(rest)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Contains(u.Host, "*") || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return origin{}, errNoOrigin
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return origin{u.Scheme, strings.ToLower(u.Hostname()), port, wildcard}, nil
}

func (o origin) covers(other origin) bool {
	if !o.wildcard {
		return o == other
	}
	return o.scheme == other.scheme && o.port == other.port && strings.HasSuffix(other.host, "."+o.host)
}

var csrfOptions = []string{"cookie", "header", "token", "trusted_origins"}

// UnmarshalCaddyfile reads:
//
//	csrf [off] {
//		trusted_origins <origin…>
//		cookie <name>
//		header <name>
//		token off
//	}
func (c *CSRF) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return d.ArgErr()
		}
		c.Off = true
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := c.unmarshalOption(d); err != nil {
			return err
		}
	}
	return words.Wrap(d, c.Check())
}

func (c *CSRF) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "trusted_origins":
		return words.Many(d, &c.TrustedOrigins)
	case "cookie":
		return words.One(d, &c.Cookie)
	case "header":
		return words.One(d, &c.Header)
	case "token":
		if args := d.RemainingArgs(); len(args) != 1 || args[0] != "off" || c.NoToken {
			return d.Err("token off: only this may stand here, and once")
		}
		c.NoToken = true
		return nil
	}
	return words.Wrap(d, words.Unknown("csrf option", d.Val(), csrfOptions))
}
