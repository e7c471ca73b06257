package issuer

import (
	"fmt"
	"net/http"
	"time"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// tokenLabel is what opaque tokens made here are called in lists.
const tokenLabel = "api-token-auth" //nolint:gosec // no token

// token is Django REST framework's ObtainAuthToken: a user name and a password
// give an opaque token.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) error {
	user, _, err := i.logIn(r, invalid(nonField("Unable to log in with provided credentials.")))
	if err != nil {
		return err
	}
	secret, err := i.tokenOf(r, user)
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	issuedToken.Inc()
	return write(w, r, http.StatusOK, map[string]string{"token": secret})
}

func (i *Issuer) tokenOf(r *http.Request, user records.User) (string, error) {
	token := records.Token{User: user.ID, Label: tokenLabel, CreatedBy: user.ID}
	lifetime := time.Duration(i.Token.Lifetime)
	if !i.Token.Single {
		secret, made, err := records.NewToken(r.Context(), i.store, token, lifetime)
		if err == nil {
			i.audit.Write(r, audit.Event{Name: audit.TokenCreated, User: user.ID, Authenticator: "token", Token: made.ID})
		}
		return secret, err
	}
	if err := i.host.EnsureSigningKeys(r.Context()); err != nil {
		return "", err
	}
	return records.SingleToken(r.Context(), i.store, token, lifetime, i.ring.Derive)
}
