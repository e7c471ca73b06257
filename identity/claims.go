package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds how deep claims may nest.
const maxDepth = 64

// ParseClaims reads a JSON object as data that somebody else chose. Names are
// exact, and a repeated one is refused (RFC 7519, section 4): encoding/json
// would take "EXP" for exp, and the last of two. Numbers become json.Number,
// so that none loses digits. What follows the object is an error.
func ParseClaims(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	return parseObject(d, 1)
}

func parseObject(d *json.Decoder, depth int) (map[string]any, error) {
	object := make(map[string]any)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string)
		if _, twice := object[key]; twice {
			return nil, errors.New("a member stands twice") // which one is content, and not for a log
		}
		if object[key], err = parseValue(d, depth); err != nil {
			return nil, err
		}
	}
	_, err := d.Token() // the closing brace
	return object, err
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		return token, nil
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '{' {
		return parseObject(d, depth+1)
	}
	list := []any{}
	for d.More() {
		item, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err = d.Token() // the closing bracket
	return list, err
}
