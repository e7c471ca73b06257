package jwt

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/panics"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// nameOf is the name that a token can be revoked by.
func (a *Authenticator) nameOf(claims map[string]any, t parts) string {
	id, _ := claims[a.idClaim].(string)
	if a.idClaim == "" || id == "" {
		return records.NameByInput(string(t.input))
	}
	issuer, _ := claims["iss"].(string)
	return records.NameByID(issuer, id)
}

// RevocationNames gives the names that authenticators may know a token by, where
// they take its id from one of idClaims, and when the last of them stops taking
// it; the zero time if the token does not say. The signature is not checked: to
// revoke a forgery does no harm. It fails for what none of them would take.
func RevocationNames(token string, idClaims []string) (names []string, end time.Time, err error) {
	t, err := split(token)
	if err != nil {
		return nil, end, err
	}
	if _, err := identity.ParseClaims(t.header); err != nil {
		return nil, end, invalid("header: %v", err)
	}
	claims, err := identity.ParseClaims(t.claims)
	if err != nil {
		return nil, end, invalid("claims: %v", err)
	}
	names = []string{records.NameByInput(string(t.input))}
	issuer, _ := claims["iss"].(string)
	for _, name := range idClaims {
		if id, _ := claims[name].(string); id != "" {
			names = append(names, records.NameByID(issuer, id))
		}
	}
	if expires, err := timeOf(claims, "exp"); err == nil && !expires.IsZero() {
		end = expires.Add(maxLeeway + time.Second) // exp may have a fraction
	}
	return names, end, nil
}

// checkRevoked asks the store whether the token of this name, or all earlier logins
// of its user, were revoked.
func (a *Authenticator) checkRevoked(ctx context.Context, who *identity.Identity, name string) error {
	// Both at once: a round trip, not two.
	login := make(chan answer, 1)
	go func() {
		defer func() {
			// In the request's own goroutine net/http would have caught it.
			if cause := recover(); cause != nil {
				login <- answer{err: panics.Error(cause)}
			}
		}()
		revoked, err := records.LoginRevoked(ctx, a.store, who.ID, who.AuthTime)
		login <- answer{revoked, err}
	}()
	revoked, err := records.JWTRevoked(ctx, a.store, name)
	for _, said := range []answer{{revoked, err}, <-login} {
		if said.err != nil {
			return fmt.Errorf("looking for a revocation: %w", said.err)
		}
		if said.revoked {
			return &invalidError{"revoked", "Token is blacklisted"}
		}
	}
	return nil
}

// answer is what the store said.
type answer struct {
	revoked bool
	err     error
}
