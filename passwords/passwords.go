// Package passwords hashes passwords and checks them. It never keeps or prints
// one, and it bounds what strangers can make it compute.
package passwords

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
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
	maxArgonMemory  = 1 << 20 // KiB
	maxArgonTime    = 64
	maxBcryptCost   = 20
	maxBcryptBytes  = 72 // bcrypt ignores what follows, so such a password never matches
	maxPBKDF2Rounds = 10_000_000
	maxScryptMemory = 256 << 20 // bytes
	maxScryptCores  = 16
)

// MaxLength is the longest password, in bytes; a longer one never matches.
const MaxLength = 1024

// ErrKind says that a text is no hash that we understand.
var ErrKind = errors.New("not a hash by argon2, bcrypt, PBKDF2 or scrypt that is known here; make one with: caddy hash-password")

// Hash returns a password's argon2id hash in PHC form.
func Hash(password string) (string, error) {
	if len(password) > MaxLength {
		return "", fmt.Errorf("password of %d bytes; %d at most", len(password), MaxLength)
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	a := argonHash{algorithm: argonID, memory: argonMemory, time: argonTime, threads: argonThreads, salt: salt}
	a.sum = a.of(password, argonLength)
	return a.String(), nil
}

// kind is a hash that has been read.
type kind interface {
	// matches reports whether a password of at most MaxLength bytes has this hash.
	matches(password string) bool

	// dummy is a hash that costs the same and that no password is known to have.
	dummy() string
}

// parse reads a hash: in PHC form or bcrypt's own, or as Django writes it, which puts
// the name of the algorithm before it.
func parse(hash string) (kind, error) {
	if strings.HasPrefix(hash, "$2") {
		return parseBcrypt(hash)
	}
	name, rest, _ := strings.Cut(hash, "$")
	switch name {
	case "":
		if !strings.HasPrefix(rest, argonID) {
			return nil, ErrKind
		}
		return parseArgon(hash)
	case "argon2":
		return inDjango(name, rest, parseArgon)
	case "bcrypt":
		return inDjango(name, rest, parseBcrypt)
	case "bcrypt_sha256":
		return inDjango(name, rest, parseBcryptSHA256)
	case "pbkdf2_sha256", "pbkdf2_sha1":
		return parsePBKDF2(name, rest)
	case "scrypt":
		return parseScrypt(rest)
	}
	return nil, ErrKind
}

// Check says what is wrong with a hash, if anything.
func Check(hash string) error {
	_, err := parse(hash)
	return err
}

// Dummy returns a hash of the same kind and cost as another one, that no
// password is known to have; of our own kind if that one is no hash. Checking a
// password against it takes the time that an existing user would have taken.
func Dummy(like string) string {
	k, err := parse(like)
	if err != nil {
		k = argonHash{algorithm: argonID, memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt), sum: make([]byte, argonLength)}
	}
	return k.dummy()
}

// Outdated reports whether a hash is of another kind than new ones, or cheaper.
func Outdated(hash string) bool {
	k, err := parse(hash)
	a, ok := k.(argonHash)
	return err != nil || !ok || a.algorithm != argonID || uint64(a.memory)*uint64(a.time) < argonMemory*argonTime || len(a.sum) < argonLength
}

// memoryOf is what checking a hash takes, in bytes; 0 where that is next to nothing.
func memoryOf(hash string) int {
	k, err := parse(hash)
	if err != nil {
		return 0
	}
	if in, ok := k.(named); ok {
		k = in.kind
	}
	switch h := k.(type) {
	case argonHash:
		return int(h.memory) << 10
	case scryptHash:
		return 128 * h.n * h.r
	}
	return 0
}

// match reports whether a password has this hash.
func match(hash, password string) bool {
	k, err := parse(hash)
	return err == nil && len(password) <= MaxLength && k.matches(password)
}
