package identity

import (
	"errors"
	"unicode/utf8"
)

// maxDepth bounds how deep claims may nest.
const maxDepth = 64

// ParseClaims reads a JSON object (RFC 8259) as data that somebody else chose.
// Names are exact, and a repeated one is refused (RFC 7519, section 4):
// encoding/json would take "EXP" for exp, and the last of two. Numbers become
// json.Number, so that none loses digits. What follows the object is an error.
//
// Errors hold nothing of the data.
func ParseClaims(data []byte) (map[string]any, error) {
	value, err := ParseJSON(data)
	if err != nil {
		return nil, err
	}
	claims, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return claims, nil
}

// ParseJSON reads any JSON value as ParseClaims reads objects.
func ParseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	r := jsonReader{text: string(data)}
	value, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.space(); r.at < len(r.text) {
		return nil, errNotJSON
	}
	return value, nil
}

// PeekText returns a text of a JSON object that ParseClaims has not seen yet;
// empty if there is none by that name, or what stands before it can't be read.
func PeekText(data []byte, name string) string {
	r := jsonReader{text: string(data)}
	if r.next() != '{' {
		return ""
	}
	for c := r.next(); c == '"'; c = r.next() {
		member, err := r.string()
		if err != nil || r.next() != ':' {
			return ""
		}
		if member == name {
			value, _ := r.value(1)
			text, _ := value.(string)
			return text
		}
		if r.pass() != nil {
			return ""
		}
		if r.next() != ',' {
			return ""
		}
	}
	return ""
}
