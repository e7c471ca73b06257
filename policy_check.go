package edgeauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// check refuses a policy that can't be meant.
func (p *Policy) check() error {
	if len(p.AuthenticatorsRaw) == 0 && len(p.Use) == 0 {
		return errors.New("policy without authenticators: name at least one of " +
			strings.Join(guestNames(authenticators.Namespace), ", ") + "; or 'off', which authenticates nobody")
	}
	if strings.ContainsAny(p.Name, "{}\n\r\t") || len(p.Name) > maxPolicyName {
		return fmt.Errorf("policy name of %d bytes: at most %d are possible, without braces and control characters", len(p.Name), maxPolicyName)
	}
	if p.Optional && len(p.Require) > 0 {
		return errors.New("'optional' lets everybody pass, so 'require' beside it would not hold; leave one of them out")
	}
	for i := range p.Require {
		if err := p.Require[i].check(); err != nil {
			return err
		}
	}
	if err := p.checkRequirements(); err != nil {
		return err
	}
	switch p.CheckUser {
	case "", checkUserOn, checkUserStrict:
	default:
		return fmt.Errorf("check_user '%s'; only 'strict' may follow", p.CheckUser)
	}
	if err := p.checkHeaders(); err != nil {
		return err
	}
	return checkLoginURL(p.LoginURL)
}

func (p *Policy) checkHeaders() error {
	if _, ok := identity.PresetNamed(p.IdentityHeaders); !ok {
		return fmt.Errorf("identity_headers: %w", words.Unknown("preset", p.IdentityHeaders, identity.PresetNames()))
	}
	if err := p.checkGroupsSeparator(); err != nil {
		return err
	}
	for _, h := range p.IdentityHeader {
		if err := h.check(); err != nil {
			return err
		}
	}
	if p.Assertion != nil {
		if err := p.Assertion.check(); err != nil {
			return err
		}
	}
	set := identity.NewNames(p.headers()...)
	if len(p.headers()) > set.Len() {
		return errors.New("two identity headers of one name; each can carry one value")
	}
	if err := p.checkCredentialHeaders(set); err != nil {
		return err
	}
	for _, name := range p.KeepHeader {
		if set.Has(name) {
			return fmt.Errorf("keep_header %s: this policy sets that header itself, so the client's can't be kept", name)
		}
	}
	for _, name := range p.AllowTrailer {
		if identity.CheckName(name) != nil || set.Has(name) {
			return fmt.Errorf("allow_trailer %s: not a name that a trailer may have", name)
		}
	}
	return nil
}

// checkRequirements refuses rules that can never hold, for nobody would ever pass.
func (p *Policy) checkRequirements() error {
	if len(p.Use) > 0 {
		return nil // what it takes over is not known yet
	}
	for i := range p.Require {
		if err := p.checkCanHold(&p.Require[i]); err != nil {
			return err
		}
	}
	if err := p.checkAgree(func(q *Requirement) []string { return q.User }); err != nil {
		return err
	}
	return p.checkAgree(func(q *Requirement) []string { return q.Method })
}

// checkAgree refuses lines that no value meets together, of what a caller has one of.
func (p *Policy) checkAgree(values func(*Requirement) []string) error {
	var before *Requirement
	var common []string
	for i := range p.Require {
		rule := &p.Require[i]
		these := values(rule)
		if len(these) == 0 {
			continue
		}
		if before != nil {
			these = slices.DeleteFunc(slices.Clone(these), func(v string) bool { return !slices.Contains(common, v) })
		}
		if len(these) == 0 {
			return fmt.Errorf("'%s' and '%s' can't both hold, and each line must; put alternatives into one line", before, rule)
		}
		before, common = rule, these
	}
	return nil
}

// checkCanHold refuses a rule that no credential of the policy's authenticators meets.
func (p *Policy) checkCanHold(rule *Requirement) error {
	names := make([]string, len(p.AuthenticatorsRaw))
	possible := false
	for i, raw := range p.AuthenticatorsRaw {
		var d authenticators.Description
		names[i], d = describeRaw(raw)
		possible = possible || !slices.Contains(d.Lacks, rule.kind())
	}
	if !possible {
		return fmt.Errorf("%s: no credential that the policy takes (%s) says anything of that, so this never holds", rule, strings.Join(names, ", "))
	}
	for _, method := range rule.Method {
		if !slices.Contains(names, method) {
			return fmt.Errorf("%s: the policy has no '%s', so this never holds; it has: %s", rule, method, strings.Join(names, ", "))
		}
	}
	if strings.TrimSpace(rule.Expression) == "false" {
		return fmt.Errorf("%s: this never holds; 'edge_auth off' asks nobody, and 'respond 403' lets nobody in", rule)
	}
	return nil
}
