package records

import (
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
)

// Our own tokens: a prefix that secret scanners know, 256 random bits in 43
// characters, and a checksum in 6, so that a typo is told without a look-up.
const (
	tokenPrefix   = "ea_"
	tokenRandom   = 43
	tokenChecksum = 6

	// A token of another making, such as the 40 hex digits of Django REST framework.
	minImported, maxImported = 20, 512
)

// ErrMalformed says that a text can't be one of our tokens.
var ErrMalformed = errors.New("malformed token")

// tokenText writes 32 bytes that nobody can guess as a token.
func tokenText(random []byte) string {
	text := tokenPrefix + base62(new(big.Int).SetBytes(random))
	return text + checksum(text)
}

func checkTokenText(text string) error {
	if !strings.HasPrefix(text, tokenPrefix) {
		return checkImported(text)
	}
	if len(text) != len(tokenPrefix)+tokenRandom+tokenChecksum {
		return ErrMalformed
	}
	body := text[:len(text)-tokenChecksum]
	if text[len(body):] != checksum(body) { // no secret: anybody can compute it
		return ErrMalformed
	}
	return nil
}

// checkImported tells what can't be a token of another making. Words such as null
// and undefined, which clients send by mistake, are short.
func checkImported(text string) error {
	if len(text) < minImported || len(text) > maxImported {
		return ErrMalformed
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return ErrMalformed
		}
	}
	return nil
}

func checksum(text string) string {
	var sum [tokenChecksum]byte
	n := crc32.ChecksumIEEE([]byte(text))
	for i := len(sum) - 1; i >= 0; i-- {
		sum[i] = base62Digits[n%uint32(len(base62Digits))]
		n /= uint32(len(base62Digits))
	}
	return string(sum[:])
}

const base62Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// base62 writes n in as many characters as 256 bits take.
func base62(n *big.Int) string {
	text := make([]byte, tokenRandom)
	base, digit := big.NewInt(int64(len(base62Digits))), new(big.Int)
	for i := tokenRandom - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = base62Digits[digit.Int64()]
	}
	return string(text)
}
