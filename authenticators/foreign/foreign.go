// Package foreign reads records that another application keeps in Redis, for
// the authenticators of sessions and of tokens. It never writes.
package foreign

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern is a Redis key with one placeholder for the credential, such as
// sess:{id}.
type Pattern struct {
	before, after string

	// Placeholder is the name that stands in the braces.
	Placeholder string
}

// ParsePattern reads a key pattern. It must hold exactly one of the
// placeholders, and something beside it: a pattern of nothing but the
// credential would let a client name any key of the database.
func ParsePattern(text string, placeholders ...string) (Pattern, error) {
	var found Pattern
	count := 0
	for _, name := range placeholders {
		before, after, ok := strings.Cut(text, "{"+name+"}")
		if !ok {
			continue
		}
		found = Pattern{before, after, name}
		count += strings.Count(text, "{"+name+"}")
	}
	example := "sess:{" + placeholders[0] + "}"
	switch {
	case count != 1:
		return found, fmt.Errorf("key '%s': exactly one {%s} is needed, such as %s", text, strings.Join(placeholders, "} or {"), example)
	case found.before == "" && found.after == "":
		return found, fmt.Errorf("key '%s' lets clients name any key; put the application's prefix before it, such as %s", text, example)
	}
	return found, nil
}

// Bare is the pattern of nothing but a credential. It is for credentials of which
// so few fit that no other key of the database can look like one.
func Bare(placeholder string) Pattern { return Pattern{Placeholder: placeholder} }

// Credential returns what stands in key where the pattern has its placeholder.
func (p Pattern) Credential(key string) (string, bool) {
	inner, ok := strings.CutPrefix(key, p.before)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, p.after)
}

// Prefix is what all keys of the pattern begin with; empty: there is nothing.
func (p Pattern) Prefix() string { return p.before }

// Key is the key for a credential.
func (p Pattern) Key(credential string) string { return p.before + credential + p.after }

// maxCredential is the longest credential that goes into a key, in bytes.
const maxCredential = 256

// ErrUnfit says that a credential has characters that could lead out of the
// pattern's key space.
var ErrUnfit = errors.New("not fit for a key")

// Fit checks a credential before it goes into a key: 1 to 256 characters of
// A-Z a-z 0-9 and - _ . ~ + = only. So it holds none of the separators and
// wildcards of keys.
func Fit(credential string) error {
	if credential == "" || len(credential) > maxCredential {
		return ErrUnfit
	}
	for i := range len(credential) {
		c := credential[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~+=", c) >= 0 {
			continue
		}
		return ErrUnfit
	}
	return nil
}
