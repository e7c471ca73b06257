package differential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// jwtReasons are why we refuse what PyJWT takes, by RFC or by docs/jwt.md.
var jwtReasons = []reason[jwtCase]{
	{"longer than 8 KiB", func(c jwtCase) bool { return len(c.token) > 8<<10 }},
	{"characters that are none of a token's", func(c jwtCase) bool {
		return strings.ContainsFunc(c.token, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' })
	}},
	{"not three parts", func(c jwtCase) bool { return strings.Count(c.token, ".") != 2 }},
	{"not canonical base64url (one token, one spelling)", func(c jwtCase) bool {
		return slices.ContainsFunc(strings.Split(c.token, "."), func(part string) bool { return b64(loosely(part)) != part })
	}},
	{"not JSON (RFC 8259)", func(c jwtCase) bool {
		return slices.ContainsFunc(texts(c), func(text []byte) bool { return !json.Valid(text) || !utf8.Valid(text) })
	}},
	{"nested deeper than 64", func(c jwtCase) bool {
		return slices.ContainsFunc(texts(c), func(text []byte) bool { return depthOf(text) > 64 })
	}},
	{"a member that stands twice", func(c jwtCase) bool { return slices.ContainsFunc(texts(c), hasTwice) }},
	{"a header member in another case", func(c jwtCase) bool {
		for name := range headerOf(c) {
			if lower := strings.ToLower(name); lower != name && slices.Contains([]string{"alg", "kid", "typ", "b64", "crit"}, lower) {
				return true
			}
		}
		return false
	}},
	{"crit or b64", func(c jwtCase) bool { return has(headerOf(c), "crit", "b64") }},
	{"typ of another kind of token", func(c jwtCase) bool {
		typ, given := headerOf(c)["typ"]
		text, _ := typ.(string)
		return given && !slices.Contains([]string{"jwt", "at+jwt", "application/jwt", "application/at+jwt"}, strings.ToLower(text))
	}},
	{"bound to a key", func(c jwtCase) bool { return has(claimsOf(c), "cnf") }},
	{"a refresh or ID token", func(c jwtCase) bool {
		claims := claimsOf(c)
		for _, name := range []string{"token_type", "token_use", "typ"} {
			if text, _ := claims[name].(string); slices.Contains([]string{"refresh", "id"}, strings.ToLower(text)) {
				return true
			}
		}
		return has(claims, "at_hash")
	}},
	{"a time that is no number since 1970", func(c jwtCase) bool {
		claims := claimsOf(c)
		return slices.ContainsFunc([]string{"exp", "iat", "nbf"}, func(name string) bool {
			value, given := claims[name]
			number, ok := value.(json.Number)
			seconds, err := number.Float64()
			return given && (!ok || err != nil || seconds < 1 || seconds > 253402300799)
		})
	}},
	{"ends more than 366 days ahead", func(c jwtCase) bool {
		number, _ := claimsOf(c)["exp"].(json.Number)
		seconds, _ := number.Float64()
		return seconds > float64(time.Now().Add(366*24*time.Hour).Unix())
	}},
	{"sub that is no text, or an empty one (RFC 7519, section 4.1.2)", func(c jwtCase) bool {
		sub, _ := claimsOf(c)["sub"].(string)
		return sub == ""
	}},
	{"sub that no header can carry unchanged", func(c jwtCase) bool {
		sub, _ := claimsOf(c)["sub"].(string)
		return len(sub) > 255 || strings.TrimSpace(sub) != sub || strings.ContainsFunc(sub, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
	}},
}

// loosely decodes base64url as Python does, which skips what is none of it.
func loosely(part string) []byte {
	kept := strings.Map(func(r rune) rune {
		switch {
		case r == '+':
			return '-'
		case r == '/':
			return '_'
		case r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)), r == '-', r == '_':
			return r
		}
		return -1
	}, part)
	data, err := base64.RawURLEncoding.DecodeString(kept)
	if err != nil {
		return nil
	}
	return data
}

// texts are the header and the claims of a token.
func texts(c jwtCase) [][]byte {
	parts := strings.Split(c.token, ".")
	return [][]byte{loosely(parts[0]), loosely(parts[1])}
}

func headerOf(c jwtCase) map[string]any { return objectOf(texts(c)[0]) }
func claimsOf(c jwtCase) map[string]any { return objectOf(texts(c)[1]) }

func objectOf(text []byte) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var members map[string]any
	if decoder.Decode(&members) != nil {
		return nil
	}
	return members
}

func has(members map[string]any, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := members[name]; return ok })
}

func depthOf(text []byte) int {
	depth, deepest := 0, 0
	for _, c := range text { // of brackets in texts there are none here
		switch c {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

// hasTwice reports whether any object in text has two members of one name.
func hasTwice(text []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(text))
	twice, err := twiceIn(decoder)
	return twice && (err == nil || errors.Is(err, io.EOF))
}

func twiceIn(d *json.Decoder) (twice bool, err error) {
	token, err := d.Token()
	if err != nil {
		return false, err
	}
	names := make(map[any]bool)
	for open, _ := token.(json.Delim); open != 0 && d.More(); {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return twice, err
			}
			twice = twice || names[name]
			names[name] = true
		}
		inner, err := twiceIn(d)
		if twice = twice || inner; err != nil {
			return twice, err
		}
	}
	if _, ok := token.(json.Delim); ok {
		_, err = d.Token()
	}
	return twice, err
}
