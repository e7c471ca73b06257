package edgeauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Policy says who may pass and what the upstream is told about them.
type Policy struct {
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
	// x-auth-request, webauth or none. Default: remote.
	IdentityHeaders string `json:"identity_headers,omitempty"`

	// IdentityHeader are further headers, beside those of the preset.
	IdentityHeader []IdentityHeader `json:"identity_header,omitempty"`

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
	scheme  bool // an authenticator reads the Authorization header
	keep    identity.Names
	query   []string // parameters that carry credentials
	cookies []string // that carry credentials of ours
	preset  identity.Preset
	sets    []string // the headers that it may set
	app     *App
	logger  *zap.Logger

	loopTold *sync.Once // that logging in leads round in circles
}

// inlineName is the name, in logs and metrics, of a policy that has none.
const inlineName = "inline"

// member is an authenticator of a policy.
type member struct {
	authenticators.Authenticator

	name   string // of its module
	config string // all that defines it
	scope  scope  // of what it finds
}

// provision loads the policy's authenticators and makes ready what it needs
// for each request.
func (p *Policy) provision(ctx caddy.Context, app *App, name string) error {
	if err := p.check(); err != nil {
		return err
	}
	p.name, p.app, p.logger = name, app, ctx.Logger()
	if p.ReportOnly {
		p.KeepCredentials = true // the application behind still needs them
		p.logger.Warn("report_only is on: this policy refuses nobody, it only logs whom it would refuse", zap.String("policy", p.name))
	}
	for i := range p.Require {
		if err := p.Require[i].provision(ctx); err != nil {
			return err
		}
	}

	configs := make([]string, len(p.AuthenticatorsRaw))
	for i, raw := range p.AuthenticatorsRaw {
		configs[i] = string(raw)
	}
	ctx = authenticators.WithHost(ctx, app)
	loaded, err := ctx.LoadModule(p, "AuthenticatorsRaw")
	if err != nil {
		return fmt.Errorf("loading authenticators: %w", err)
	}
	for i, guest := range loaded.([]any) {
		a, ok := guest.(authenticators.Authenticator)
		if !ok {
			return fmt.Errorf("module %T is no authenticator", guest)
		}
		id := guest.(caddy.Module).CaddyModule().ID
		p.members = append(p.members, member{Authenticator: a, name: id.Name(), config: configs[i]})
	}
	if err := p.shareSchemes(); err != nil {
		return err
	}
	for _, d := range p.descriptions() {
		if d.Query != "" {
			if slices.Contains(p.query, d.Query) {
				return fmt.Errorf("two authenticators read the query parameter '%s', and the first would refuse the other's: give each a name of its own", d.Query)
			}
			p.query = append(p.query, d.Query)
		}
		if d.Cookie != "" {
			p.cookies = append(p.cookies, d.Cookie)
		}
		if d.IDClaim != "" && !slices.Contains(app.idClaims, d.IDClaim) {
			app.idClaims = append(app.idClaims, d.IDClaim)
		}
	}
	for _, m := range p.members {
		if w, ok := m.Authenticator.(authenticators.Warner); ok {
			w.Warn(p.logger)
		}
	}
	p.warnOfMixedIDs()
	p.loopTold = new(sync.Once)
	if p.LoginURL != "" {
		p.cookies = append(p.cookies, loopCookies...) // they are ours
	}
	p.preset, _ = identity.PresetNamed(p.IdentityHeaders)
	p.keep = identity.NewNames(p.KeepHeader...)
	p.sets = p.preset.Headers()
	for i := range p.IdentityHeader {
		p.IdentityHeader[i].provision()
		p.sets = append(p.sets, p.IdentityHeader[i].canonical)
	}
	for i := range p.members {
		p.members[i].scope = newScope(p.members[i].config, p.CheckUser, app.storeKey)
	}
	app.addHeaderNames(p.headers())
	app.metrics.prepare(p)
	return nil
}

// shareSchemes tells authenticators that read one scheme of each other.
func (p *Policy) shareSchemes() error {
	sharing := make(map[string]authenticators.Sharing)
	configs := make(map[string]string)
	for _, m := range p.members {
		if c, ok := m.Authenticator.(authenticators.Challenger); ok && c.Challenge() != "" {
			p.scheme = true
		}
		s, ok := m.Authenticator.(authenticators.SchemeSharer)
		if !ok {
			continue
		}
		for _, scheme := range s.SharedSchemes() {
			sharing[scheme] = append(sharing[scheme], s)
			configs[scheme] += m.config
		}
	}
	for i := range p.members {
		m := &p.members[i]
		s, ok := m.Authenticator.(authenticators.SchemeSharer)
		if !ok {
			continue
		}
		for _, scheme := range s.SharedSchemes() {
			if len(sharing[scheme]) > 1 {
				if err := s.ShareScheme(scheme, sharing[scheme]); err != nil {
					return err
				}
				m.config += configs[scheme] // whom it shares with decides what it takes
			}
		}
	}
	return nil
}

// warnOfMixedIDs tells of two kinds of ids in one space: an own user could
// choose a login name that is somebody's primary key in another application.
func (p *Policy) warnOfMixedIDs() {
	var own, foreign []string
	for _, m := range p.members {
		d, ok := m.Authenticator.(authenticators.Describer)
		if !ok || d.Describe().IDPrefix != "" {
			continue
		}
		if d.Describe().Own {
			own = append(own, m.name)
		} else {
			foreign = append(foreign, m.name)
		}
	}
	if len(own) > 0 && len(foreign) > 0 {
		p.logger.Warn("a policy mixes own user names with ids of another application, so two people may get one id: give one of them an id_prefix",
			zap.String("policy", p.name), zap.Strings("own", own), zap.Strings("foreign", foreign))
	}
}

// descriptions are what the authenticators say of themselves.
func (p *Policy) descriptions() []authenticators.Description {
	var list []authenticators.Description
	for _, m := range p.members {
		if d, ok := m.Authenticator.(authenticators.Describer); ok {
			list = append(list, d.Describe())
		}
	}
	return list
}

// headers lists the names that the policy may set.
func (p *Policy) headers() []string {
	preset, _ := identity.PresetNamed(p.IdentityHeaders)
	names := preset.Headers()
	for _, h := range p.IdentityHeader {
		names = append(names, h.Name)
	}
	return names
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
				zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
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
