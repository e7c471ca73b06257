package issuer

import "net/http"

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
	login, err := i.newLogin(r.Context(), user, proved)
	if err != nil {
		return err
	}
	tokens, err := i.tokensOf(r.Context(), login, user, nil)
	if err != nil {
		return err
	}
	return i.deliver(w, r, tokens)
}
