package issuer

import (
	"net/http"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
)

// refreshCookie carries the refresh token, to the endpoints of JWTs only: so its
// prefix can't bind it to the host, as that of the access token does.
const refreshCookie = "__Secure-refresh_token"

// deliver gives tokens to a client: in the body as SimpleJWT does, or in cookies
// that no script can read, along with that of CSRF.
func (i *Issuer) deliver(w http.ResponseWriter, r *http.Request, tokens pair, csrf func(http.ResponseWriter, *http.Request)) error {
	issuedJWT.Inc()
	if !i.byCookie() {
		return write(w, r, http.StatusOK, struct {
			Refresh string `json:"refresh,omitempty"`
			Access  string `json:"access"`
		}{tokens.refresh, tokens.access})
	}
	if losesCookies(r) {
		i.tellPlain(r)
	}
	i.setCookie(w, jwt.OwnCookie, "/", tokens.access, tokens.accessExpires)
	if tokens.refresh != "" {
		i.setCookie(w, refreshCookie, prefixOf(r)+i.base(), tokens.refresh, tokens.refreshExpires)
	}
	csrf(w, r)
	return write(w, r, http.StatusOK, struct {
		Access  time.Time `json:"access_expiration"`
		Refresh time.Time `json:"refresh_expiration"`
	}{tokens.accessExpires, tokens.refreshExpires})
}

func (i *Issuer) byCookie() bool { return i.JWT != nil && i.JWT.Deliver == deliverCookie }

// base is the path that the endpoints of JWTs stand below.
func (i *Issuer) base() string { return directory(i.JWT.Path) }

// setCookie sets a cookie; an empty value takes it away.
func (i *Issuer) setCookie(w http.ResponseWriter, name, path, value string, expires time.Time) {
	cookie := &http.Cookie{Name: name, Value: value, Path: path, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		cookie.MaxAge = -1
	} else {
		cookie.MaxAge = max(seconds(expires.Sub(i.now())), 1)
	}
	http.SetCookie(w, cookie)
}

// csrfLifetime is that of Django's cookie: a year, but for a day.
const csrfLifetime = 364 * 24 * time.Hour

// setCSRFCookie gives a browser a new token for unsafe requests, which its scripts
// can read; as Django does at each login.
func (i *Issuer) setCSRFCookie(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // scripts must read it
		Name: i.CSRFCookie, Value: authenticators.NewCSRFSecret(), Path: "/", MaxAge: seconds(csrfLifetime),
		Secure: true, SameSite: http.SameSiteLaxMode,
	})
}

// keepCSRFCookie gives one to a browser that has none.
func (i *Issuer) keepCSRFCookie(w http.ResponseWriter, r *http.Request) {
	if had, err := authenticators.FromCookie(r, i.CSRFCookie); err != nil || !authenticators.ValidCSRFSecret(had.Reveal()) {
		i.setCSRFCookie(w, r)
	}
}

// checkSite refuses the requests of other sites where cookies carry the tokens:
// also logins, since nobody shall be logged in as somebody else unawares.
func (i *Issuer) checkSite(r *http.Request) error {
	if !i.byCookie() {
		return nil
	}
	return i.checkOrigin(r)
}

// tokenIn reads the token in a field of the request's body, or in the cookie.
func (i *Issuer) tokenIn(r *http.Request, field string) (string, error) {
	f, err := readForm(r)
	if err != nil {
		return "", err
	}
	if _, given := f.values[field]; !given && field == refreshType && i.byCookie() {
		token, err := authenticators.FromCookieExact(r, refreshCookie)
		if err != nil { // 401 sends scripts to the login, where a field that is missing would not
			return "", i.verifier.Refuse(err.Error(), "No valid refresh token found.")
		}
		return token.Reveal(), nil
	}
	token := f.text(field, true)
	return token, f.check()
}
