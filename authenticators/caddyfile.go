package authenticators

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// UnmarshalClaim reads the option: claim <name> <path>
func UnmarshalClaim(d *caddyfile.Dispenser, to *[]identity.ClaimPath) error {
	var claim identity.ClaimPath
	if !d.AllArgs(&claim.Name, &claim.Path) {
		return d.ArgErr()
	}
	*to = append(*to, claim)
	return words.Wrap(d, claim.Check())
}

// UnmarshalCSRF reads the option csrf, which may stand once.
func UnmarshalCSRF(d *caddyfile.Dispenser, to **CSRF) error {
	if *to != nil {
		return d.Err("csrf stands twice; once is enough")
	}
	*to = new(CSRF)
	return (*to).UnmarshalCaddyfile(d)
}
