package identity

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// PlaceholderPrefix is what placeholders of the identity begin with. They are
// those of Caddy's own authentication, so that its matchers and logs work.
const PlaceholderPrefix = "http.auth.user."

// Placeholder returns the value of {http.auth.user.<field>}: id, name, email,
// groups, scopes, method, expires, auth_time or claims.<path>. What is unknown
// is empty. who may be nil: nobody.
func Placeholder(who *Identity, field string) string {
	if who == nil {
		return ""
	}
	switch field {
	case "id":
		return who.ID
	case "name":
		return SafeText(who.Name)
	case "email":
		return SafeText(who.Email)
	case "groups":
		return who.joinedGroups()
	case "scopes":
		return SafeText(strings.Join(who.Scopes, " "))
	case "method":
		return who.Method
	case "expires":
		return rfc3339(who.Expires)
	case "auth_time":
		return rfc3339(who.AuthTime)
	}
	if text, ok := strings.CutPrefix(field, "claims."); ok {
		return claimText(who, text)
	}
	return ""
}

// placeholderFields are the fields, but for claims.
var placeholderFields = []string{"auth_time", "email", "expires", "groups", "id", "method", "name", "scopes"}

// CheckPlaceholders refuses a text with a placeholder of a field that no identity has:
// it would always be empty.
func CheckPlaceholders(text string) error {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "{"+PlaceholderPrefix)
		if !found {
			return nil
		}
		field, _, closed := strings.Cut(after, "}")
		rest = after
		path, isClaim := strings.CutPrefix(field, "claims.")
		switch {
		case !closed:
		case isClaim:
			if _, err := ParsePath(path); err != nil {
				return err
			}
		case !slices.Contains(placeholderFields, field):
			return words.Unknown("placeholder", PlaceholderPrefix+field, append(prefixed(placeholderFields), PlaceholderPrefix+"claims.<path>"))
		}
	}
}

func prefixed(fields []string) []string {
	names := make([]string, len(fields))
	for i, field := range fields {
		names[i] = PlaceholderPrefix + field
	}
	return names
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// claimText gives a claim as text; lists are joined, truth values spelled out,
// objects and fractions given as JSON.
func claimText(who *Identity, text string) string {
	path, err := ParsePath(text)
	if err != nil {
		return ""
	}
	value, ok := who.Claim(path)
	if !ok || value == nil {
		return ""
	}
	if text, ok := Text(value); ok {
		return SafeText(text)
	}
	if list, ok := value.([]any); ok {
		return JoinList(Texts(list))
	}
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return SafeText(string(data))
}
