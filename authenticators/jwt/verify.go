package jwt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// invalidError says why a token is not valid. It holds nothing of the token.
type invalidError struct {
	reason  string
	message string // SimpleJWT's words
}

func (e *invalidError) Error() string { return e.reason }

func invalid(format string, args ...any) *invalidError {
	return &invalidError{fmt.Sprintf(format, args...), "Token is invalid"}
}

// Verify checks a token from its form to its claims, and says whose it is.
func (a *Authenticator) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	who, err := a.verify(ctx, c.Value.Reveal())
	if err == nil {
		return who, nil
	}
	why, ok := errors.AsType[*invalidError](err)
	switch {
	case !ok:
		return nil, fmt.Errorf("checking token: %w", err)
	case c.In == authenticators.InCookie:
		return nil, authenticators.ErrNoCredential
	}
	return nil, a.rejection(why)
}

// Holds reports whether the key that a token was signed with is still trusted; see
// authenticators.Lasting.
func (a *Authenticator) Holds(basis uint64) bool {
	if known, ok := a.trusted.Load(basis); ok {
		if known.(keys.Set).Holds(basis) {
			return true
		}
		a.trusted.Delete(basis)
		return false
	}
	for _, set := range a.sets {
		if set.Holds(basis) {
			a.trusted.Store(basis, set)
			return true
		}
	}
	return false
}

// rejection puts what is wrong with a token into SimpleJWT's words.
func (a *Authenticator) rejection(why *invalidError) *authenticators.RejectedError {
	rejected := &authenticators.RejectedError{
		Code: authenticators.CodeNotValid, Detail: "Given token not valid for any token type",
		Messages:  []authenticators.Message{{TokenClass: "AccessToken", TokenType: "access", Message: why.message}},
		Challenge: authenticators.Problem(a.Challenge(), "invalid_token", why.message), Cause: why,
	}
	if why.message == noUser {
		rejected.Detail, rejected.Messages = noUser, nil
	}
	return rejected
}

// noUser is what SimpleJWT says of a token that names nobody.
const noUser = "Token contained no recognizable user identification"

// verify returns an *invalidError for a token that is not valid; any other
// error says that it could not find out.
func (a *Authenticator) verify(ctx context.Context, token string) (*identity.Identity, error) {
	if len(token) > a.maxSize {
		return nil, a.tooLong(authenticators.Secret(token))
	}
	t, err := a.open(ctx, token)
	if err != nil {
		return nil, err
	}
	who, err := a.checkClaims(t.claims)
	if err != nil {
		return nil, err
	}
	who.Basis = t.key.Serial()
	if a.store == nil {
		return who, nil
	}
	return who, a.checkRevoked(ctx, who, a.namesOf(t.claims, t.parts))
}

// opened is a token whose signature holds; its claims are not checked yet.
type opened struct {
	parts  parts
	claims map[string]any
	issuer string
	key    *keys.Key
}

// open checks a token from its form to its signature, with the errors of verify.
// What decides cheaply goes first.
func (a *Authenticator) open(ctx context.Context, token string) (opened, error) {
	var t opened
	var err error
	if t.parts, err = split(token); err != nil {
		return t, err
	}
	h, err := a.readHeader(t.parts.header)
	if err != nil {
		return t, err
	}
	if t.claims, err = identity.ParseClaims(t.parts.claims); err != nil {
		return t, invalid("claims: %v", err)
	}
	if t.issuer, err = a.issuerOf(t.claims); err != nil {
		return t, err
	}
	t.key, err = checkSignature(ctx, a.setOf(t.issuer), h, t.parts)
	return t, err
}

// parts are those of a compact JWS (RFC 7515, section 7.1), decoded.
type parts struct {
	input                     []byte // what was signed
	header, claims, signature []byte
}

// split takes a token apart. It has one spelling: base64url without padding,
// with unused bits zero. Otherwise who was revoked could come back in another.
func split(token string) (parts, error) {
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	switch dots := strings.Count(signature, "."); {
	case ok && dots == 2:
		return parts{}, invalid("an encrypted token (JWE); only signed ones are taken")
	case !ok || dots > 0:
		return parts{}, invalid("not three parts joined by dots")
	}
	p := parts{input: []byte(token[:len(header)+1+len(payload)])}
	for _, part := range []struct {
		text string
		to   *[]byte
	}{{header, &p.header}, {payload, &p.claims}, {signature, &p.signature}} {
		data, err := decodePart(part.text)
		if err != nil {
			return parts{}, err
		}
		*part.to = data
	}
	return p, nil
}

func decodePart(text string) ([]byte, error) {
	// The decoder skips line breaks, even a strict one.
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, invalid("a part is empty or broken by a line break")
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, invalid("a part is not canonical base64url")
	}
	return data, nil
}

// header is what matters of a token's header.
type header struct{ alg, kid string }

// headerNames are the members that are looked at.
var headerNames = []string{"alg", "b64", "crit", "kid", "typ"}

// bearerTypes are those that a bearer usually has (RFC 7519, section 5.1; RFC
// 9068, section 2.1).
var bearerTypes = []string{"jwt", "at+jwt"}

// lowerTypes gives values of typ in the form that they are compared in.
func lowerTypes(values []string) []string {
	types := make([]string, len(values))
	for i, value := range values {
		types[i] = lowerType(value)
	}
	return types
}

func lowerType(typ string) string { return strings.TrimPrefix(strings.ToLower(typ), "application/") }

// readHeader reads the header, and refuses what is not allowed here. Keys in it
// (jwk, jku, x5u, x5c) are not looked at: whoever wrote the token chose them.
func (a *Authenticator) readHeader(data []byte) (header, error) {
	members, err := identity.ParseClaims(data)
	if err != nil {
		return header{}, invalid("header: %v", err)
	}
	for name := range members {
		// A reader that folds case might take it for the other.
		if lower := strings.ToLower(name); lower != name && slices.Contains(headerNames, lower) {
			return header{}, invalid("header with %s in another spelling", lower)
		}
	}
	var h header
	var ok bool
	if h.alg, ok = members["alg"].(string); !ok {
		return h, invalid("header without a text alg")
	}
	switch {
	case keys.CheckAlgorithm(h.alg) != nil:
		return h, invalid("an algorithm that is none, or unknown")
	case len(a.algorithms) > 0 && !slices.Contains(a.algorithms, h.alg):
		return h, invalid("algorithm %s is not allowed here", h.alg)
	}
	if _, critical := members["crit"]; critical {
		return h, invalid("header with crit: no extension is understood here")
	}
	if _, unencoded := members["b64"]; unencoded {
		return h, invalid("header with b64: an unencoded payload is no JWT")
	}
	if kid, given := members["kid"]; given {
		if h.kid, ok = kid.(string); !ok {
			return h, invalid("header with a kid that is no text")
		}
	}
	return h, a.checkTyp(members)
}

// checkTyp refuses tokens that say to be for something else.
func (a *Authenticator) checkTyp(members map[string]any) error {
	typ, given := members["typ"]
	if !given && len(a.typ) == 0 {
		return nil
	}
	allowed := a.typ
	if len(allowed) == 0 {
		allowed = bearerTypes
	}
	if text, _ := typ.(string); !slices.Contains(allowed, lowerType(text)) {
		return invalid("its typ is that of a token for something else")
	}
	return nil
}

// issuerOf is the issuer whose keys a token is checked with. It is asked before
// any key is tried or fetched.
func (a *Authenticator) issuerOf(claims map[string]any) (string, error) {
	issuer, _ := claims["iss"].(string)
	if len(a.issuers) > 0 && !slices.Contains(a.issuers, issuer) {
		return "", invalid("issuer is none of those that are trusted")
	}
	return issuer, nil
}

// setOf is the issuer's own key set, or the one for all.
func (a *Authenticator) setOf(issuer string) keys.Set {
	if set := a.sets[issuer]; set != nil {
		return set
	}
	return a.sets[""]
}

// checkSignature finds the key that a token was signed with.
func checkSignature(ctx context.Context, set keys.Set, h header, t parts) (*keys.Key, error) {
	found, err := set.Find(ctx, h.kid, h.alg)
	if errors.Is(err, keys.ErrNoKey) {
		return nil, invalid("%v, for algorithm %s", err, h.alg)
	}
	if err != nil {
		return nil, err
	}
	for _, key := range found {
		if key.Verify(h.alg, t.input, t.signature) == nil {
			return key, nil
		}
	}
	return nil, invalid("signature does not fit")
}
