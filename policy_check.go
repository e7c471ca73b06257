package edgeauth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// check refuses a policy that can't be meant.
func (p *Policy) check() error {
	if len(p.AuthenticatorsRaw) == 0 {
		return errors.New("policy without authenticators: name at least one of " +
			strings.Join(guestNames(authenticators.Namespace), ", ") + "; or 'off', which authenticates nobody")
	}
	if p.Optional && len(p.Require) > 0 {
		return errors.New("'optional' lets everybody pass, so 'require' beside it would not hold; leave one of them out")
	}
	for _, rule := range p.Require {
		if err := rule.check(); err != nil {
			return err
		}
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
