package edgeauth

import (
	"net/http"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(MatchIdentity))
}

// MatchIdentity matches the requests of callers who meet all of its requirements. It
// never matches where edge_auth has authenticated nobody, and so neither before
// edge_auth has been reached.
type MatchIdentity struct {
	// Require are the requirements.
	Require []Requirement `json:"require,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*MatchIdentity) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.edge_auth",
		New: func() caddy.Module { return new(MatchIdentity) },
	}
}

// Provision compiles expressions.
func (m *MatchIdentity) Provision(ctx caddy.Context) error {
	for i := range m.Require {
		if err := m.Require[i].check(); err != nil {
			return err
		}
		if err := m.Require[i].provision(ctx); err != nil {
			return err
		}
	}
	return nil
}

// MatchWithError reports whether the caller meets the requirements.
func (m *MatchIdentity) MatchWithError(r *http.Request) (bool, error) {
	s, ok := caddyhttp.GetVar(r.Context(), stateKey).(*state)
	if !ok || s.who == nil {
		return false, nil
	}
	now := time.Now()
	for i := range m.Require {
		if !m.Require[i].met(r, s.who, now) {
			return false, nil
		}
	}
	return true, nil
}

// UnmarshalCaddyfile reads, as often as it stands in a set:
//
//	edge_auth <requirement>
//
// with what may follow 'require' in a policy; or several in a block.
func (m *MatchIdentity) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if d.NextArg() {
			if err := m.unmarshalRequirement(d); err != nil {
				return err
			}
			continue
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			if err := m.unmarshalRequirement(d); err != nil {
				return err
			}
		}
	}
	if len(m.Require) == 0 {
		return d.ArgErr()
	}
	return nil
}

func (m *MatchIdentity) unmarshalRequirement(d *caddyfile.Dispenser) error {
	rule, err := unmarshalRequirement(d)
	m.Require = append(m.Require, rule)
	return err
}

// CELLibrary brings auth_user() into Caddy's expressions.
func (*MatchIdentity) CELLibrary(caddy.Context) (cel.Library, error) { return celLibrary{}, nil }

var (
	_ caddy.Provisioner                 = (*MatchIdentity)(nil)
	_ caddyfile.Unmarshaler             = (*MatchIdentity)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchIdentity)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchIdentity)(nil)
)
