package passwords

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The algorithms by argon2 (RFC 9106). Django has written argon2i up to 3.1.
const (
	argonID = "argon2id"
	argonI  = "argon2i"
)

// argonHash is a hash in PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$sum
type argonHash struct {
	algorithm    string
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

// of is the sum of a password.
func (a argonHash) of(password string, length int) []byte {
	if a.algorithm == argonI {
		return argon2.Key([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(length)) //nolint:gosec // at most 64, see parseArgon
	}
	return argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(length)) //nolint:gosec // at most 64, see parseArgon
}

func (a argonHash) String() string {
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", a.algorithm, argon2.Version, a.memory, a.time, a.threads,
		base64.RawStdEncoding.EncodeToString(a.salt), base64.RawStdEncoding.EncodeToString(a.sum))
}

func (a argonHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(a.of(password, len(a.sum)), a.sum) == 1
}

func (a argonHash) dummy() string {
	a.salt, a.sum = make([]byte, len(a.salt)), make([]byte, len(a.sum))
	return a.String()
}

func parseArgon(hash string) (kind, error) {
	var a argonHash
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || (parts[1] != argonID && parts[1] != argonI) || parts[2] != "v=19" {
		return nil, ErrKind
	}
	a.algorithm = parts[1]
	numbers := make(map[string]uint64)
	for pair := range strings.SplitSeq(parts[3], ",") {
		name, value, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return nil, ErrKind
		}
		numbers[name] = n
	}
	m, t, p := numbers["m"], numbers["t"], numbers["p"]
	if len(numbers) != 3 || m < 8 || m > maxArgonMemory || t < 1 || t > maxArgonTime || p < 1 || p > 255 {
		return nil, fmt.Errorf("argon2 hash with %s; m up to %d, t up to %d and p up to 255 would do", parts[3], maxArgonMemory, maxArgonTime)
	}
	a.memory, a.time, a.threads = uint32(m), uint32(t), uint8(p) //nolint:gosec // bounded just above
	var err error
	if a.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(a.salt) < 8 {
		return nil, ErrKind
	}
	if a.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(a.sum) < 16 || len(a.sum) > 64 {
		return nil, ErrKind
	}
	return a, nil
}
