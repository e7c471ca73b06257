package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errNotJSON = errors.New("not JSON")
	errTwice   = errors.New("a member stands twice") // which one is content, and not for a log
	errDepth   = fmt.Errorf("nested deeper than %d", maxDepth)
)

// jsonReader reads one JSON text of valid UTF-8. encoding/json, token by token,
// takes three times as long and six times the allocations, and each request
// with a new token would pay for it; a fuzz test holds the two alike.
type jsonReader struct {
	text string // strings without escapes are parts of it
	at   int
}

// space skips white space.
func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next skips white space and takes the character after it; 0 at the end.
func (r *jsonReader) next() byte {
	r.space()
	if r.at == len(r.text) {
		return 0
	}
	r.at++
	return r.text[r.at-1]
}

// value reads a value that depth objects and lists are around.
func (r *jsonReader) value(depth int) (any, error) {
	switch c := r.next(); {
	case c == '"':
		return r.string()
	case c == '{' || c == '[':
		if depth >= maxDepth {
			return nil, errDepth
		}
		if c == '{' {
			return r.object(depth + 1)
		}
		return r.list(depth + 1)
	case c == '-' || isDigit(c):
		r.at--
		text, err := r.number()
		return json.Number(text), err
	case c == 't':
		return true, r.word("true")
	case c == 'f':
		return false, r.word("false")
	case c == 'n':
		return nil, r.word("null")
	}
	return nil, errNotJSON
}

// word takes a literal, of which the first character has been taken.
func (r *jsonReader) word(word string) error {
	if !strings.HasPrefix(r.text[r.at-1:], word) {
		return errNotJSON
	}
	r.at += len(word) - 1
	return nil
}

func (r *jsonReader) object(depth int) (map[string]any, error) {
	object := make(map[string]any)
	for c := r.next(); c != '}'; {
		if c != '"' {
			return nil, errNotJSON
		}
		name, err := r.string()
		if err != nil {
			return nil, err
		}
		if _, twice := object[name]; twice {
			return nil, errTwice
		}
		if r.next() != ':' {
			return nil, errNotJSON
		}
		if object[name], err = r.value(depth); err != nil {
			return nil, err
		}
		if c = r.next(); c == ',' {
			if c = r.next(); c == '}' {
				return nil, errNotJSON
			}
		} else if c != '}' {
			return nil, errNotJSON
		}
	}
	return object, nil
}

func (r *jsonReader) list(depth int) ([]any, error) {
	list := []any{}
	if r.next() == ']' {
		return list, nil
	}
	r.at--
	for {
		item, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
		switch r.next() {
		case ']':
			return list, nil
		case ',':
		default:
			return nil, errNotJSON
		}
	}
}

// pass goes past a member's value without building it, and without looking
// closely: what is to be believed is read by value.
func (r *jsonReader) pass() error {
	for depth := 0; ; {
		r.space()
		if depth == 0 && r.at < len(r.text) && (r.text[r.at] == ',' || r.text[r.at] == '}') {
			return nil
		}
		switch r.next() {
		case 0:
			return errNotJSON
		case '"':
			if _, err := r.string(); err != nil {
				return err
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number takes a number as it is spelled (RFC 8259, section 6).
func (r *jsonReader) number() (string, error) {
	start := r.at
	r.skip('-')
	whole := r.at
	if r.digits() == 0 || r.text[whole] == '0' && r.at > whole+1 {
		return "", errNotJSON
	}
	if r.skip('.') && r.digits() == 0 {
		return "", errNotJSON
	}
	if r.skip('e') || r.skip('E') {
		_ = r.skip('+') || r.skip('-')
		if r.digits() == 0 {
			return "", errNotJSON
		}
	}
	return r.text[start:r.at], nil
}

// skip takes one character if it is c.
func (r *jsonReader) skip(c byte) bool {
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

// digits takes digits, and says how many.
func (r *jsonReader) digits() int {
	start := r.at
	for r.at < len(r.text) && isDigit(r.text[r.at]) {
		r.at++
	}
	return r.at - start
}

// string reads a string whose opening quote has been taken.
func (r *jsonReader) string() (string, error) {
	start := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[start : r.at-1], nil
		case c == '\\':
			return r.escaped(r.text[start:r.at])
		case c < ' ':
			return "", errNotJSON
		}
		r.at++
	}
	return "", errNotJSON
}

// escaped reads the rest of a string that holds an escape.
func (r *jsonReader) escaped(before string) (string, error) {
	text := []byte(before)
	for r.at < len(r.text) {
		c := r.text[r.at]
		r.at++
		switch {
		case c == '"':
			return string(text), nil
		case c < ' ':
			return "", errNotJSON
		case c != '\\':
			text = append(text, c)
			continue
		}
		char, err := r.escape()
		if err != nil {
			return "", err
		}
		text = utf8.AppendRune(text, char)
	}
	return "", errNotJSON
}

// escape reads what follows a backslash.
func (r *jsonReader) escape() (rune, error) {
	if r.at == len(r.text) {
		return 0, errNotJSON
	}
	c := r.text[r.at]
	r.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return r.unicode()
	}
	return 0, errNotJSON
}

// unicode reads the four hex digits of an escape, and the second half of a
// surrogate pair. A half without the other becomes U+FFFD, as in encoding/json.
func (r *jsonReader) unicode() (rune, error) {
	first, ok := hex4(r.text[r.at:])
	if !ok {
		return 0, errNotJSON
	}
	r.at += 4
	if !utf16.IsSurrogate(first) {
		return first, nil
	}
	if rest, ok := strings.CutPrefix(r.text[r.at:], `\u`); ok {
		if second, ok := hex4(rest); ok {
			if char := utf16.DecodeRune(first, second); char != utf8.RuneError {
				r.at += 6
				return char, nil
			}
		}
	}
	return utf8.RuneError, nil
}

// hex4 reads the four hex digits that text begins with.
func hex4(text string) (rune, bool) {
	if len(text) < 4 {
		return 0, false
	}
	for i := range 4 {
		if c := text[i]; !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0, false
		}
	}
	value, err := strconv.ParseUint(text[:4], 16, 16)
	return rune(value), err == nil
}
