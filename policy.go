package edgeauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/panics"
)

// Policy says who may pass and what the upstream is told about them.
type Policy struct {
	// Name is what logs, metrics and explanations call a policy of a handler's own.
	// Named policies of the app are called by their names there. Default: inline; in a
	// Caddyfile, of a named policy with more lines, its name and a plus sign.
	Name string `json:"name,omitempty"`

	// Use names policies of the app whose lines are taken over, before those of this
	// one. What may be said once is said by this policy, or else by the first of them.
	Use []string `json:"use,omitempty"`

	// Authenticators are asked in this order, and the first that finds a
	// credential of its kind decides. At least one is needed.
	AuthenticatorsRaw []json.RawMessage `json:"authenticators,omitempty" caddy:"namespace=edge_auth.authenticators inline_key=authenticator"`

	// Optional lets those pass who carry no credential, without an identity. A
	// wrong credential is refused all the same.
	Optional bool `json:"optional,omitempty"`

	// Require are rules that must all hold for whoever was authenticated.
	Require []Requirement `json:"require,omitempty"`

	// AllowPreflight lets a CORS preflight through, stripped: a request of OPTIONS with
	// Origin and Access-Control-Request-Method, and no body (Fetch standard, section
	// 4.8). Browsers send it without credentials. Default: it is guarded like all others.
	AllowPreflight bool `json:"allow_preflight,omitempty"`

	// ReportOnly refuses nobody: requests pass, stripped, with the identity where
	// there is one, and with their credentials, since the application behind still
	// checks for itself. What would have been refused is logged and counted. For
	// moving a live site over.
	ReportOnly bool `json:"report_only,omitempty"`

	// CheckUser looks the caller's user record up: "on" refuses who is known to
	// be disabled or must log in anew, "strict" also who has no record.
	// Default: "", no look-up.
	CheckUser string `json:"check_user,omitempty"`

	// IdentityHeaders is the preset of headers that tell the upstream: remote
	// (Remote-User, Remote-Name, Remote-Email, Remote-Groups), x-forwarded,
	// x-auth-request, webauth, grafana, jenkins, django, gitea or none. Default:
	// remote.
	IdentityHeaders string `json:"identity_headers,omitempty"`

	// GroupsSeparator is what stands between groups in the preset's header: comma,
	// pipe or space. Default: as the preset's backends want it, else comma.
	GroupsSeparator string `json:"groups_separator,omitempty"`

	// IdentityHeader are further headers, beside those of the preset.
	IdentityHeader []IdentityHeader `json:"identity_header,omitempty"`

	// Assertion is a signed JWT that tells the upstream who is calling, for
	// upstreams that verify. Default: none.
	Assertion *Assertion `json:"assertion,omitempty"`

	// KeepCredentials forwards credentials to the upstream. Default: those that
	// the policy's authenticators read are removed, but for cookies that belong
	// to the application behind.
	KeepCredentials bool `json:"keep_credentials,omitempty"`

	// KeepHeader exempts identity headers from being stripped, for names that a
	// trusted proxy in front sets. Such a proxy must be the only way in.
	KeepHeader []string `json:"keep_header,omitempty"`

	// AllowTrailer names the request trailers that are forwarded. Default: none.
	AllowTrailer []string `json:"allow_trailer,omitempty"`

	// LoginURL is where a browser that navigates here without an identity is
	// sent, with the query parameter next. Default: it gets 401 like all others.
	LoginURL string `json:"login_url,omitempty"`

	used    []*Policy // while a Caddyfile is read: those that 'use' named
	name    string
	members []member
	sources []string // headers that authenticators read credentials from, canonical
	keep    identity.Names
	query   []string // parameters that carry credentials
	cookies []string // that carry credentials of ours
	preset  identity.Preset
	sets    []string // the headers that it may set
	app     *App
	logger  *zap.Logger

	metrics  policyMetrics
	loopTold *sync.Once // that logging in leads round in circles
}

// inlineName is the name, in logs and metrics, of a policy that has none.
const inlineName = "inline"

// maxPolicyName bounds what each line of a log repeats, in bytes.
const maxPolicyName = 100

// member is an authenticator of a policy.
type member struct {
	authenticators.Authenticator

	name   string // of its module
	config string // all that defines it
	scope  scope  // of what it finds

	counters map[string]prometheus.Counter // of requests that it decided, by outcome
}

// result is who was authenticated, and by what.
type result struct {
	who        *identity.Identity
	credential authenticators.Credential
	by         *member
	unmet      *Requirement // the rule that keeps who out; nil: none does
}

// name is that of the authenticator that decided; empty: none did.
func (res *result) name() string {
	if res.by == nil {
		return ""
	}
	return res.by.name
}

// identify asks the authenticators in their order. A result without who, and no
// error, means that nobody was authenticated and that this is fine.
func (p *Policy) identify(r *http.Request, s *state) (result, error) {
	r = s.withCredentials(r)
	for i := range p.members {
		m := &p.members[i]
		found := s.found(&m.scope)
		if found == nil {
			s.findings = append(s.findings, p.ask(m, r, s))
			found = &s.findings[len(s.findings)-1]
		}
		switch {
		case errors.Is(found.err, authenticators.ErrNoCredential):
			continue
		case found.err != nil:
			return result{by: m}, found.err
		}
		return result{who: found.who, credential: found.credential, by: m}, nil
	}
	if p.Optional {
		return result{}, nil
	}
	return result{}, authenticators.ErrNoCredential
}

// ask lets one authenticator find and verify. Whatever it does, the outcome is
// one of the four: a panic is "unavailable", and so is an identity of nobody.
func (p *Policy) ask(m *member, r *http.Request, s *state) (f finding) {
	defer func() {
		if cause := recover(); cause != nil {
			p.logger.Error("authenticator panicked",
				zap.String("policy", p.name), zap.String("authenticator", m.name),
				zap.Error(panics.Error(cause)), zap.ByteString("stack", debug.Stack()))
			f = finding{scope: &m.scope, err: fmt.Errorf("authenticator %s panicked", m.name)}
		}
	}()
	f.scope = &m.scope
	f.credential, f.err = m.Find(r)
	if f.err == nil {
		f.who, f.cached, f.err = p.verify(r.Context(), m, f.credential, s)
	}
	if errors.Is(f.err, authenticators.ErrAmbiguous) {
		p.logger.Info("credential ignored", zap.String("policy", p.name), zap.String("authenticator", m.name), zap.Error(f.err))
	}
	return f
}
