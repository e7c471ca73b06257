package edgeauth

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/identity"
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
	return answer, nil
}

// namesOfJWT gives the names that policies may know a JWT by, some of which take
// its id from one of idClaims, and how long it has still to live. It is not
// verified: to revoke a forged one does no harm.
func namesOfJWT(token string, idClaims []string, now time.Time) ([]string, time.Duration, error) {
	token = strings.TrimSpace(token)
	input := token[:max(strings.LastIndexByte(token, '.'), 0)]
	header, payload, _ := strings.Cut(input, ".")
	if _, err := partOfJWT(header); err != nil {
		return nil, 0, err
	}
	claims, err := partOfJWT(payload)
	if err != nil {
		return nil, 0, err
	}
	names := []string{records.NameByInput(input)}
	issuer, _ := claims["iss"].(string)
	for _, name := range idClaims {
		if id, _ := claims[name].(string); id != "" {
			names = append(names, records.NameByID(issuer, id))
		}
	}
	left := usualRevocation
	if number, ok := claims["exp"].(json.Number); ok {
		seconds, _ := number.Float64()
		left = min(longestRevocation, time.Unix(int64(min(seconds, 1<<40)), 0).Sub(now)+clockSkew)
	}
	if left <= 0 {
		return nil, 0, badRequest("that JWT has expired already")
	}
	return names, left, nil
}

// partOfJWT reads the header or the claims of a JWT. One in another spelling is
// no token that any policy would take, so to revoke it would revoke nothing.
func partOfJWT(part string) (map[string]any, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || part == "" || strings.ContainsAny(part, "\r\n") {
		return nil, badRequest("not a JWT: three parts in base64url, joined by dots, are needed")
	}
	object, err := identity.ParseClaims(data)
	if err != nil {
		return nil, badRequest("header or claims of the JWT: %v", err)
	}
	return object, nil
}

// clockSkew is how much longer than its time a JWT may be accepted: the most
// that a leeway may be, and what exp has of a fraction.
const clockSkew = 5*time.Minute + time.Second

// logOutUser ends all logins of a user so far: own sessions, and what was issued
// before now wherever a policy says check_revoked or check_user. The user need
// not be one of ours.
func logOutUser(app *App, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if err := records.RevokeBefore(r.Context(), app.store, id, time.Now()); err != nil {
		return nil, err
	}
	return map[string]string{"logged_out": id}, records.EndAllSessions(r.Context(), app.store, id)
}
