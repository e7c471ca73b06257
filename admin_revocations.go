package edgeauth

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// How long a JWT is revoked whose end nobody knows: longer than any that we
// sign (400d) or, of others, accept by default (366d). And how long one may be at most.
const (
	usualRevocation   = 400 * 24 * time.Hour
	longestRevocation = 100 * 365 * 24 * time.Hour
)

// revokeJWT ends one JWT: given as it is, or by its issuer and jti. Policies
// ask for it that say check_revoked.
func revokeJWT(app *App, r *http.Request) (any, error) {
	var body struct {
		JWT      string         `json:"jwt"`
		Issuer   string         `json:"issuer"`
		JTI      string         `json:"jti"`
		Lifetime caddy.Duration `json:"lifetime"`
	}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if (body.JWT == "") == (body.JTI == "") || body.JWT != "" && body.Issuer != "" {
		return nil, badRequest("either a jwt is needed, or a jti with its issuer (if it has one)")
	}
	lifetime, err := lifetimeOf(body.Lifetime, usualRevocation, longestRevocation)
	if err != nil {
		return nil, err
	}
	names := []string{records.NameByID(body.Issuer, body.JTI)}
	if body.JWT != "" {
		if names, lifetime, err = namesOfJWT(body.JWT, app.idClaims, time.Now()); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if err := records.RevokeJWT(r.Context(), app.store, name, lifetime); err != nil {
			return nil, err
		}
	}
	answer := map[string]string{"revoked": names[0]}
	if len(app.idClaims) == 0 {
		answer["warning"] = "no policy of the running config says check_revoked, so none will ask"
	}
	return did(answer, audit.Event{Name: audit.TokenRevoked, Authenticator: "jwt", Token: names[0]}), nil
}

// namesOfJWT gives the names that a JWT is revoked by, and how long it has still
// to live.
func namesOfJWT(token string, idClaims []string, now time.Time) ([]string, time.Duration, error) {
	names, end, err := jwt.RevocationNames(strings.TrimSpace(token), idClaims)
	if err != nil {
		return nil, 0, badRequest("not a JWT that any policy would take: %v", err)
	}
	left := usualRevocation
	if !end.IsZero() {
		left = min(longestRevocation, end.Sub(now))
	}
	if left <= 0 {
		return nil, 0, badRequest("that JWT has expired already")
	}
	return names, left, nil
}

// logOutUser ends all logins of a user so far: own sessions, and what was issued
// before now wherever a policy says check_revoked or check_user. The user need
// not be one of ours.
func logOutUser(app *App, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if !identity.ValidID(id) {
		return nil, badRequest("'%s' can't be the id of a user", id)
	}
	return did(map[string]string{"logged_out": id}, audit.Event{Name: audit.LogoutEverywhere, User: id}), app.endLogins(r.Context(), id)
}

// endLogins ends all logins of a user so far.
func (a *App) endLogins(ctx context.Context, id string) error {
	if err := records.RevokeBefore(ctx, a.store, id, time.Now()); err != nil {
		return err
	}
	return records.EndAllSessions(ctx, a.store, id)
}
