package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Our own tokens: a prefix that secret scanners know, 256 random bits in 43
// characters, and a checksum in 6, so that a typo is told without a look-up.
const (
	tokenPrefix   = "ea_"
	tokenRandom   = 43
	tokenChecksum = 6
	maxToken      = 512 // of a token that is not our own, in bytes
)

// ErrMalformed says that a text can't be one of our tokens.
var ErrMalformed = errors.New("malformed token")

// Token is an opaque token; what is known of it but for its secret.
type Token struct {
	ID      string    `json:"id"` // the beginning of its digest
	User    string    `json:"user"`
	Label   string    `json:"name,omitempty"` // what it is for
	Groups  []string  `json:"groups,omitempty"`
	Scopes  []string  `json:"scopes,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// storedToken is a token as the store keeps it.
type storedToken struct {
	form
	Token
}

func (t storedToken) check() error {
	if err := t.form.check(); err != nil {
		return err
	}
	if !identity.ValidID(t.User) {
		return errors.New("a token without a user")
	}
	return nil
}

// NewToken makes a token and returns its secret, which is kept nowhere. A ttl
// of zero lets it live for good.
func NewToken(ctx context.Context, s store.Store, token Token, ttl time.Duration) (string, Token, error) {
	if ttl < 0 {
		return "", Token{}, fmt.Errorf("token lifetime of %s: a positive one is needed, or none", ttl)
	}
	if err := checkOwner(token.User); err != nil {
		return "", Token{}, err
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	secret := tokenText(random[:])
	token, err := putToken(ctx, s, secret, token, ttl)
	return secret, token, err
}

// putToken keeps a token under its secret's digest.
func putToken(ctx context.Context, s store.Store, secret string, token Token, ttl time.Duration) (Token, error) {
	key := digest(secret)
	token.ID = key[:shortID]
	token.Created = time.Now().UTC().Truncate(time.Second)
	token.Expires = time.Time{}
	if ttl > 0 {
		token.Expires = token.Created.Add(ttl)
	}
	if err := put(ctx, s, tokenKey+key, storedToken{Token: token}, ttl, tokensList, ownerList+token.User); err != nil {
		return Token{}, err
	}
	return token, nil
}

// FindToken returns the token with this secret. ErrMalformed: it can't be one,
// and the store was not asked. store.ErrNotFound: unknown, expired or revoked.
func FindToken(ctx context.Context, s store.Store, secret string) (Token, error) {
	if err := checkTokenText(secret); err != nil {
		return Token{}, err
	}
	var found storedToken
	if _, err := get(ctx, s, tokenKey+digest(secret), &found); err != nil {
		return Token{}, err
	}
	if !found.Expires.IsZero() && !time.Now().Before(found.Expires) {
		return Token{}, store.ErrNotFound
	}
	return found.Token, nil
}

// ListTokens returns a user's tokens, or all if user is empty.
func ListTokens(ctx context.Context, s store.Store, user string) ([]Token, error) {
	list := tokensList
	if user != "" {
		list = ownerList + user
	}
	var tokens []Token
	err := each(ctx, s, list, tokenKey, func(_ string, found storedToken, _ time.Duration) {
		tokens = append(tokens, found.Token)
	})
	return tokens, err
}

// RevokeToken ends the token with this id, or this whole digest; store.ErrNotFound if there is none.
func RevokeToken(ctx context.Context, s store.Store, id string) error {
	key, err := keyOf(ctx, s, tokensList, tokenKey, id)
	if err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// tokenText writes 32 bytes that nobody can guess as a token.
func tokenText(random []byte) string {
	text := tokenPrefix + base62(new(big.Int).SetBytes(random))
	return text + checksum(text)
}

func checkTokenText(text string) error {
	if text == "" || len(text) > maxToken {
		return ErrMalformed
	}
	if !strings.HasPrefix(text, tokenPrefix) {
		return nil // of another making, such as DRF's 40 hex digits
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
