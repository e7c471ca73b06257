package authenticators

import "strings"

// Problem adds to a challenge what was wrong with the credential (RFC 6750, section
// 3): a code, and a sentence for developers, of which characters that may not stand
// there are left out. A challenge that is empty stays so.
func Problem(challenge, code, description string) string {
	if challenge == "" {
		return ""
	}
	challenge += `, error="` + code + `"`
	if description = strings.Map(descriptive, description); description != "" {
		challenge += `, error_description="` + description + `"`
	}
	return challenge
}

func descriptive(c rune) rune {
	if c < ' ' || c > '~' || c == '"' || c == '\\' {
		return -1
	}
	return c
}

// IsBearer reports whether a challenge is of the scheme Bearer, which has such problems.
func IsBearer(challenge string) bool {
	scheme, _, _ := strings.Cut(challenge, " ")
	return strings.EqualFold(scheme, "Bearer")
}
