package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Token is an opaque token; what is known of it but for its secret.
type Token struct {
	ID    string `json:"id"` // the beginning of its digest
	User  string `json:"user"`
	Label string `json:"name,omitempty"` // what it is for

	// Groups that it stands for. Nil: those that the user is in at the time.
	Groups []string `json:"groups,omitzero"`

	Scopes    []string  `json:"scopes,omitempty"`
	Created   time.Time `json:"created,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`     // zero: never
	CreatedBy string    `json:"created_by,omitempty"` // who made it, in words

	// ReplacedBy is the id of the token that took its place; it lives on until
	// Expires. Empty: none did.
	ReplacedBy string `json:"replaced_by,omitempty"`

	// LastUsed is when it was last looked up, to the minute. Only lists know it.
	LastUsed time.Time `json:"last_used,omitzero"`

	digest string // of its secret
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

// ended reports whether the record has outlived the token.
func (t storedToken) ended() bool { return !t.Expires.IsZero() && !time.Now().Before(t.Expires) }

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
	token, err := putToken(ctx, s, digest(secret), token, ttl)
	return secret, token, err
}

// putToken keeps a token under its secret's digest.
func putToken(ctx context.Context, s store.Store, digest string, token Token, ttl time.Duration) (Token, error) {
	token.ID, token.digest = digest[:shortID], digest
	if token.Created.IsZero() {
		token.Created = time.Now()
	}
	token.Created = token.Created.UTC().Truncate(time.Second)
	token.Expires = time.Time{}
	if ttl > 0 {
		token.Expires = token.Created.Add(ttl)
	}
	return token, put(ctx, s, tokenKey+digest, storedToken{Token: token}, ttl, tokensList, ownerList+token.User)
}

// FindToken returns the token with this secret. ErrMalformed: it can't be one,
// and the store was not asked. store.ErrNotFound: unknown, expired or revoked.
func FindToken(ctx context.Context, s store.Store, secret string) (Token, error) {
	if err := checkTokenText(secret); err != nil {
		return Token{}, err
	}
	token, _, err := getToken(ctx, s, tokenKey+digest(secret))
	return token, err
}

// getToken reads a token that has not ended, and how it stands in the store.
func getToken(ctx context.Context, s store.Store, key string) (Token, []byte, error) {
	var found storedToken
	raw, err := getRaw(ctx, s, key, &found)
	if err != nil {
		return Token{}, nil, err
	}
	if found.ended() {
		return Token{}, nil, store.ErrNotFound
	}
	found.digest = strings.TrimPrefix(key, tokenKey)
	return found.Token, raw, nil
}

// TokenFilter says which tokens are meant: those that fit all of it. The zero
// value means all.
type TokenFilter struct {
	User   string
	Label  string
	Prefix string // what the id begins with
}

func (f TokenFilter) fits(t Token) bool {
	return (f.User == "" || t.User == f.User) && (f.Label == "" || t.Label == f.Label) && strings.HasPrefix(t.digest, f.Prefix)
}

// ListTokens returns the tokens that are meant, with their last use.
func ListTokens(ctx context.Context, s store.Store, filter TokenFilter) ([]Token, error) {
	list := tokensList
	if filter.User != "" {
		list = ownerList + filter.User
	}
	var tokens []Token
	err := each(ctx, s, list, tokenKey+filter.Prefix, func(key string, found storedToken, _ time.Duration) {
		found.digest = strings.TrimPrefix(key, tokenKey)
		if !found.ended() && filter.fits(found.Token) {
			tokens = append(tokens, found.Token)
		}
	})
	if err != nil {
		return nil, err
	}
	return tokens, inParallel(len(tokens), func(i int) error {
		var err error
		tokens[i].LastUsed, err = lastUsed(ctx, s, tokens[i].digest)
		return err
	})
}

// ShowToken returns the token with this id, or this whole digest, with its last
// use; store.ErrNotFound if there is none.
func ShowToken(ctx context.Context, s store.Store, id string) (Token, error) {
	key, err := tokenByID(ctx, s, id)
	if err != nil {
		return Token{}, err
	}
	token, _, err := getToken(ctx, s, key)
	if err != nil {
		return Token{}, err
	}
	token.LastUsed, err = lastUsed(ctx, s, token.digest)
	return token, err
}

// tokenByID is the key of the one token whose id, or digest, begins with id.
func tokenByID(ctx context.Context, s store.Store, id string) (string, error) {
	if len(id) == digestLen {
		return tokenKey + id, nil
	}
	return keyOf(ctx, s, tokensList, tokenKey, id)
}

// TokenDigest is what the token with this secret is called by where its id would do:
// so that the secret need not be sent.
func TokenDigest(secret string) (string, error) { return digest(secret), checkTokenText(secret) }

// RevokeToken ends the token with this id, or this whole digest; store.ErrNotFound if there is none.
func RevokeToken(ctx context.Context, s store.Store, id string) error {
	key, err := tokenByID(ctx, s, id)
	if err != nil {
		return err
	}
	if _, _, err := getToken(ctx, s, key); errors.Is(err, store.ErrNotFound) { // one that can't be read ends all the same
		return err
	}
	return s.Delete(ctx, withUse(key)...)
}

// RevokeTokens ends all tokens that are meant, and returns them.
func RevokeTokens(ctx context.Context, s store.Store, filter TokenFilter) ([]Token, error) {
	tokens, err := ListTokens(ctx, s, filter)
	if err != nil || len(tokens) == 0 {
		return nil, err
	}
	var keys []string
	for _, token := range tokens {
		keys = append(keys, withUse(tokenKey+token.digest)...)
	}
	return tokens, s.Delete(ctx, keys...)
}

// ErrReplaced says that another token has taken a token's place already.
var ErrReplaced = errors.New("has been replaced already")

// RotateToken makes a token that is to take the place of the one with this id, and
// returns its secret. The old one lives on for overlap, and not longer than it would
// have. A ttl of zero lets the new one live as long as the old one was made for.
// ErrReplaced: another has taken its place. store.ErrNotFound: there is no such token.
func RotateToken(ctx context.Context, s store.Store, id, createdBy string, overlap, ttl time.Duration) (string, Token, error) {
	key, err := tokenByID(ctx, s, id)
	if err != nil {
		return "", Token{}, err
	}
	old, raw, err := getToken(ctx, s, key)
	if err != nil {
		return "", Token{}, err
	}
	if old.ReplacedBy != "" {
		return "", Token{}, fmt.Errorf("token %s %w, by %s", old.ID, ErrReplaced, old.ReplacedBy)
	}
	if ttl == 0 && !old.Expires.IsZero() {
		ttl = old.Expires.Sub(old.Created)
	}
	// The new one is there before the old one says so: what is interrupted leaves a
	// token that nobody has, and not a client without any.
	secret, next, err := NewToken(ctx, s, Token{User: old.User, Label: old.Label, Groups: old.Groups, Scopes: old.Scopes, CreatedBy: createdBy}, ttl)
	if err != nil {
		return "", Token{}, err
	}
	if err := endReplaced(ctx, s, key, raw, old, next.ID, overlap); err != nil {
		return "", Token{}, errors.Join(err, s.Delete(ctx, tokenKey+next.digest))
	}
	return secret, next, nil
}

// endReplaced lets a token live for overlap at most.
func endReplaced(ctx context.Context, s store.Store, key string, raw []byte, old Token, by string, overlap time.Duration) error {
	end := time.Now().Add(max(overlap, time.Second)).UTC().Truncate(time.Second).Add(time.Second)
	if old.Expires.IsZero() || end.Before(old.Expires) {
		old.Expires = end
	}
	old.ReplacedBy = by
	err := swap(ctx, s, key, raw, storedToken{Token: old}, max(time.Until(old.Expires), time.Millisecond))
	switch {
	case errors.Is(err, store.ErrChanged):
		return fmt.Errorf("token %s %w", old.ID, ErrReplaced)
	case err != nil || overlap > 0:
		return err
	}
	return s.Delete(ctx, withUse(key)...)
}
