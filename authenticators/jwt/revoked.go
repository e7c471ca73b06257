package jwt

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/panics"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// namesOf are the names that a token can be revoked by: its own, and that of the
// login that it came of, which has given out others too.
func (a *Authenticator) namesOf(claims map[string]any, t parts) []string {
	name := records.NameByInput(string(t.input))
	if id, _ := claims[a.idClaim].(string); a.idClaim != "" && id != "" {
		issuer, _ := claims["iss"].(string)
		name = records.NameByID(issuer, id)
	}
	if login, _ := claims["sid"].(string); login != "" {
		return []string{name, records.NameByLogin(login)}
	}
	return []string{name}
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

// checkRevoked asks the store whether a token of these names, or all earlier logins
// of its user, were revoked.
func (a *Authenticator) checkRevoked(ctx context.Context, who *identity.Identity, names []string) error {
	// All at once: a round trip, not several.
	answers := make(chan answer, 1+len(names))
	ask := func(question func() (bool, error)) {
		go func() {
			defer func() {
				// In the request's own goroutine net/http would have caught it.
				if cause := recover(); cause != nil {
					answers <- answer{err: panics.Error(cause)}
				}
			}()
			revoked, err := question()
			answers <- answer{revoked, err}
		}()
	}
	ask(func() (bool, error) { return records.LoginRevoked(ctx, a.store, who.ID, who.AuthTime) })
	for _, name := range names {
		ask(func() (bool, error) { return records.JWTRevoked(ctx, a.store, name) })
	}
	var revoked bool
	var failed error
	for range cap(answers) { // each, so that no question outlives the request
		said := <-answers
		revoked = revoked || said.revoked
		if said.err != nil {
			failed = said.err
		}
	}
	switch {
	case failed != nil:
		return fmt.Errorf("looking for a revocation: %w", failed)
	case revoked:
		return &invalidError{"revoked", "Token is blacklisted"}
	}
	return nil
}

// answer is what the store said.
type answer struct {
	revoked bool
	err     error
}
