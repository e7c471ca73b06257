package seal

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// gorillaMaxAge is how long securecookie takes a value, by default.
const gorillaMaxAge = 30 * 24 * time.Hour

// Gorilla opens the cookies of gorilla/securecookie with a hash key alone, as Go's
// session stores in Redis use it: base64url of "date|value|" and HMAC-SHA256 of
// "name|date|value". Those with a block key are encrypted, and are not read. In
// the value stands the session's id, as gob or JSON.
func Gorilla(secrets []string, now Clock) Opener {
	keys := bytesOf(secrets)
	return func(name, value, _ string) (string, error) {
		if len(value) > maxSealed {
			return "", ErrForged
		}
		text, err := decode(base64.URLEncoding, value)
		if err != nil {
			return "", ErrForged
		}
		date, rest, _ := strings.Cut(string(text), "|")
		encoded, signature, ok := strings.Cut(rest, "|")
		if !ok {
			return "", ErrForged
		}
		if !anyMatches([]byte(signature), keys, func(key []byte) []byte { return mac(sha256.New, key, name, "|", date, "|", encoded) }) {
			return "", ErrForged
		}
		made, err := strconv.ParseInt(date, 10, 64)
		if err != nil || time.Unix(made, 0).Before(now().Add(-gorillaMaxAge)) {
			return "", ErrForged
		}
		return gorillaID(encoded)
	}
}

// gobString begins a gob of a string: the length of the message, the type, and a
// zero; the length of the text comes after.
const gobString = "\x0c\x00"

// gorillaID reads an id of less than 100 characters from base64url.
func gorillaID(encoded string) (string, error) {
	data, err := decode(base64.URLEncoding, encoded)
	if err != nil || len(data) < 4 {
		return "", ErrForged
	}
	if id, ok := strings.CutPrefix(string(data), `"`); ok && strings.HasSuffix(id, `"`) {
		return strings.TrimSuffix(id, `"`), nil
	}
	id, ok := strings.CutPrefix(string(data[1:]), gobString)
	if !ok || int(data[0]) != len(data)-1 || int(id[0]) != len(id)-1 {
		return "", ErrForged
	}
	return id[1:], nil
}
