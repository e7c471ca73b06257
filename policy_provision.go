package edgeauth

import (
	"fmt"
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// provision loads the policy's authenticators and makes ready what it needs
// for each request.
func (p *Policy) provision(ctx caddy.Context, app *App, name string) error {
	if err := p.check(); err != nil {
		return err
	}
	p.name, p.app, p.logger, p.loopTold = name, app, ctx.Logger(), new(sync.Once)
	if p.ReportOnly {
		p.KeepCredentials = true // the application behind still needs them
		p.logger.Warn("report_only is on: this policy refuses nobody, it only logs whom it would refuse", zap.String("policy", p.name))
	}
	for i := range p.Require {
		if err := p.Require[i].provision(ctx); err != nil {
			return err
		}
	}
	if err := p.provisionMembers(authenticators.WithHost(ctx, app)); err != nil {
		return err
	}
	if err := p.heedDescriptions(); err != nil {
		return err
	}
	p.provisionHeaders()
	p.prepareMetrics()
	return nil
}

// provisionMembers loads the authenticators.
func (p *Policy) provisionMembers(ctx caddy.Context) error {
	configs := make([]string, len(p.AuthenticatorsRaw))
	for i, raw := range p.AuthenticatorsRaw {
		configs[i] = string(raw)
	}
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
	for i := range p.members {
		m := &p.members[i]
		m.scope = newScope(m.config, p.CheckUser, p.app.storeKey)
		if w, ok := m.Authenticator.(authenticators.Warner); ok {
			w.Warn(p.logger)
		}
	}
	p.warnOfMixedIDs()
	return nil
}

// heedDescriptions notes where the authenticators find credentials.
func (p *Policy) heedDescriptions() error {
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
		if d.Header != "" {
			p.sources = append(p.sources, http.CanonicalHeaderKey(d.Header))
		}
		if d.IDClaim != "" && !slices.Contains(p.app.idClaims, d.IDClaim) {
			p.app.idClaims = append(p.app.idClaims, d.IDClaim)
		}
	}
	if p.LoginURL != "" {
		p.cookies = append(p.cookies, loopCookies...) // they are ours
	}
	return nil
}

// provisionHeaders makes ready what tells upstreams who is calling.
func (p *Policy) provisionHeaders() {
	p.preset = p.headerPreset()
	p.keep = identity.NewNames(p.KeepHeader...)
	p.sets = p.preset.Headers()
	for i := range p.IdentityHeader {
		p.IdentityHeader[i].provision()
		p.sets = append(p.sets, p.IdentityHeader[i].canonical)
	}
	if p.Assertion != nil {
		p.Assertion.provision(p.app, p.logger)
		p.sets = append(p.sets, p.Assertion.canonical)
	}
	p.app.addHeaderNames(p.headers())
}

// readsAuthorization notes that an authenticator has a scheme.
func (p *Policy) readsAuthorization() {
	if !slices.Contains(p.sources, "Authorization") {
		p.sources = append(p.sources, "Authorization")
	}
}

// shareSchemes tells authenticators that read one scheme of each other.
func (p *Policy) shareSchemes() error {
	sharing := make(map[string]authenticators.Sharing)
	configs := make(map[string]string)
	for _, m := range p.members {
		if c, ok := m.Authenticator.(authenticators.Challenger); ok && c.Challenge() != "" {
			p.readsAuthorization()
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
	if p.Assertion != nil {
		names = append(names, p.Assertion.header())
	}
	return names
}
