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

func invalid(format string, args ...any) error {
	return &invalidError{fmt.Sprintf(format, args...), "Token is invalid"}
}

// Verify checks a token from its form to its claims, and says whose it is.
func (a *Authenticator) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	who, err := a.verify(ctx, c.Value.Reveal())
	var why *invalidError
	switch {
	case err == nil:
		return who, nil
	case !errors.As(err, &why):
		return nil, fmt.Errorf("checking token: %w", err)
	case c.In == authenticators.InCookie:
		return nil, authenticators.ErrNoCredential
	}
	rejected := &authenticators.RejectedError{
		Code: authenticators.CodeNotValid, Detail: "Given token not valid for any token type",
		Messages:  []authenticators.Message{{TokenClass: "AccessToken", TokenType: "access", Message: why.message}},
		Challenge: a.challenge("invalid_token"), Cause: err,
	}
	if why.message == noUser {
		rejected.Detail, rejected.Messages = noUser, nil
	}
	return nil, rejected
}

// noUser is what SimpleJWT says of a token that names nobody.
const noUser = "Token contained no recognizable user identification"

// verify returns an *invalidError for a token that is not valid; any other
// error says that it could not find out.
func (a *Authenticator) verify(ctx context.Context, token string) (*identity.Identity, error) {
	t, err := a.split(token)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(t.header)
	if err != nil {
		return nil, err
	}
	if len(a.algorithms) > 0 && !slices.Contains(a.algorithms, h.alg) {
		return nil, invalid("algorithm %s is not allowed here", h.alg)
	}
	claims, err := identity.ParseClaims(t.claims)
	if err != nil {
		return nil, invalid("claims: %.80s", err)
	}
	set, err := a.setFor(claims)
	if err != nil {
		return nil, err
	}
	if err := checkSignature(ctx, set, h, t); err != nil {
		return nil, err
	}
	return a.checkClaims(claims)
}

// parts are those of a compact JWS (RFC 7515, section 7.1), decoded.
type parts struct {
	input                     []byte // what was signed
	header, claims, signature []byte
}

// split takes a token apart. It has one spelling: base64url without padding,
// with unused bits zero. Otherwise who was revoked could come back in another.
func (a *Authenticator) split(token string) (parts, error) {
	if len(token) > a.maxSize {
		return parts{}, invalid("token of %d bytes; at most %d are read", len(token), a.maxSize)
	}
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

// types are those that a bearer may have (RFC 7519, section 5.1; RFC 9068,
// section 2.1), in lower case.
var types = []string{"jwt", "at+jwt", "application/at+jwt"}

// parseHeader reads the header. Keys in it (jwk, jku, x5u, x5c) are not looked
// at: whoever wrote the token chose them.
func parseHeader(data []byte) (header, error) {
	members, err := identity.ParseClaims(data)
	if err != nil {
		return header{}, invalid("header: %.80s", err)
	}
	var h header
	var ok bool
	if h.alg, ok = members["alg"].(string); !ok {
		return h, invalid("header without a text alg")
	}
	if keys.CheckAlgorithm(h.alg) != nil {
		return h, invalid("an algorithm that is none, or unknown")
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
	if typ, given := members["typ"]; given {
		text, _ := typ.(string)
		if !slices.Contains(types, strings.ToLower(text)) {
			return h, invalid("its typ is that of a token for something else")
		}
	}
	return h, nil
}

// setFor picks the keys by the issuer, before any is tried or fetched.
func (a *Authenticator) setFor(claims map[string]any) (keys.Set, error) {
	issuer, _ := claims["iss"].(string)
	if len(a.Issuer) > 0 && !slices.Contains(a.Issuer, issuer) {
		return nil, invalid("issuer is none of those that are trusted")
	}
	if set := a.sets[issuer]; set != nil {
		return set, nil
	}
	return a.sets[""], nil
}

func checkSignature(ctx context.Context, set keys.Set, h header, t parts) error {
	found, err := set.Find(ctx, h.kid, h.alg)
	if errors.Is(err, keys.ErrNoKey) {
		return invalid("%v, for algorithm %s", err, h.alg)
	}
	if err != nil {
		return err
	}
	for _, key := range found {
		if key.Verify(h.alg, t.input, t.signature) == nil {
			return nil
		}
	}
	return invalid("signature does not fit")
}
