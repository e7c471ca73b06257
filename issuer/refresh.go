package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// refreshGrace is how long a refresh token that was just used up still gives the
// same pair again to the client that used it: its answer may have been lost, or
// two of its tabs refreshed at once.
const refreshGrace = 10 * time.Second

// refresh is SimpleJWT's TokenRefreshView: a refresh token gives an access token
// and, unless refresh tokens are kept, the next refresh token (RFC 9700, section
// 4.14.2).
func (i *Issuer) refresh(w http.ResponseWriter, r *http.Request) error {
	return countRefresh(i.giveNext(w, r))
}

func (i *Issuer) giveNext(w http.ResponseWriter, r *http.Request) error {
	if err := i.checkSite(r); err != nil {
		return err
	}
	claims, err := i.refreshClaims(r)
	if err != nil {
		return err
	}
	user, login, err := i.renew(r, claims)
	if err != nil {
		if i.byCookie() && !isUnavailable(err) {
			i.clearCookies(w, r)
		}
		return err
	}
	for _, own := range []string{"token_type", "exp", "jti", "iat"} {
		delete(claims, own)
	}
	if i.JWT.KeepRefresh { // the login stays as it is, and only the access token is new
		login.Access, login.Issued = newJTI(), i.second()
	}
	tokens, err := i.tokensOf(r.Context(), login, user, claims)
	if err != nil {
		return err
	}
	if i.JWT.KeepRefresh {
		tokens.refresh = ""
	}
	return i.deliver(w, r, tokens, i.keepCSRFCookie)
}

// refreshClaims reads the refresh token of a request, if it is one.
func (i *Issuer) refreshClaims(r *http.Request) (map[string]any, error) {
	token, err := i.tokenIn(r, refreshType)
	if err != nil {
		return nil, err
	}
	claims, err := i.verifier.Claims(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if _, given := claims["jti"]; !given {
		return nil, i.verifier.Refuse("no jti", "Token has no id")
	}
	if text(claims, "jti") == "" {
		return nil, i.verifier.Refuse("jti is no text", "Token is invalid")
	}
	return claims, i.verifier.CheckType(claims, refreshType)
}

func text(claims map[string]any, name string) string {
	value, _ := claims[name].(string)
	return value
}

// renew uses a refresh token, and returns the login as it then stands, and its
// user.
func (i *Issuer) renew(r *http.Request, claims map[string]any) (records.User, records.Login, error) {
	ctx := r.Context()
	for {
		login, err := i.loginOf(ctx, claims)
		if err != nil {
			return records.User{}, login, err
		}
		user, err := i.stillWelcome(ctx, login)
		if err != nil {
			return user, login, err
		}
		next, err := i.nextOf(r, login, text(claims, "jti"))
		if err == nil && next != nil {
			err = records.PutLogin(ctx, i.store, *next, i.now())
			login = *next
		}
		switch {
		case errors.Is(err, store.ErrChanged): // another request used it first: look again
		case errors.Is(err, errReused):
			return user, login, i.endStolen(r, login)
		default:
			return user, login, err
		}
	}
}

// loginOf is the login that a refresh token belongs to. One that an application
// issued with the same key begins a login by being used.
func (i *Issuer) loginOf(ctx context.Context, claims map[string]any) (records.Login, error) {
	id, own := text(claims, "sid"), true
	if id == "" {
		id, own = "jti:"+text(claims, "jti"), false
	}
	login, err := records.FindLogin(ctx, i.store, id)
	switch {
	case errors.Is(err, store.ErrNotFound) && !own:
		return i.foreignLogin(ctx, id, claims)
	case errors.Is(err, store.ErrNotFound):
		return login, i.blacklisted("login is unknown, or has expired")
	case err != nil:
		return login, fmt.Errorf("looking login up: %w", err)
	case login.Ended != "":
		return login, i.blacklisted("login has ended: " + login.Ended)
	}
	return login, nil
}

func (i *Issuer) blacklisted(reason string) error {
	return i.verifier.Refuse(reason, "Token is blacklisted")
}

func (i *Issuer) foreignLogin(ctx context.Context, id string, claims map[string]any) (records.Login, error) {
	user, err := i.foreignUser(ctx, claims)
	if err != nil {
		return records.Login{}, err
	}
	issued := timeIn(claims, "iat")
	authTime := timeIn(claims, "auth_time")
	if _, given := claims["auth_time"]; !given {
		authTime = issued
	}
	return records.Login{ID: id, User: user, AuthTime: authTime, Issued: issued, Expires: timeIn(claims, "exp"), Keep: timeIn(claims, "exp"), Current: text(claims, "jti")}, nil
}

// foreignUser is the login name of whom an application's token is for, which
// says it by primary key, or else by login name.
func (i *Issuer) foreignUser(ctx context.Context, claims map[string]any) (string, error) {
	id, ok := identity.Text(claims["user_id"])
	if !ok || id == "" {
		return "", i.verifier.Refuse("no user_id", "Token contained no recognizable user identification")
	}
	user, err := records.UserByPK(ctx, i.store, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return id, nil
	case err != nil:
		return "", fmt.Errorf("looking user up: %w", err)
	}
	return user.ID, nil
}

// timeIn is a time of verified claims; zero if there is none.
func timeIn(claims map[string]any, name string) time.Time {
	number, _ := claims[name].(json.Number)
	seconds, err := number.Float64()
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// stillWelcome returns the user of a login, who may have been disabled, or logged
// out everywhere, since.
func (i *Issuer) stillWelcome(ctx context.Context, login records.Login) (records.User, error) {
	user, err := records.GetUser(ctx, i.store, login.User)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !user.Enabled():
		return user, unauthorized(detail("No active account found for the given token."), errors.New("user is unknown or disabled"))
	case err != nil:
		return user, fmt.Errorf("looking user up: %w", err)
	case !user.NotBefore.IsZero() && login.AuthTime.Before(user.NotBefore):
		return user, i.blacklisted("logged in before the user's not_before")
	}
	revoked, err := records.LoginRevoked(ctx, i.store, login.User, login.AuthTime)
	if err != nil {
		return user, fmt.Errorf("looking for a revocation: %w", err)
	}
	if revoked {
		return user, i.blacklisted("logged in before all logins were revoked")
	}
	return user, nil
}

// errReused says that a refresh token was used again that another has replaced.
var errReused = errors.New("refresh token used again: the login has ended")

// nextOf is what becomes of a login when the refresh token of an id is used; nil
// if it stays as it is.
func (i *Issuer) nextOf(r *http.Request, login records.Login, jti string) (*records.Login, error) {
	now, client := i.second(), clientOf(r)
	switch {
	case jti == login.Current && i.JWT.KeepRefresh:
		return nil, nil
	case jti == login.Current:
		next := login
		next.Previous, next.Client, next.Address = login.Current, client, clientAddress(r)
		next.Current, next.Access = newJTI(), newJTI()
		next.Issued, next.Expires = now, i.renewedUntil(login, now)
		if !next.Expires.After(now) {
			return nil, i.verifier.Refuse("login is older than login_lifetime", "Token is expired")
		}
		return &next, nil
	case jti == login.Previous && client == login.Client && i.now().Before(login.Issued.Add(refreshGrace)):
		return nil, nil
	}
	return nil, errReused
}

// renewedUntil is when the next refresh token of a login expires: no later than
// the login itself, however often it is renewed.
func (i *Issuer) renewedUntil(login records.Login, now time.Time) time.Time {
	expires := now.Add(time.Duration(i.JWT.RefreshLifetime))
	if login.AuthTime.IsZero() { // a token of an application that does not say
		return expires
	}
	if end := login.AuthTime.Add(time.Duration(i.JWT.LoginLifetime)); end.Before(expires) {
		return end
	}
	return expires
}

// clientOf tells clients apart, by a digest of what is known of them.
func clientOf(r *http.Request) string {
	sum := sha256.Sum256([]byte(addressOf(r) + "\n" + r.UserAgent()))
	return hex.EncodeToString(sum[:16])
}

// endStolen ends a login of which two hold refresh tokens: one of them is a thief.
func (i *Issuer) endStolen(r *http.Request, login records.Login) error {
	if err := i.end(r.Context(), login, records.EndedByTheft); err != nil {
		return err
	}
	i.audit.Write(r, audit.Event{
		Name: audit.TokenReused, User: login.User, Authenticator: "jwt", Code: authenticators.CodeNotValid, Reason: errReused, OtherClient: login.Address,
	})
	refreshReused.Inc()
	return fmt.Errorf("%w: %w", errReused, i.blacklisted(errReused.Error()))
}

// revocationMargin is for access tokens that are made while their login ends.
const revocationMargin = time.Minute

// end ends a login, and its access tokens, where policies ask. Those go first: once the
// login has ended, whoever got no answer can't ask for its end again.
func (i *Issuer) end(ctx context.Context, login records.Login, why string) error {
	lifetime := time.Duration(i.JWT.AccessLifetime) + revocationMargin
	if err := records.RevokeJWT(ctx, i.store, records.NameByLogin(login.ID), lifetime); err != nil {
		return fmt.Errorf("revoking access tokens: %w", err)
	}
	if err := records.EndLogin(ctx, i.store, login, why, i.now()); err != nil {
		return fmt.Errorf("ending login: %w", err)
	}
	return nil
}
