package issuer

import (
	"net/http"

	"github.com/edgeauth/caddy-edgeauth/records"
)

// obtain is SimpleJWT's TokenObtainPairView: a user name and a password give a
// pair of tokens.
func (i *Issuer) obtain(w http.ResponseWriter, r *http.Request) error {
	if err := i.checkSite(r); err != nil {
		return err
	}
	user, proved, err := i.logIn(r, unauthorized(detail("No active account found with the given credentials"), nil))
	if err != nil {
		return err
	}
	return i.giveTokens(w, r, user, proved)
}

// giveTokens begins a login of a user, and delivers its tokens.
func (i *Issuer) giveTokens(w http.ResponseWriter, r *http.Request, user records.User, proved []string) error {
	login, err := i.newLogin(r.Context(), user, proved)
	if err != nil {
		return err
	}
	tokens, err := i.tokensOf(r.Context(), login, user, nil)
	if err != nil {
		return err
	}
	return i.deliver(w, r, tokens, i.setCSRFCookie)
}
