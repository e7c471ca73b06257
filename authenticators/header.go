package authenticators

import (
	"errors"
	"net/http"
	"strings"
)

// What can be wrong with a header that carries a credential.
var (
	ErrTwoHeaders = errors.New("the header was sent twice")
	ErrNoValue    = errors.New("no value after the scheme")
	ErrSpaces     = errors.New("more than one value after the scheme")
	ErrCharacters = errors.New("characters that are no printable ASCII")
)

// FromHeader reads the value that follows a scheme in a header. Schemes are
// compared without case (RFC 9110, section 11.1). Without a scheme the whole
// value counts.
//
// ErrNoCredential: no such header, or another scheme. ErrTwoHeaders (RFC 6750,
// section 3.1: no second credential), ErrNoValue, ErrSpaces, ErrCharacters:
// a credential that can't be right, for the caller to put into words.
func FromHeader(r *http.Request, header, scheme string) (Secret, error) {
	values := r.Header[http.CanonicalHeaderKey(header)]
	if len(values) == 0 {
		return "", ErrNoCredential
	}
	if len(values) > 1 {
		return "", ErrTwoHeaders
	}
	// Blanks and tabs only: strings.Fields would also split at Unicode spaces.
	words := strings.FieldsFunc(values[0], func(c rune) bool { return c == ' ' || c == '\t' })
	if scheme != "" {
		if len(words) == 0 || !strings.EqualFold(words[0], scheme) {
			return "", ErrNoCredential
		}
		words = words[1:]
	}
	switch {
	case len(words) == 0 && scheme == "":
		return "", ErrNoCredential
	case len(words) == 0:
		return "", ErrNoValue
	case len(words) > 1:
		return "", ErrSpaces
	}
	if strings.ContainsFunc(words[0], func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", ErrCharacters
	}
	return Secret(words[0]), nil
}

// LooksLikeJWT reports whether a value has the shape of a JWT rather than of
// an opaque token: it begins as base64url of `{"` does, and has a dot.
func LooksLikeJWT(value Secret) bool {
	return strings.HasPrefix(string(value), "eyJ") && strings.Contains(string(value), ".")
}
