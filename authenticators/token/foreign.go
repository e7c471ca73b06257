package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// maxToken is the longest token that is hashed, in bytes.
const maxToken = 512

// keyOf is the key that another application keeps a token under.
func (a *Authenticator) keyOf(secret authenticators.Secret) (string, error) {
	token := secret.Reveal()
	if isEmptyValue(token) {
		return "", errors.New("an empty variable of the client's")
	}
	if a.pattern.Placeholder == "sha256" {
		if len(token) > maxToken {
			return "", foreign.ErrUnfit
		}
		return a.pattern.Key(secret.Digest()), nil
	}
	fit := token
	if !strings.Contains(a.Key, "/") { // base64 has slashes; here they part nothing
		fit = strings.ReplaceAll(token, "/", "_")
	}
	if err := foreign.Fit(fit); err != nil {
		return "", err
	}
	return a.pattern.Key(token), nil
}

// isEmptyValue reports whether a token is how languages write an empty
// variable. Clients send it by mistake, and an application that writes its
// tokens by the same mistake has given it a record.
func isEmptyValue(token string) bool {
	switch token {
	case "null", "nil", "undefined", "None", "NaN", "true", "false", "0":
		return true
	}
	return false
}

// identify reads another application's record: a JSON object; or, where the
// config names no path in it, the user id alone, as JSON or as it stands.
func (a *Authenticator) identify(value []byte) (*identity.Identity, error) {
	if bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
		claims, err := identity.ParseClaims(value)
		if err != nil {
			return nil, err
		}
		return a.mapping.Identify(claims)
	}
	if a.User != "" {
		return nil, errors.New("the record is no JSON object")
	}
	var id any = string(value)
	if json.Valid(value) { // null, true, lists and 1.5 are no ids, and quotes no part of one
		d := json.NewDecoder(bytes.NewReader(value))
		d.UseNumber()
		if err := d.Decode(&id); err != nil {
			return nil, err
		}
	}
	return a.mapping.Identify(map[string]any{defaultUser: id})
}
