package authenticators

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Secret is a credential's value. Whatever prints it prints "[secret]".
type Secret string

const masked = "[secret]"

// Format prints "[secret]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(masked)) }

// String is what a panic with a Secret prints: the runtime knows no Format.
func (Secret) String() string { return masked }

// MarshalText gives "[secret]", for JSON and logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// Sum is the value's SHA-256.
func (s Secret) Sum() [sha256.Size]byte {
	var buffer [2048]byte // on the stack: most tokens fit, and nothing is allocated
	return sha256.Sum256(append(buffer[:0], s...))
}

// Digest is the value's SHA-256 in hex: what records are kept under, and how
// a token or session id can be found again in a log. Never log a password's.
func (s Secret) Digest() string {
	sum := s.Sum()
	return hex.EncodeToString(sum[:])
}

var _ fmt.Formatter = Secret("")
