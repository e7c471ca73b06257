package records

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// singleKey is where it stands which of their single tokens a user has.
const singleKey = "single:"

// single counts the single tokens that a user has had.
type single struct {
	form
	Number int `json:"number"`
}

// SingleToken returns the one token of a user, the same each time, as Django REST
// framework does; but it is kept nowhere: derive makes it anew, of a key that is
// not in the store. One that was revoked or has expired is followed by another.
func SingleToken(ctx context.Context, s store.Store, token Token, ttl time.Duration, derive func(label string) ([]byte, error)) (string, error) {
	if err := checkOwner(token.User); err != nil {
		return "", err
	}
	for {
		var held single
		raw, err := getRaw(ctx, s, singleKey+token.User, &held)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
		if held.Number > 0 {
			secret, err := singleText(token.User, held.Number, derive)
			if err != nil {
				return "", err
			}
			if _, err := FindToken(ctx, s, secret); !errors.Is(err, store.ErrNotFound) {
				return secret, err
			}
		}
		held.Number++
		secret, err := singleText(token.User, held.Number, derive)
		if err != nil {
			return "", err
		}
		// The token is there before its number is, so that nobody takes one that is
		// on its way for one that was revoked.
		if _, err := putToken(ctx, s, secret, token, ttl); err != nil {
			return "", err
		}
		if err := swap(ctx, s, singleKey+token.User, raw, held, 0, ownerList+token.User); !errors.Is(err, store.ErrChanged) {
			return secret, err
		}
	}
}

func singleText(user string, number int, derive func(label string) ([]byte, error)) (string, error) {
	random, err := derive(fmt.Sprintf("single token %d of %s", number, user))
	if err != nil {
		return "", err
	}
	return tokenText(random), nil
}
