package edgeauth

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// The options of a policy, beside its authenticators.
var policyOptions = []string{
	"allow_preflight", "allow_trailer", "check_user", "identity_header", "identity_headers", "keep_credentials",
	"keep_header", "login_url", "optional", "report_only", "require", "use",
}

// unmarshalBody reads the block of a policy. Those that 'use' may name come from
// others.
func (p *Policy) unmarshalBody(d *caddyfile.Dispenser, others known) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.unmarshalOption(d, others); err != nil {
			return err
		}
	}
	p.inherit()
	return nil
}

func (p *Policy) unmarshalOption(d *caddyfile.Dispenser, others known) error {
	switch option := d.Val(); option {
	case "use":
		var name string
		if !d.AllArgs(&name) {
			return d.ArgErr()
		}
		other, err := others.policy(name)
		if err != nil {
			return wrapUse(d, err)
		}
		p.use(other)
	case "optional":
		return words.Flag(d, &p.Optional)
	case "allow_preflight":
		return words.Flag(d, &p.AllowPreflight)
	case "report_only":
		return words.Flag(d, &p.ReportOnly)
	case "keep_credentials":
		return words.Flag(d, &p.KeepCredentials)
	case "require":
		if !d.NextArg() {
			return d.ArgErr()
		}
		rule, err := unmarshalRequirement(d)
		p.Require = append(p.Require, rule)
		return err
	case "check_user":
		return p.unmarshalCheckUser(d)
	case "identity_headers":
		return words.One(d, &p.IdentityHeaders)
	case "login_url":
		return words.One(d, &p.LoginURL)
	case "identity_header":
		var h IdentityHeader
		if !d.AllArgs(&h.Name, &h.Value) {
			return d.ArgErr()
		}
		p.IdentityHeader = append(p.IdentityHeader, h)
		return words.Wrap(d, h.check())
	case "keep_header":
		return words.Many(d, &p.KeepHeader)
	case "allow_trailer":
		return words.Many(d, &p.AllowTrailer)
	default:
		return p.unmarshalAuthenticator(d)
	}
	return nil
}

func (p *Policy) unmarshalAuthenticator(d *caddyfile.Dispenser) error {
	name, kinds := d.Val(), guestNames(authenticators.Namespace)
	if !slices.Contains(kinds, name) && words.Suggest(name, kinds) == "" && words.Suggest(name, policyOptions) != "" {
		return words.Wrap(d, words.Unknown("option", name, policyOptions))
	}
	raw, err := unmarshalGuest(d, authenticators.Namespace, "authenticator")
	if err != nil {
		return err
	}
	p.AuthenticatorsRaw = append(p.AuthenticatorsRaw, raw)
	return nil
}

func (p *Policy) unmarshalCheckUser(d *caddyfile.Dispenser) error {
	if p.CheckUser != "" {
		return d.Err("check_user stands twice; once is enough")
	}
	switch args := d.RemainingArgs(); {
	case len(args) == 0:
		p.CheckUser = checkUserOn
	case len(args) == 1 && args[0] == checkUserStrict:
		p.CheckUser = checkUserStrict
	default:
		return d.Errf("check_user %s; only 'strict' may follow", args[0])
	}
	return nil
}
