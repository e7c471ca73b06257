// Package passwords hashes passwords and checks them. It never keeps or prints
// one, and it bounds what strangers can make it compute.
package passwords

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// New hashes are argon2id with these parameters, as OWASP's password storage
// cheat sheet gives them.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonLength  = 32
)

// The bounds of hashes that we take: beyond them one check would be an attack.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 64
	maxBcryptCost  = 20
	maxBcryptBytes = 72 // bcrypt ignores what follows, so such a password never matches
)

// MaxLength is the longest password, in bytes; a longer one never matches.
const MaxLength = 1024

// ErrKind says that a text is no hash that we understand.
var ErrKind = errors.New("not a bcrypt or argon2id hash; make one with: caddy hash-password")

// Hash returns a password's argon2id hash in PHC form.
func Hash(password string) (string, error) {
	if len(password) > MaxLength {
		return "", fmt.Errorf("password of %d bytes; %d at most", len(password), MaxLength)
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	a := argonHash{memory: argonMemory, time: argonTime, threads: argonThreads, salt: salt}
	a.sum = a.of(password, argonLength)
	return a.String(), nil
}

// Check says what is wrong with a hash, if anything.
func Check(hash string) error {
	if !strings.HasPrefix(hash, "$2") {
		_, err := parseArgon(hash)
		return err
	}
	if !bcryptForm.MatchString(hash) {
		return ErrKind
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return ErrKind
	}
	if cost > maxBcryptCost {
		return fmt.Errorf("bcrypt hash of cost %d; at most %d would do", cost, maxBcryptCost)
	}
	return nil
}

// bcryptForm is a bcrypt hash: its version, cost, salt and sum.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// Dummy returns a hash of the same kind and cost as another one, that no
// password is known to have; of our own kind if that one is no hash. Checking a
// password against it takes the time that an existing user would have taken.
func Dummy(like string) string {
	if bcryptForm.MatchString(like) {
		return like[:len("$2a$10$")] + strings.Repeat(".", 53)
	}
	a, err := parseArgon(like)
	if err != nil {
		a = argonHash{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt), sum: make([]byte, argonLength)}
	}
	clear(a.salt)
	clear(a.sum)
	return a.String()
}

// Outdated reports whether a hash is of another kind than new ones, or cheaper.
func Outdated(hash string) bool {
	a, err := parseArgon(hash)
	return err != nil || uint64(a.memory)*uint64(a.time) < argonMemory*argonTime || len(a.sum) < argonLength
}

// match reports whether a password has this hash. The hash must be checked.
func match(hash, password string) bool {
	if len(password) > MaxLength {
		return false
	}
	if bcryptForm.MatchString(hash) {
		return len(password) <= maxBcryptBytes && bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	a, err := parseArgon(hash)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(a.of(password, len(a.sum)), a.sum) == 1
}

// argonHash is a hash in PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$sum
type argonHash struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

// of is the sum of a password.
func (a argonHash) of(password string, length int) []byte {
	return argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(length)) //nolint:gosec // at most 64, see parseArgon
}

func (a argonHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.time, a.threads,
		base64.RawStdEncoding.EncodeToString(a.salt), base64.RawStdEncoding.EncodeToString(a.sum))
}

func parseArgon(hash string) (argonHash, error) {
	var a argonHash
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return a, ErrKind
	}
	numbers := make(map[string]uint64)
	for pair := range strings.SplitSeq(parts[3], ",") {
		name, value, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return a, ErrKind
		}
		numbers[name] = n
	}
	m, t, p := numbers["m"], numbers["t"], numbers["p"]
	if len(numbers) != 3 || m < 8 || m > maxArgonMemory || t < 1 || t > maxArgonTime || p < 1 || p > 255 {
		return a, fmt.Errorf("argon2id hash with %s; m up to %d, t up to %d and p up to 255 would do", parts[3], maxArgonMemory, maxArgonTime)
	}
	a.memory, a.time, a.threads = uint32(m), uint32(t), uint8(p) //nolint:gosec // bounded just above
	var err error
	if a.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(a.salt) < 8 {
		return a, ErrKind
	}
	if a.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(a.sum) < 16 || len(a.sum) > 64 {
		return a, ErrKind
	}
	return a, nil
}
