package authenticators

import (
	"errors"
	"net/http"
	"strings"
)

// What can be wrong with a header or parameter that carries a credential.
var (
	ErrTwoHeaders = errors.New("the header was sent twice")
	ErrNoValue    = errors.New("no value after the scheme")
	ErrSpaces     = errors.New("more than one value after the scheme")
	ErrCharacters = errors.New("characters that are no printable ASCII")
	ErrTwoValues  = errors.New("the query parameter was sent twice")
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
	value := trim(values[0])
	if scheme != "" {
		word, rest := cutWord(value)
		if !strings.EqualFold(word, scheme) {
			return "", ErrNoCredential
		}
		if value = rest; value == "" {
			return "", ErrNoValue
		}
	}
	if value == "" {
		return "", ErrNoCredential
	}
	if _, rest := cutWord(value); rest != "" {
		return "", ErrSpaces
	}
	if strings.Contains(values[0], "\t") { // blanks separate, and nothing else (RFC 9110, section 11.4)
		return "", ErrCharacters
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return "", ErrCharacters
		}
	}
	return Secret(value), nil
}

// blanks are what separates words: not Unicode's spaces.
const blanks = " \t"

func trim(text string) string { return strings.Trim(text, blanks) }

// cutWord takes the first word off a trimmed text.
func cutWord(text string) (word, rest string) {
	end := strings.IndexByte(text, ' ')
	if tab := strings.IndexByte(text, '\t'); tab >= 0 && (end < 0 || tab < end) {
		end = tab
	}
	if end < 0 {
		return text, ""
	}
	return text[:end], trim(text[end:])
}

// LooksLikeJWT reports whether a value has the shape of a JWT rather than of
// an opaque token: it begins as base64url of `{"` does, and has a dot.
func LooksLikeJWT(value Secret) bool {
	return strings.HasPrefix(string(value), "eyJ") && strings.Contains(string(value), ".")
}
