package edgeauth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// use takes another policy's lines over, as if they stood here; one that is here
// already is not taken twice. What may stand only once is left to inherit, since an
// own line goes before it.
func (p *Policy) use(other *Policy) {
	for _, raw := range other.AuthenticatorsRaw {
		same := func(have json.RawMessage) bool { return bytes.Equal(have, raw) }
		if !slices.ContainsFunc(p.AuthenticatorsRaw, same) {
			p.AuthenticatorsRaw = append(p.AuthenticatorsRaw, raw)
		}
	}
	p.Require = append(p.Require, other.Require...)
	for _, header := range other.IdentityHeader {
		if !slices.Contains(p.IdentityHeader, header) {
			p.IdentityHeader = append(p.IdentityHeader, header)
		}
	}
	p.KeepHeader = append(p.KeepHeader, other.KeepHeader...)
	p.AllowTrailer = append(p.AllowTrailer, other.AllowTrailer...)
	p.used = append(p.used, other)
}

// inherit takes from used policies what the body itself does not say; but not
// report_only: a policy that is moved over must not open those that use it.
func (p *Policy) inherit() {
	strictest := ""
	for _, other := range p.used {
		if strictest != checkUserStrict && other.CheckUser != "" {
			strictest = other.CheckUser
		}
	}
	for _, other := range p.used {
		p.Optional = p.Optional || other.Optional
		p.AllowPreflight = p.AllowPreflight || other.AllowPreflight
		p.KeepCredentials = p.KeepCredentials || other.KeepCredentials
		p.CheckUser = cmp.Or(p.CheckUser, strictest)
		p.IdentityHeaders = cmp.Or(p.IdentityHeaders, other.IdentityHeaders)
		p.GroupsSeparator = cmp.Or(p.GroupsSeparator, other.GroupsSeparator)
		p.Assertion = cmp.Or(p.Assertion, other.Assertion)
		p.LoginURL = cmp.Or(p.LoginURL, other.LoginURL)
	}
	p.used = nil
}

// clone is a policy of its own with the same config, before anything of it has been
// loaded.
func (p *Policy) clone() *Policy {
	other := *p
	other.AuthenticatorsRaw = slices.Clone(p.AuthenticatorsRaw)
	other.IdentityHeader = slices.Clone(p.IdentityHeader)
	other.Require = slices.Clone(p.Require)
	return &other
}

// known finds named policies for those that use them.
type known interface {
	// policy returns the policy called name, with all that it uses; an error says
	// that there is none, or that it uses itself.
	policy(name string) (*Policy, error)
}

// resolve puts the lines of the policies that Use names before p's own.
func (p *Policy) resolve(from known) error {
	if len(p.Use) == 0 {
		return nil
	}
	var all Policy
	for _, name := range p.Use {
		other, err := from.policy(name)
		if err != nil {
			return err
		}
		all.use(other)
	}
	p.Use, p.used = nil, all.used
	all.use(p)
	p.AuthenticatorsRaw, p.Require, p.IdentityHeader = all.AuthenticatorsRaw, all.Require, all.IdentityHeader
	p.KeepHeader, p.AllowTrailer = all.KeepHeader, all.AllowTrailer
	p.inherit()
	return nil
}

// resolver gives the policies of a config, each with all that it uses, and keeps
// them as they were before anything in them was loaded.
type resolver struct {
	declared map[string]*Policy
	resolved map[string]*Policy
	under    []string // those being resolved, against a cycle
}

func newResolver(declared map[string]*Policy) *resolver {
	return &resolver{declared: declared, resolved: make(map[string]*Policy)}
}

func (r *resolver) policy(name string) (*Policy, error) {
	if done := r.resolved[name]; done != nil {
		return done, nil
	}
	declared := r.declared[name]
	if declared == nil {
		if name == defaultPolicy {
			return ownIssuing(), nil
		}
		return nil, words.Unknown("policy", name, namesOf(r.declared))
	}
	if err := enter(&r.under, name); err != nil {
		return nil, err
	}
	defer leave(&r.under)
	p := declared.clone()
	if err := p.resolve(r); err != nil {
		return nil, err
	}
	r.resolved[name] = p
	return p, nil
}

// enter notes that a policy is being put together, unless it is so already.
func enter(under *[]string, name string) error {
	if i := slices.Index(*under, name); i >= 0 {
		return fmt.Errorf("policy '%s' uses itself: %s", name, strings.Join(append(slices.Clone((*under)[i:]), name), " > "))
	}
	*under = append(*under, name)
	return nil
}

func leave(under *[]string) { *under = (*under)[:len(*under)-1] }
