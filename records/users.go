package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// User is a user record. Applications write it too, as a plain value of Redis,
// so all of its members may be missing, and others may be there.
type User struct {
	ID string `json:"-"`

	// Active is false for who may not come in any more. Nil: active.
	Active *bool `json:"active,omitempty"`

	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`

	// Groups are all that the user is in. Nil: unknown; empty: none.
	Groups []string `json:"groups,omitzero"`

	// NotBefore ends all logins before it: "log out everywhere". In JSON it is
	// seconds since 1970, as not_before.
	NotBefore time.Time `json:"-"`

	// AuthHash is Django's session auth hash; a session with another one has
	// ended, since the password has changed.
	AuthHash string `json:"auth_hash,omitempty"`

	// PK is the primary key that the user has, or had, in another application's
	// database: what SimpleJWT calls user_id. Empty: none.
	PK string `json:"pk,omitempty"`
}

// Enabled reports whether the user may come in.
func (u User) Enabled() bool { return u.Active == nil || *u.Active }

// GetUser returns a user record; store.ErrNotFound if there is none. One that
// can't be read is another error, since it may say that the user is disabled.
func GetUser(ctx context.Context, s store.Store, id string) (User, error) {
	if !identity.ValidID(id) {
		return User{}, store.ErrNotFound
	}
	var user User
	if _, err := get(ctx, s, userKey+id, &user); err != nil {
		return User{}, err
	}
	user.ID = id
	return user, nil
}

// pkKey is where the users of primary keys stand.
const pkKey = "pk:"

// pkOwner says whose a primary key is.
type pkOwner struct {
	form
	User string `json:"user"`
}

// UserByPK returns the user who has a primary key; store.ErrNotFound if nobody
// has.
func UserByPK(ctx context.Context, s store.Store, pk string) (User, error) {
	var owner pkOwner
	if !identity.ValidID(pk) {
		return User{}, store.ErrNotFound
	}
	if _, err := get(ctx, s, pkKey+pk, &owner); err != nil {
		return User{}, err
	}
	user, err := GetUser(ctx, s, owner.User)
	if err == nil && user.PK != pk {
		return User{}, store.ErrNotFound // it has another by now
	}
	return user, err
}

// PutUser writes a user record. It fails where another user has its primary key.
func PutUser(ctx context.Context, s store.Store, user User) error {
	if err := checkOwner(user.ID); err != nil {
		return err
	}
	if user.PK != "" {
		if err := claimPK(ctx, s, user); err != nil {
			return err
		}
	}
	return put(ctx, s, userKey+user.ID, user, 0, usersList)
}

func claimPK(ctx context.Context, s store.Store, user User) error {
	if !identity.ValidID(user.PK) {
		return fmt.Errorf("primary key of %d bytes: 1 to %d are needed", len(user.PK), identity.MaxID)
	}
	switch other, err := UserByPK(ctx, s, user.PK); {
	case err == nil && other.ID != user.ID:
		return fmt.Errorf("user '%s' has the primary key '%s' already", other.ID, user.PK)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	return put(ctx, s, pkKey+user.PK, pkOwner{User: user.ID}, 0, ownerList+user.ID)
}

// SetActive lets a user in, or keeps them out, from now on. It makes a record where
// there is none, and leaves what else an application has written into it.
func SetActive(ctx context.Context, s store.Store, id string, active bool) error {
	if err := checkOwner(id); err != nil {
		return err
	}
	for {
		var user User
		raw, err := getRaw(ctx, s, userKey+id, &user)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		members := make(map[string]json.RawMessage)
		if err == nil {
			if err := json.Unmarshal(raw, &members); err != nil {
				return err
			}
		}
		members["active"] = json.RawMessage(strconv.FormatBool(active))
		if err := swap(ctx, s, userKey+id, raw, members, 0, usersList); !errors.Is(err, store.ErrChanged) {
			return err
		}
	}
}

// ListUsers returns all users that we know the records of: not those that
// applications wrote, which are in no list.
func ListUsers(ctx context.Context, s store.Store) ([]User, error) {
	var users []User
	err := each(ctx, s, usersList, userKey, func(key string, user User, _ time.Duration) {
		user.ID = strings.TrimPrefix(key, userKey)
		users = append(users, user)
	})
	return users, err
}

// RemoveUser ends a user with all that belongs to them. The password goes
// first, so that nobody logs in meanwhile, and the record last, so that what
// was interrupted can be done again. JWTs are in no list: they are revoked.
func RemoveUser(ctx context.Context, s store.Store, id string, now time.Time) error {
	if err := s.Delete(ctx, passwordKey+id); err != nil {
		return err
	}
	if err := RevokeBefore(ctx, s, id, now); err != nil {
		return err
	}
	owned, err := s.List(ctx, ownerList+id)
	if err != nil {
		return err
	}
	for _, key := range owned {
		if strings.HasPrefix(key, tokenKey) {
			owned = append(owned, withUse(key)...)
		}
	}
	if len(owned) > 0 {
		if err := s.Delete(ctx, owned...); err != nil {
			return err
		}
	}
	return s.Delete(ctx, userKey+id)
}

// password is kept apart from the user record, which applications write.
type password struct {
	form
	Hash string `json:"hash"`
}

func (p password) check() error {
	if err := p.form.check(); err != nil {
		return err
	}
	if p.Hash == "" {
		return errors.New("a password without a hash")
	}
	return nil
}

// SetPassword keeps a user's password hash.
func SetPassword(ctx context.Context, s store.Store, id, hash string) error {
	if err := checkOwner(id); err != nil {
		return err
	}
	if hash == "" {
		return errors.New("a password hash is needed")
	}
	return put(ctx, s, passwordKey+id, password{Hash: hash}, 0)
}

// PasswordHash returns a user's password hash; store.ErrNotFound if there is none.
func PasswordHash(ctx context.Context, s store.Store, id string) (string, error) {
	if !identity.ValidID(id) {
		return "", store.ErrNotFound
	}
	var p password
	if _, err := get(ctx, s, passwordKey+id, &p); err != nil {
		return "", err
	}
	return p.Hash, nil
}

// checkOwner says what is wrong with the id of a user that something is to
// belong to, if anything.
func checkOwner(id string) error {
	if !identity.ValidID(id) {
		return fmt.Errorf("user id of %d bytes: 1 to %d are needed, without control characters and without blanks at the ends", len(id), identity.MaxID)
	}
	return nil
}
