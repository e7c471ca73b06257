package passwords

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what others have hashed with it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// named is a hash of a form that others use too, behind Django's name for it.
type named struct {
	kind

	name string
}

func inDjango(name, rest string, parse func(string) (kind, error)) (kind, error) {
	if name == "argon2" {
		rest = "$" + rest // argon2$argon2id$…, but bcrypt$$2b$…
	}
	inner, err := parse(rest)
	return named{inner, name}, err
}

func (n named) dummy() string {
	return strings.Replace(n.name+"$"+n.kind.dummy(), "argon2$$", "argon2$", 1)
}

// pbkdf2Hash is: pbkdf2_sha256$<rounds>$<salt>$<sum>, with the salt as it stands.
type pbkdf2Hash struct {
	name   string
	rounds int
	salt   string
	sum    []byte
}

func parsePBKDF2(name, rest string) (kind, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 || parts[1] == "" {
		return nil, ErrKind
	}
	rounds, err := strconv.Atoi(parts[0])
	if err != nil {
		return nil, ErrKind
	}
	if rounds < 1 || rounds > maxPBKDF2Rounds {
		return nil, fmt.Errorf("%s hash of %d rounds; 1 to %d would do", name, rounds, maxPBKDF2Rounds)
	}
	h := pbkdf2Hash{name: name, rounds: rounds, salt: parts[1]}
	if h.sum, err = base64.StdEncoding.DecodeString(parts[2]); err != nil || len(h.sum) != h.size() {
		return nil, ErrKind
	}
	return h, nil
}

func (h pbkdf2Hash) size() int {
	if h.name == "pbkdf2_sha1" {
		return sha1.Size
	}
	return sha256.Size
}

func (h pbkdf2Hash) matches(password string) bool {
	digest := sha256.New
	if h.name == "pbkdf2_sha1" {
		digest = sha1.New
	}
	sum, err := pbkdf2.Key(func() hash.Hash { return digest() }, password, []byte(h.salt), h.rounds, len(h.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h pbkdf2Hash) dummy() string {
	return fmt.Sprintf("%s$%d$%s$%s", h.name, h.rounds, strings.Repeat("0", len(h.salt)), base64.StdEncoding.EncodeToString(make([]byte, len(h.sum))))
}

// scryptHash is: scrypt$<N>$<salt>$<r>$<p>$<sum>, with the salt as it stands.
type scryptHash struct {
	n, r, p int
	salt    string
	sum     []byte
}

func parseScrypt(rest string) (kind, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 5 || parts[1] == "" {
		return nil, ErrKind
	}
	h := scryptHash{salt: parts[1]}
	for i, to := range map[int]*int{0: &h.n, 2: &h.r, 3: &h.p} {
		number, err := strconv.ParseUint(parts[i], 10, 31)
		if err != nil {
			return nil, ErrKind
		}
		*to = int(number) //nolint:gosec // 31 bits
	}
	if h.n < 2 || h.n&(h.n-1) != 0 || h.r < 1 || h.p < 1 || h.p > maxScryptCores || int64(h.n)*int64(h.r) > maxScryptMemory/128 {
		return nil, fmt.Errorf("scrypt hash with N=%d, r=%d, p=%d; a power of two, %d MiB and p up to %d would do", h.n, h.r, h.p, maxScryptMemory>>20, maxScryptCores)
	}
	var err error
	if h.sum, err = base64.StdEncoding.DecodeString(parts[4]); err != nil || len(h.sum) < 16 || len(h.sum) > 64 {
		return nil, ErrKind
	}
	return h, nil
}

func (h scryptHash) matches(password string) bool {
	sum, err := scrypt.Key([]byte(password), []byte(h.salt), h.n, h.r, h.p, len(h.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h scryptHash) dummy() string {
	return fmt.Sprintf("scrypt$%d$%s$%d$%d$%s", h.n, strings.Repeat("0", len(h.salt)), h.r, h.p, base64.StdEncoding.EncodeToString(make([]byte, len(h.sum))))
}
