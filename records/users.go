package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
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

	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"`

	// NotBefore ends all logins before it: "log out everywhere".
	NotBefore time.Time `json:"-"`

	// AuthHash is Django's session auth hash; a session with another one has
	// ended, since the password has changed.
	AuthHash string `json:"auth_hash,omitempty"`
}

type userJSON struct {
	plainUser
	NotBefore *seconds `json:"not_before,omitempty"`
}

type plainUser User

// seconds is a time as seconds since 1970.
type seconds float64

// MarshalJSON writes not_before as seconds since 1970.
func (u User) MarshalJSON() ([]byte, error) {
	form := userJSON{plainUser: plainUser(u)}
	if !u.NotBefore.IsZero() {
		s := seconds(float64(u.NotBefore.UnixMilli()) / 1000)
		form.NotBefore = &s
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads a record with exact names; encoding/json alone would
// take "Active" for active.
func (u *User) UnmarshalJSON(data []byte) error {
	members, err := identity.ParseClaims(data)
	if err != nil {
		return err
	}
	var form userJSON
	for name, to := range map[string]any{
		"active": &form.Active, "name": &form.Name, "email": &form.Email, "groups": &form.Groups,
		"not_before": &form.NotBefore, "auth_hash": &form.AuthHash,
	} {
		value, ok := members[name]
		if !ok || value == nil {
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, to); err != nil {
			return fmt.Errorf("member %s: %w", name, err)
		}
	}
	*u = User(form.plainUser)
	if form.NotBefore != nil {
		u.NotBefore = time.UnixMilli(int64(float64(*form.NotBefore) * 1000))
	}
	return nil
}

// GetUser returns a user record; store.ErrNotFound if there is none.
func GetUser(ctx context.Context, s store.Store, id string) (User, error) {
	var user User
	if !identity.ValidID(id) {
		return user, store.ErrNotFound
	}
	_, err := get(ctx, s, userKey+id, &user)
	user.ID = id
	return user, err
}

// PutUser writes a user record.
func PutUser(ctx context.Context, s store.Store, user User) error {
	if !identity.ValidID(user.ID) {
		return fmt.Errorf("user id of %d bytes is not fit for one", len(user.ID))
	}
	return put(ctx, s, userKey+user.ID, user, 0, usersList)
}

// ListUsers returns all users that we know the records of.
func ListUsers(ctx context.Context, s store.Store) ([]User, error) {
	var users []User
	err := each(ctx, s, usersList, userKey, func(key string, user User, _ time.Duration) {
		user.ID = strings.TrimPrefix(key, userKey)
		users = append(users, user)
	})
	return users, err
}

// RemoveUser ends a user with all that belongs to them. The record goes last,
// so that what was interrupted can be done again.
func RemoveUser(ctx context.Context, s store.Store, id string) error {
	owned, err := s.List(ctx, ownerList+id)
	if err != nil {
		return err
	}
	if err := s.Delete(ctx, append(owned, passwordKey+id)...); err != nil {
		return err
	}
	return s.Delete(ctx, userKey+id)
}

// password is kept apart from the user record, which applications write.
type password struct {
	Hash string `json:"hash"`
}

// SetPassword keeps a user's password hash.
func SetPassword(ctx context.Context, s store.Store, id, hash string) error {
	return put(ctx, s, passwordKey+id, password{Hash: hash}, 0)
}

// PasswordHash returns a user's password hash; store.ErrNotFound if there is none.
func PasswordHash(ctx context.Context, s store.Store, id string) (string, error) {
	var p password
	_, err := get(ctx, s, passwordKey+id, &p)
	return p.Hash, err
}

var (
	allDigits = regexp.MustCompile(`^[0-9]+$`)
	uuidLike  = regexp.MustCompile(`(?i)^\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$`)
)

// maxLoginName is the longest login name, in characters, as in Django.
const maxLoginName = 150

// CheckLoginName says what is wrong with a login name of our own, if anything.
// One that could be another system's primary key would be mistaken for it.
func CheckLoginName(name string) error {
	switch {
	case !identity.ValidID(name) || len([]rune(name)) > maxLoginName:
		return fmt.Errorf("login name of %d characters: 1 to %d are needed, without control characters and without blanks at the ends", len([]rune(name)), maxLoginName)
	case strings.ContainsAny(name, ":/\\?#%"):
		return fmt.Errorf("login name '%s': leave out : / \\ ? # and %%", name)
	case name == "." || name == "..":
		return errors.New("login name of dots alone; add a letter")
	case allDigits.MatchString(name), uuidLike.MatchString(name):
		return fmt.Errorf("login name '%s' looks like the primary key of another system; add a letter", name)
	}
	return nil
}
