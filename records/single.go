package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// singleKey is where it stands which token is a user's single one.
const singleKey = "single:"

// single says what a user's single token is made of, beside the key.
type single struct {
	form
	Salt string `json:"salt"`
}

// SingleToken returns the one token of a user, the same each time, as Django REST
// framework does; but it is kept nowhere: derive makes it anew, of a key that is
// not in the store. One that was revoked or has expired is followed by another.
func SingleToken(ctx context.Context, s store.Store, token Token, ttl time.Duration, derive func(label string) ([]byte, error)) (string, error) {
	if err := checkOwner(token.User); err != nil {
		return "", err
	}
	text := func(salt string) (string, error) {
		random, err := derive(fmt.Sprintf("single token %s of %s", salt, token.User))
		if err != nil {
			return "", err
		}
		return tokenText(random), nil
	}
	for {
		var held single
		raw, err := getRaw(ctx, s, singleKey+token.User, &held)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
		if err == nil {
			secret, err := text(held.Salt)
			if err != nil {
				return "", err
			}
			if _, err := FindToken(ctx, s, secret); !errors.Is(err, store.ErrNotFound) {
				return secret, err
			}
		}
		next := single{Salt: rand.Text()}
		secret, err := text(next.Salt)
		if err != nil {
			return "", err
		}
		// The token is there before its salt is, so that nobody takes one that is on
		// its way for one that was revoked.
		made, err := putToken(ctx, s, digest(secret), token, ttl)
		if err != nil {
			return "", err
		}
		err = swap(ctx, s, singleKey+token.User, raw, next, 0, ownerList+token.User)
		if !errors.Is(err, store.ErrChanged) {
			return secret, err
		}
		if err := s.Delete(ctx, tokenKey+digest(secret)); err != nil { // another was quicker
			return "", fmt.Errorf("taking token %s back: %w", made.ID, err)
		}
	}
}
