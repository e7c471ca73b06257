package edgeauth

import (
	"cmp"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// The options of a policy, beside its authenticators.
var policyOptions = []string{
	"allow_trailer", "assertion", "check_user", "groups_separator", "identity_header", "identity_headers", "keep_credentials", "keep_header",
	"login_url", "optional", "require", "use",
}

// unmarshalBody reads the block of a policy. known are those that 'use' may name.
func (p *Policy) unmarshalBody(d *caddyfile.Dispenser, known map[string]*Policy) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.unmarshalOption(d, known); err != nil {
			return err
		}
	}
	p.inherit()
	return nil
}

func (p *Policy) unmarshalOption(d *caddyfile.Dispenser, known map[string]*Policy) error {
	switch option := d.Val(); option {
	case "use":
		var name string
		if !d.AllArgs(&name) {
			return d.ArgErr()
		}
		other := known[name]
		if other == nil {
			return words.Wrap(d, words.Unknown("policy", name, namesOf(known)))
		}
		p.use(other)
	case "optional":
		return words.Flag(d, &p.Optional)
	case "keep_credentials":
		return words.Flag(d, &p.KeepCredentials)
	case "require":
		return p.unmarshalRequire(d)
	case "check_user":
		return p.unmarshalCheckUser(d)
	case "identity_headers":
		return words.One(d, &p.IdentityHeaders)
	case "groups_separator":
		return words.One(d, &p.GroupsSeparator)
	case "assertion":
		return p.unmarshalAssertion(d)
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

// use takes another policy's lines over, as if they stood here. What may stand
// only once is left to inherit, since an own line goes before it.
func (p *Policy) use(other *Policy) {
	p.AuthenticatorsRaw = append(p.AuthenticatorsRaw, other.AuthenticatorsRaw...)
	p.Require = append(p.Require, other.Require...)
	p.IdentityHeader = append(p.IdentityHeader, other.IdentityHeader...)
	p.KeepHeader = append(p.KeepHeader, other.KeepHeader...)
	p.AllowTrailer = append(p.AllowTrailer, other.AllowTrailer...)
	p.used = append(p.used, other)
}

// inherit takes from used policies what the body itself does not say.
func (p *Policy) inherit() {
	for _, other := range p.used {
		p.Optional = p.Optional || other.Optional
		p.KeepCredentials = p.KeepCredentials || other.KeepCredentials
		p.CheckUser = cmp.Or(p.CheckUser, other.CheckUser)
		p.IdentityHeaders = cmp.Or(p.IdentityHeaders, other.IdentityHeaders)
		p.GroupsSeparator = cmp.Or(p.GroupsSeparator, other.GroupsSeparator)
		p.Assertion = cmp.Or(p.Assertion, other.Assertion)
		p.LoginURL = cmp.Or(p.LoginURL, other.LoginURL)
	}
	p.used = nil
}

func (p *Policy) unmarshalRequire(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.ArgErr()
	}
	var rule Requirement
	switch kind, values := args[0], args[1:]; kind {
	case "user":
		rule.User = values
	case "group":
		rule.Group = values
	case "scope":
		rule.Scope = values
	case "claim":
		rule.Claim, rule.Values = values[0], values[1:]
	default:
		return words.Wrap(d, words.Unknown("requirement", kind, []string{"claim", "group", "scope", "user"}))
	}
	p.Require = append(p.Require, rule)
	return words.Wrap(d, rule.check())
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
