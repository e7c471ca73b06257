package jwt

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// The times that a claim may name, in seconds since 1970: up to the year 9999,
// so that milliseconds by mistake are beyond it.
const (
	minTime = 1
	maxTime = 253402300799
)

// checkClaims holds signed claims to the config, and makes the identity.
func (a *Authenticator) checkClaims(claims map[string]any) (*identity.Identity, error) {
	expires, err := a.checkTimes(claims)
	if err != nil {
		return nil, err
	}
	for _, check := range []func(map[string]any) error{a.checkAudience, a.checkKind, a.checkRequired} {
		if err := check(claims); err != nil {
			return nil, err
		}
	}
	return a.identify(claims, expires)
}

// checkTimes checks exp, which is needed, nbf and iat.
func (a *Authenticator) checkTimes(claims map[string]any) (time.Time, error) {
	now, leeway := a.now(), time.Duration(a.Leeway)
	expires, err := timeOf(claims, "exp")
	switch {
	case err != nil:
		return expires, err
	case expires.IsZero():
		return expires, &invalidError{"no exp: a token that never ends can't be taken back", "Token has no 'exp' claim"}
	case !now.Before(expires.Add(leeway)):
		return expires, &invalidError{"expired", "Token is expired"}
	}
	for _, name := range []string{"nbf", "iat"} {
		from, err := timeOf(claims, name)
		if err != nil {
			return expires, err
		}
		if from.After(now.Add(leeway)) {
			return expires, invalid("%s is in the future: are the clocks right?", name)
		}
	}
	return expires, nil
}

// timeOf reads a NumericDate (RFC 7519, section 2): a number of seconds, which
// may have a fraction. The zero time: there is no such claim.
func timeOf(claims map[string]any, name string) (time.Time, error) {
	value, ok := claims[name]
	if !ok {
		return time.Time{}, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, invalid("%s is not a number", name)
	}
	seconds, err := number.Float64()
	if err != nil || seconds < minTime || seconds > maxTime {
		return time.Time{}, invalid("%s is not a time in seconds since 1970", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

func (a *Authenticator) checkAudience(claims map[string]any) error {
	if len(a.Audience) == 0 {
		return nil
	}
	list, ok := claims["aud"].([]any)
	if !ok {
		list = []any{claims["aud"]}
	}
	for _, item := range list {
		if audience, ok := item.(string); ok && slices.Contains(a.Audience, audience) {
			return nil
		}
	}
	return invalid("meant for another audience")
}

// checkKind refuses tokens that are meant for something else.
func (a *Authenticator) checkKind(claims map[string]any) error {
	if _, bound := claims["cnf"]; bound {
		return invalid("bound to a key (cnf) that the caller has not proved to hold")
	}
	if a.Preset == presetSimple {
		if err := checkID(claims); err != nil {
			return err
		}
	}
	if a.requires("token_type") {
		return nil // checkRequired says which
	}
	kind, given := claims["token_type"]
	switch {
	case !given && (a.own || a.Preset == presetSimple):
		// What else we sign, such as an assertion for upstreams, has none.
		return &invalidError{"no token_type", "Token has no type"}
	case given && kind != "access" && (a.own || a.Preset == presetSimple):
		return &invalidError{"token_type is not access", "Token has wrong type"}
	}
	return a.checkForeignKind(claims)
}

// checkID demands the jti that SimpleJWT gives to each token.
func checkID(claims map[string]any) error {
	id, given := claims["jti"]
	if !given {
		return &invalidError{"no jti", "Token has no id"}
	}
	if _, ok := id.(string); !ok {
		return invalid("jti is no text")
	}
	return nil
}

// Where issuers say what a token is for (SimpleJWT, Keycloak, Cognito), and
// what says that it is not for access.
var (
	kindClaims = []string{"token_type", "typ", "token_use"}
	otherKinds = []string{"refresh", "sliding", "id", "offline", "logout"}
)

func (a *Authenticator) checkForeignKind(claims map[string]any) error {
	for _, name := range kindClaims {
		kind, _ := claims[name].(string)
		if slices.Contains(otherKinds, strings.ToLower(kind)) && !a.requires(name) {
			return &invalidError{name + " says that it is not for access", "Token has wrong type"}
		}
	}
	return nil
}

// requires reports whether the config says which values of a claim will do.
func (a *Authenticator) requires(name string) bool {
	return slices.ContainsFunc(a.required, func(c requiredClaim) bool { return c.Path == name && len(c.Values) > 0 })
}

func (a *Authenticator) checkRequired(claims map[string]any) error {
	for _, c := range a.required {
		value, ok := c.path.In(claims)
		if !ok || value == nil {
			return invalid("claim '%s' is missing", c.Path)
		}
		if len(c.Values) > 0 && !slices.ContainsFunc(textsOf(value), func(text string) bool { return slices.Contains(c.Values, text) }) {
			return invalid("claim '%s' has another value", c.Path)
		}
	}
	return nil
}

func textsOf(value any) []string {
	switch value {
	case true:
		return []string{"true"}
	case false:
		return []string{"false"}
	}
	return identity.Texts(value)
}

// identify makes the identity of claims that hold.
func (a *Authenticator) identify(claims map[string]any, expires time.Time) (*identity.Identity, error) {
	who, err := a.mapping.Identify(claims)
	if errors.Is(err, identity.ErrNoUser) {
		return nil, &invalidError{err.Error(), noUser}
	}
	if err != nil {
		return nil, err
	}
	who.Method, who.Expires = "jwt", expires
	if !a.maps("name") {
		who.Name, _ = claims["name"].(string)
	}
	if !a.maps("email") && verified(claims["email_verified"]) {
		who.Email, _ = claims["email"].(string)
	}
	if !a.maps("groups") {
		who.Groups = identity.Texts(claims["groups"])
	}
	if !a.maps("scopes") {
		who.Scopes = identity.Scopes(claims["scope"])
		if claims["scope"] == nil {
			who.Scopes = identity.Scopes(claims["scp"])
		}
	}
	// A refresh renews iat, but not the login itself.
	for _, name := range []string{"auth_time", "iat"} {
		if at, err := timeOf(claims, name); err == nil && !at.IsZero() {
			who.AuthTime = at
			break
		}
	}
	return who, nil
}

// maps reports whether the config says where a field stands.
func (a *Authenticator) maps(field string) bool {
	return slices.ContainsFunc(a.Claims, func(c identity.ClaimPath) bool { return c.Name == field })
}

// verified reports whether an address may be believed: it is, unless the
// issuer says that it is not.
func verified(value any) bool {
	return value == nil || value == true || value == "true"
}
