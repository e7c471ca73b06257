package records

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// useKey is where it stands when a token was last used: apart from the token, so
// that what was found out about that one stays true.
const useKey = "use:"

const (
	// UseEvery is how often a token's use is written at most.
	UseEvery = time.Minute

	// useKept is how long the last use of a token is known.
	useKept = 400 * 24 * time.Hour
)

// tokenUse says when a token was last used.
type tokenUse struct {
	form
	At time.Time `json:"at"`
}

// NoteTokenUse notes that a token is used now, unless that was done within the last
// UseEvery.
func NoteTokenUse(ctx context.Context, s store.Store, token Token) error {
	last, err := lastUsed(ctx, s, token.digest)
	now := time.Now()
	if err != nil || now.Sub(last) < UseEvery && !last.After(now) {
		return err
	}
	ttl := useKept
	if !token.Expires.IsZero() {
		ttl = min(ttl, max(token.Expires.Sub(now), time.Second))
	}
	return put(ctx, s, useKey+token.digest, tokenUse{At: now.UTC().Truncate(time.Second)}, ttl)
}

// lastUsed is when the token with this digest was last used; the zero time: never.
func lastUsed(ctx context.Context, s store.Store, digest string) (time.Time, error) {
	var use tokenUse
	_, err := get(ctx, s, useKey+digest, &use)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	return use.At, err
}

// withUse is the key of a token, with that of its last use.
func withUse(key string) []string {
	return []string{key, useKey + strings.TrimPrefix(key, tokenKey)}
}
