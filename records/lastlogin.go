package records

import (
	"context"
	"errors"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

const lastLoginKey = "last_login:"

// lastLogin says when a user last logged in. It is no part of the user's record,
// which applications write.
type lastLogin struct {
	form
	At time.Time `json:"at"`
}

// NoteLogin keeps when a user last logged in.
func NoteLogin(ctx context.Context, s store.Store, user string, at time.Time) error {
	if err := checkOwner(user); err != nil {
		return err
	}
	return put(ctx, s, lastLoginKey+user, lastLogin{At: at.UTC().Truncate(time.Second)}, 0, ownerList+user)
}

// LastLogin returns when a user last logged in; the zero time if never.
func LastLogin(ctx context.Context, s store.Store, user string) (time.Time, error) {
	var last lastLogin
	_, err := get(ctx, s, lastLoginKey+user, &last)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	return last.At, err
}
