package issuer

import (
	"errors"
	"net/http"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// blacklist is SimpleJWT's TokenBlacklistView: it ends the login of a refresh
// token.
func (i *Issuer) blacklist(w http.ResponseWriter, r *http.Request) error {
	if err := i.checkSite(r); err != nil {
		return err
	}
	if i.byCookie() {
		i.clearCookies(w, r) // whoever asks wants to be rid of them
	}
	claims, err := i.refreshClaims(r)
	if err != nil {
		return err
	}
	login, err := i.loginOf(r.Context(), claims)
	if err != nil {
		return err
	}
	if _, err := i.nextOf(r, login, text(claims, "jti")); errors.Is(err, errReused) {
		return i.endStolen(r, login)
	}
	if err := i.end(r.Context(), login, records.EndedByLogout); err != nil {
		return err
	}
	i.audit.Write(r, audit.Event{Name: audit.Logout, User: login.User, Authenticator: "jwt"})
	logouts.Inc()
	return write(w, r, http.StatusOK, struct{}{})
}

// clearCookies takes the tokens back from a browser.
func (i *Issuer) clearCookies(w http.ResponseWriter, r *http.Request) {
	i.setCookie(w, jwt.OwnCookie, "/", "", time.Time{})
	i.setCookie(w, refreshCookie, prefixOf(r)+i.base(), "", time.Time{})
	i.setCookie(w, i.CSRFCookie, "/", "", time.Time{})
}

// isUnavailable reports whether an error says nothing of the token.
func isUnavailable(err error) bool {
	_, refused := errors.AsType[*refusal](err)
	_, rejected := errors.AsType[*authenticators.RejectedError](err)
	return !refused && !rejected
}
