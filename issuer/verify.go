package issuer

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// verify is SimpleJWT's TokenVerifyView: it says whether a token of any kind is
// ours, has not expired, and was not taken back.
func (i *Issuer) verify(w http.ResponseWriter, r *http.Request) error {
	token, err := i.tokenIn(r, "token")
	if err != nil {
		return err
	}
	claims, err := i.verifier.Claims(r.Context(), token)
	if err != nil {
		return err
	}
	jti := text(claims, "jti")
	if jti == "" {
		return i.verifier.Refuse("no jti", "Token has no id")
	}
	if claims["token_type"] == refreshType {
		if err := i.checkUsable(r, claims); err != nil {
			return err
		}
	}
	for _, name := range []string{records.NameByID(text(claims, "iss"), jti), records.NameByLogin(text(claims, "sid"))} {
		revoked, err := records.JWTRevoked(r.Context(), i.store, name)
		if err != nil {
			return fmt.Errorf("looking for a revocation: %w", err)
		}
		if revoked {
			return invalid(nonField("Token is blacklisted"))
		}
	}
	return write(w, r, http.StatusOK, struct{}{})
}

// checkUsable refuses a refresh token that would be refused if it were used.
func (i *Issuer) checkUsable(r *http.Request, claims map[string]any) error {
	login, err := i.loginOf(r.Context(), claims)
	if err == nil {
		_, err = i.nextOf(r, login, text(claims, "jti"))
	}
	if _, rejected := errors.AsType[*authenticators.RejectedError](err); rejected || errors.Is(err, errReused) {
		return invalid(nonField("Token is blacklisted"))
	}
	return err
}
