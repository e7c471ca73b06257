// Package identity says who is calling, and tells upstreams so: identity
// headers, the stripping of forged ones, and placeholders.
//
// It never decides whether somebody may pass; policies do.
package identity

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Identity is who is calling, as a verified credential says.
type Identity struct {
	// ID is the subject: stable, never empty, and fit for a header (see ValidID).
	ID string

	// Name is the name to show. Empty: unknown.
	Name string

	// Email is empty where it is unknown, or known to be unverified.
	Email string

	Groups []string
	Scopes []string

	// Claims is what else the credential says; numbers are json.Number or Go
	// integers and floats. Nil where there is nothing. It is written by whoever
	// makes an identity; Claim reads it.
	Claims map[string]any

	// Method is the kind of credential: the authenticator's name.
	Method string

	// Expires is when the credential ends by itself. Zero: unknown.
	Expires time.Time

	// AuthTime is when the caller logged in. Zero: unknown.
	AuthTime time.Time

	// Basis is a number by which the authenticator knows what the identity rests on,
	// beside the config and the store; see authenticators.Lasting.
	Basis uint64

	joined string // Groups as a header has them; empty: not known
	packed string // Claims as they were packed; empty: Claims is all there is
}

// MaxID is the longest subject, in bytes.
const MaxID = 255

// ValidID reports whether id can be a subject. What a header could not carry
// unchanged is none: two different subjects must never look alike upstream.
// So: 1 to 255 bytes of valid UTF-8, without control characters, without the
// replacement character (which stands where text was not valid before), and
// without white space at either end.
func ValidID(id string) bool {
	if id == "" || len(id) > MaxID || !utf8.ValidString(id) || strings.TrimSpace(id) != id {
		return false
	}
	return !strings.ContainsFunc(id, func(c rune) bool { return c == utf8.RuneError || unicode.IsControl(c) })
}
