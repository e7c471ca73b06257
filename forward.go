package edgeauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// IdentityHeader is a header that tells the upstream something of the identity.
type IdentityHeader struct {
	// Name of the header, such as X-Tenant.
	Name string `json:"name"`

	// Value is a text with placeholders. Where one of {http.auth.user.*} in it is
	// unknown, the header is not sent.
	Value string `json:"value"`

	canonical string
}

func (h *IdentityHeader) provision() { h.canonical = http.CanonicalHeaderKey(h.Name) }

func (h *IdentityHeader) check() error {
	if h.Value == "" {
		return fmt.Errorf("identity_header %s: a text is needed, such as {http.auth.user.id}", h.Name)
	}
	if err := identity.CheckPlaceholders(h.Value); err != nil {
		return fmt.Errorf("identity_header %s: %w", h.Name, err)
	}
	return identity.CheckName(h.Name)
}

// value fills the text in; empty if it can't be. A value that comes from the
// identity is never expanded again.
func (h *IdentityHeader) value(repl *caddy.Replacer) string {
	value, err := repl.ReplaceFunc(h.Value, func(name string, value any) (any, error) {
		if value == "" && strings.HasPrefix(name, identity.PlaceholderPrefix) {
			return nil, errUnknownField
		}
		return value, nil
	})
	if err != nil {
		return ""
	}
	return identity.SafeText(value)
}

var errUnknownField = errors.New("unknown")

// reveals reports whether the header tells nothing but what the identity says, of its
// claims those that allowed names; any other may carry a secret on.
func (h *IdentityHeader) reveals(allowed func(claim string) bool) bool {
	for rest := h.Value; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			return true
		}
		placeholder, _, _ := strings.Cut(after, "}")
		field, ours := strings.CutPrefix(placeholder, identity.PlaceholderPrefix)
		claim, isClaim := strings.CutPrefix(field, "claims.")
		if !ours || isClaim && !allowed(claim) {
			return false
		}
		rest = after
	}
}

// reveals reports whether one of the headers that the policy sets tells nothing but
// what the identity says.
func (p *Policy) reveals(name string, allowed func(claim string) bool) bool {
	for i := range p.IdentityHeader {
		if h := &p.IdentityHeader[i]; h.canonical == name {
			return h.reveals(allowed)
		}
	}
	return slices.Contains(p.preset.Headers(), name)
}

// forward tells the upstream who is calling, and takes the credentials out.
func (p *Policy) forward(r *http.Request, s *state, who *identity.Identity) error {
	if !p.KeepCredentials {
		p.removeCredentials(r, s)
	}
	if who == nil {
		return nil
	}
	assertion, err := p.assertionOf(r, who)
	if err != nil {
		return err // before the upstream of an error page is told anything
	}
	s.withdraw(r) // what an earlier policy said
	s.who = who
	s.set, s.setBy = p.sets, p
	if err := p.preset.Forward(r.Header, who, s.values()); err != nil {
		return err
	}
	if p.Assertion != nil {
		r.Header[p.Assertion.canonical] = []string{assertion}
	}
	if len(p.IdentityHeader) == 0 {
		return nil
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return errors.New("request without a replacer")
	}
	for i := range p.IdentityHeader {
		h := &p.IdentityHeader[i]
		if value := h.value(repl); value != "" {
			r.Header[h.canonical] = []string{value}
		}
	}
	return nil
}

// removeCredentials takes out of r all that the policy's authenticators could
// read, used or not: upstreams do no authentication, so credentials need not
// travel. What belongs to the application behind stays.
func (p *Policy) removeCredentials(r *http.Request, s *state) {
	for i := range p.members {
		c, err := p.credentialOf(&p.members[i], r, s)
		if err != nil || c.Foreign {
			continue
		}
		switch c.In {
		case authenticators.InHeader:
			name := http.CanonicalHeaderKey(c.Name)
			s.remember(r.Header, name)
			delete(r.Header, name)
		case authenticators.InCookie:
			if slices.Contains(p.cookies, c.Name) {
				continue // all of those go together
			}
			s.removeCookies(r, []string{c.Name})
		case authenticators.InQuery: // not there any more
		}
	}
	s.removeCookies(r, p.cookies)
	for _, name := range p.sources { // also those that were not looked at, since another one decided
		s.remember(r.Header, name)
		delete(r.Header, name)
	}
}

func (p *Policy) credentialOf(m *member, r *http.Request, s *state) (authenticators.Credential, error) {
	if found := s.found(&m.scope); found != nil {
		if found.credential.Name == "" {
			return found.credential, authenticators.ErrNoCredential
		}
		return found.credential, nil
	}
	return m.Find(r)
}

// checkLoginURL allows a path of the same site, or an address with a scheme.
func checkLoginURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && (strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") || (u.Scheme == "https" || u.Scheme == "http") && u.Host != "") {
		return nil
	}
	return fmt.Errorf("login_url '%s': a path such as /login/, or an address such as https://login.example.com/, is needed", text)
}
