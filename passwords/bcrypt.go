package passwords

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// bcryptHash is a hash as bcrypt writes it: $2b$12$salt and sum.
type bcryptHash string

// bcryptForm is a bcrypt hash: its version, cost, salt and sum.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

func parseBcrypt(hash string) (kind, error) {
	if !bcryptForm.MatchString(hash) {
		return nil, ErrKind
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return nil, ErrKind
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt hash of cost %d; at most %d would do", cost, maxBcryptCost)
	}
	return bcryptHash(hash), nil
}

func (h bcryptHash) matches(password string) bool {
	return len(password) <= maxBcryptBytes && bcrypt.CompareHashAndPassword([]byte(h), []byte(password)) == nil
}

func (h bcryptHash) dummy() string { return string(h[:len("$2a$10$")]) + strings.Repeat(".", 53) }

// bcryptSHA256 is bcrypt of a password's SHA-256 in hex, so that no byte of it is
// ignored.
type bcryptSHA256 struct{ kind }

func parseBcryptSHA256(hash string) (kind, error) {
	inner, err := parseBcrypt(hash)
	return bcryptSHA256{inner}, err
}

func (h bcryptSHA256) matches(password string) bool {
	sum := sha256.Sum256([]byte(password))
	return h.kind.matches(hex.EncodeToString(sum[:]))
}
