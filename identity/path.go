package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Path says where in nested claims a value stands: names and list indexes
// joined by dots, such as realm_access.roles or passport.user.0.id. A name
// that holds a dot is quoted: "https://example.com/groups".0
type Path []string

// ParsePath reads a path as it stands in a config.
func ParsePath(text string) (Path, error) {
	var path Path
	for rest := text; ; {
		step, after, err := cutStep(rest)
		if err != nil {
			return nil, fmt.Errorf("path '%s': %w", text, err)
		}
		path = append(path, step)
		if after == "" {
			return path, nil
		}
		if after[0] != '.' {
			return nil, fmt.Errorf("path '%s': a dot must follow a quoted name", text)
		}
		rest = after[1:]
	}
}

// cutStep takes the first step off a path.
func cutStep(text string) (step, after string, err error) {
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		name, after, closed := strings.Cut(quoted, `"`)
		if !closed {
			return "", "", errors.New("a quote is not closed")
		}
		return name, after, nil
	}
	end := strings.IndexByte(text, '.')
	if end < 0 {
		end = len(text)
	}
	if end == 0 {
		return "", "", errors.New("a name is empty")
	}
	return text[:end], text[end:], nil
}

// In returns what stands at the path in claims. A path never crosses into
// text: what is not an object or a list has nothing below it.
func (p Path) In(claims map[string]any) (any, bool) {
	if len(p) == 0 {
		return nil, false
	}
	var value any = claims
	for _, step := range p {
		switch at := value.(type) {
		case map[string]any:
			next, ok := at[step]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(at) || strconv.Itoa(i) != step {
				return nil, false
			}
			value = at[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// Text gives a value as text: strings as they are, whole numbers in decimal.
// Anything else, a truth value or 1.5 or 1e3, is none: it could have two
// spellings, and then one user two names.
func Text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		s := v.String()
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return s, strconv.FormatInt(i, 10) == s
		}
		u, err := strconv.ParseUint(s, 10, 64)
		return s, err == nil && strconv.FormatUint(u, 10) == s
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	}
	return "", false
}

// Texts gives a value as a list of texts: a list of them, or a single one.
// Items that are no text are left out.
func Texts(value any) []string {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var texts []string
	for _, item := range list {
		if text, ok := Text(item); ok && text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}
