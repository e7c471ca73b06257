package edgeauth

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// headerPreset is the preset of the policy's identity headers, with what the
// policy says otherwise.
func (p *Policy) headerPreset() identity.Preset {
	preset, _ := identity.PresetNamed(p.IdentityHeaders)
	if separator, ok := identity.SeparatorNamed(p.GroupsSeparator); ok {
		preset.Separator = separator
	}
	return preset
}

func (p *Policy) checkGroupsSeparator() error {
	if p.GroupsSeparator == "" {
		return nil
	}
	if _, ok := identity.SeparatorNamed(p.GroupsSeparator); !ok {
		return fmt.Errorf("groups_separator: %w", words.Unknown("word", p.GroupsSeparator, identity.SeparatorNames))
	}
	if p.headerPreset().Groups == "" {
		return fmt.Errorf("groups_separator %s: the preset '%s' sends no groups, so there is nothing to separate", p.GroupsSeparator, p.IdentityHeaders)
	}
	return nil
}

// checkCredentialHeaders refuses to tell the identity in a header that a
// credential comes in: what clients send there would be stripped before any
// authenticator could read it, and removed as a credential besides.
func (p *Policy) checkCredentialHeaders(set identity.Names) error {
	for _, raw := range p.AuthenticatorsRaw {
		name, d := describeRaw(raw)
		if d.Header != "" && set.Has(d.Header) {
			return fmt.Errorf("identity header %s: '%s' reads its credential from that header, and the policy removes it as a credential; take another name for one of the two", d.Header, name)
		}
	}
	return nil
}

// describeRaw is the name of an authenticator and what it says of itself, before it is
// loaded. What can't be read is left to whoever loads it, who says why.
func describeRaw(raw json.RawMessage) (name string, d authenticators.Description) {
	var guest struct {
		Name string `json:"authenticator"`
	}
	if json.Unmarshal(raw, &guest) != nil {
		return "", d
	}
	module, err := caddy.GetModule(authenticators.Namespace + "." + guest.Name)
	if err != nil {
		return guest.Name, d
	}
	describer, ok := module.New().(authenticators.Describer)
	if !ok || json.Unmarshal(raw, describer) != nil {
		return guest.Name, d
	}
	return guest.Name, describer.Describe()
}
