package jwt

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

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

// expired is what SimpleJWT says of a token that has ended.
const expired = "Token is expired"

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
		return expires, &invalidError{"expired", expired}
	case a.maxLifetime > 0 && expires.After(now.Add(leeway+a.maxLifetime)):
		return expires, invalid("exp is more than %v ahead (max_lifetime)", a.maxLifetime)
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
	seconds, err := number.Float64()
	switch _, truth := value.(bool); {
	case name == "exp" && (truth || ok && err == nil && seconds < minTime):
		return time.Time{}, &invalidError{"exp is not a time in seconds since 1970", expired} // Python takes true for 1
	case !ok:
		return time.Time{}, invalid("%s is not a number", name)
	case err != nil || seconds < minTime || seconds > maxTime:
		return time.Time{}, invalid("%s is not a time in seconds since 1970", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

func (a *Authenticator) checkAudience(claims map[string]any) error {
	if len(a.Audience) == 0 {
		return nil
	}
	value := claims["aud"]
	for _, name := range a.preset.audience {
		if value = claims[name]; value != nil {
			break
		}
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	noText := func(item any) bool { _, text := item.(string); return !text } // RFC 7519, section 4.1.3: texts only
	ours := func(item any) bool { audience, _ := item.(string); return slices.Contains(a.Audience, audience) }
	if slices.ContainsFunc(list, noText) || !slices.ContainsFunc(list, ours) {
		return invalid("meant for another audience")
	}
	return nil
}

// checkKind refuses tokens that are meant for something else.
func (a *Authenticator) checkKind(claims map[string]any) error {
	if _, bound := claims["cnf"]; bound {
		return invalid("bound to a key (cnf) that the caller has not proved to hold")
	}
	if len(a.preset.anyOf) > 0 && !slices.ContainsFunc(a.preset.anyOf, func(name string) bool { return claims[name] != nil }) {
		return invalid("none of the claims %s of an access token", strings.Join(a.preset.anyOf, ", "))
	}
	if a.own || a.Preset == simpleJWT {
		return a.checkOurKind(claims)
	}
	return a.checkForeignKind(claims)
}

// checkOurKind is SimpleJWT's check, and that of our own tokens, which speak
// its words.
func (a *Authenticator) checkOurKind(claims map[string]any) error {
	if a.Preset == simpleJWT && a.idClaim != "" {
		id, given := claims[a.idClaim]
		if !given {
			return &invalidError{"no " + a.idClaim, "Token has no id"}
		}
		if _, ok := id.(string); !ok {
			return invalid("%s is no text", a.idClaim)
		}
	}
	name := a.typeClaim
	if name == "" || a.requires(name) {
		return nil // checkRequired says which
	}
	switch kind, given := claims[name]; {
	case !given:
		// What else we sign, such as an assertion for upstreams, has none.
		return &invalidError{"no " + name, "Token has no type"}
	case kind != "access":
		return &invalidError{name + " is not access", "Token has wrong type"}
	}
	return nil
}

// Where issuers say what a token is for (SimpleJWT, Keycloak, Cognito), and
// what says that it is not for access.
var (
	kindClaims = []string{"token_type", "typ", "token_use"}
	otherKinds = []string{"refresh", "sliding", "id", "offline", "logout"}
	// hashClaims are those of ID tokens only (OpenID Connect Core 1.0, sections
	// 3.1.3.6 and 3.3.2.11).
	hashClaims = []string{"at_hash", "c_hash"}
)

func (a *Authenticator) checkForeignKind(claims map[string]any) error {
	for _, name := range kindClaims {
		kind, _ := claims[name].(string)
		if slices.Contains(otherKinds, strings.ToLower(kind)) && !a.requires(name) {
			return &invalidError{name + " says that it is not for access", "Token has wrong type"}
		}
	}
	for _, name := range hashClaims {
		if claims[name] != nil && !a.preset.idTokens && !a.demands(name) {
			return &invalidError{"an ID token, which has " + name, "Token has wrong type"}
		}
	}
	return nil
}

// demands reports whether the config says that a claim must be there.
func (a *Authenticator) demands(name string) bool {
	return slices.ContainsFunc(a.required, func(c requiredClaim) bool { return c.Path == name })
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
	// RFC 7519, section 4.1.2: a text. Some issuers write numbers all the same.
	if _, text := claims["sub"].(string); !text && claims["sub"] != nil && a.User != defaultUser {
		return nil, invalid("sub is no text ('user sub' would take a whole number)")
	}
	if a.Preset == simpleJWT && a.User == "" && !canonical(claims[a.preset.user]) {
		return nil, &invalidError{"user_id is a number in another spelling", noUser}
	}
	who, err := a.mapping.Identify(claims)
	if errors.Is(err, identity.ErrNoUser) {
		return nil, &invalidError{err.Error(), noUser}
	}
	if err != nil {
		return nil, err
	}
	who.Method, who.Expires = "jwt", expires
	if who.Name == "" && !a.maps("name") {
		who.Name, _ = claims["name"].(string)
	}
	if !a.maps("email") && a.emailVerified(claims) {
		who.Email, _ = claims["email"].(string)
	}
	if !a.maps("groups") {
		for _, path := range a.groups {
			if value, ok := path.In(claims); ok {
				who.Groups = append(who.Groups, identity.Texts(value)...)
			}
		}
	}
	if !a.maps("scopes") {
		who.Scopes = identity.Scopes(claims["scope"])
		if claims["scope"] == nil {
			who.Scopes = identity.Scopes(claims["scp"])
		}
	}
	// A refresh renews iat, but not the login itself.
	for _, name := range []string{"auth_time", "iat"} {
		if _, given := claims[name]; given {
			who.AuthTime, _ = timeOf(claims, name) // one that can't be read is unknown
			break
		}
	}
	return who, nil
}

// canonical refuses texts that Django would take for a primary key and that are
// not how it writes one, such as 01, +1 or 1_0: one user would have two names.
func canonical(value any) bool {
	text, ok := value.(string)
	if !ok || text == "" || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsDigit(c) && !strings.ContainsRune("+-_", c) }) {
		return true
	}
	_, whole := identity.Text(json.Number(text))
	return whole && text[0] != '-'
}

// maps reports whether the config says where a field stands.
func (a *Authenticator) maps(field string) bool {
	return slices.ContainsFunc(a.Claims, func(c identity.ClaimPath) bool { return c.Name == field })
}

// emailVerified reports whether an address may be believed: it is, unless the
// issuer says that it is not, or is one that must say that it is.
func (a *Authenticator) emailVerified(claims map[string]any) bool {
	if name := a.preset.emailClaim; name != "" {
		value, _ := identity.Text(claims[name])
		return claims[name] == true || value == "true" || value == "1"
	}
	value := claims["email_verified"]
	return value == nil || value == true || value == "true"
}
