package jwt

import (
	"cmp"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// Describe says whose ids these are; see authenticators.Describer.
func (a *Authenticator) Describe() authenticators.Description {
	d := authenticators.Description{Own: a.own, IDPrefix: a.IDPrefix, Header: cmp.Or(a.Header, presets[a.Preset].header), Cookie: a.Cookie, Query: a.Query}
	if a.CheckRevoked {
		d.IDClaim = cmp.Or(a.idClaim, "jti")
	}
	if strings.EqualFold(d.Header, defaultHeader) {
		d.Header = ""
	}
	return d
}

var _ authenticators.Describer = (*Authenticator)(nil)
