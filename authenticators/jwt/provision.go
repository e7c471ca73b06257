package jwt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// Provision reads the keys that are here, and prepares for those that are not.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	host := authenticators.HostOf(ctx)
	a.now = time.Now
	a.preset = presets[a.Preset]
	if a.issuers = a.Issuer; len(a.issuers) == 0 {
		a.issuers = a.preset.issuers
	}
	a.typ = lowerTypes(a.Typ)
	a.maxSize, _ = parseSize(a.MaxSize)
	if a.own = a.checksOwn(); a.own {
		a.Cookie = cmp.Or(a.Cookie, OwnCookie)
	}
	a.provisionPlaces()
	if err := a.provisionClaims(); err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	var err error
	if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
		return err
	}
	if err := a.provisionKeys(host, ctx.Logger()); err != nil {
		return err
	}
	a.maxLifetime = time.Duration(a.MaxLifetime)
	if a.maxLifetime == 0 && !a.own {
		a.maxLifetime = defaultMaxLifetime
	}
	if a.CheckRevoked {
		a.store = host.Store()
	}
	return nil
}

// provisionPlaces says where a token may stand.
func (a *Authenticator) provisionPlaces() {
	header := cmp.Or(a.Header, a.preset.header, defaultHeader)
	schemes := a.Scheme
	if len(schemes) == 0 {
		schemes = []string{""}
		if strings.EqualFold(header, defaultHeader) {
			schemes = []string{defaultScheme}
		}
	}
	a.Header, a.Scheme = header, schemes
	a.headers = authenticators.Headers{}
	for _, scheme := range schemes {
		a.headers.Add(header, scheme)
	}
}

// provisionClaims says what must stand in the claims, and what is taken.
func (a *Authenticator) provisionClaims() error {
	a.algorithms = a.Algorithms
	if len(a.algorithms) == 0 && len(a.Keys) == 0 {
		a.algorithms = a.preset.algorithms
	}
	a.fits = a.fitting()
	a.typeClaim = claimNamed(a.TokenTypeClaim, a.preset.typeClaim)
	if a.own {
		a.typeClaim = "token_type"
	}
	a.idClaim = claimNamed(a.JTIClaim, a.preset.idClaim)
	a.required, a.groups = nil, nil
	for _, claim := range slices.Concat(a.RequireClaims, a.preset.require) {
		path, err := identity.ParsePath(claim.Path)
		if err != nil {
			return fmt.Errorf("require_claim: %w", err)
		}
		a.required = append(a.required, requiredClaim{claim, path})
	}
	groups := a.preset.groups
	if groups == nil {
		groups = plainGroups
	}
	for _, text := range groups {
		path, err := identity.ParsePath(text)
		if err != nil {
			return err
		}
		a.groups = append(a.groups, path)
	}
	claims := slices.Clone(a.Claims)
	for _, claim := range a.preset.claims {
		if !a.maps(claim.Name) {
			claims = append(claims, claim)
		}
	}
	var err error
	a.mapping, err = identity.NewMapping(cmp.Or(a.User, a.preset.user, defaultUser), claims, a.IDPrefix)
	return err
}

// fitting lists the algorithms that the keys may be for, as far as the config
// tells.
func (a *Authenticator) fitting() []string {
	if len(a.algorithms) > 0 {
		return a.algorithms
	}
	var list []string
	for _, key := range a.Keys {
		list = append(list, key.Algorithm)
	}
	switch {
	case list != nil:
		return list
	case a.JWKS != "" && !isURL(a.JWKS):
		return keys.Algorithms()
	}
	return slices.DeleteFunc(keys.Algorithms(), isSecret) // nobody publishes a secret
}

// claimNamed is the claim that a config names, "off" for none, else the usual.
func claimNamed(configured, usual string) string {
	if configured == claimOff {
		return ""
	}
	return cmp.Or(configured, usual)
}
