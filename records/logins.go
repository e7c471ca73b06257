package records

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// loginKey is where logins by refresh token stand.
const loginKey = "login:"

// Login is what one login made: a family of refresh tokens, each of which took
// the place of the one before (RFC 9700, section 4.14.2).
type Login struct {
	ID       string    `json:"-"`
	User     string    `json:"user"`
	AuthTime time.Time `json:"auth_time"`     // when the user logged in
	Methods  []string  `json:"amr,omitempty"` // how (RFC 8176)
	Expires  time.Time `json:"expires"`       // when the current refresh token does

	// Keep is until when the login is remembered in any case: a refresh token that
	// an application issued may live longer than those that took its place, and must
	// not begin a login again. Zero: no longer than Expires.
	Keep time.Time `json:"keep,omitzero"`

	Current  string    `json:"current"`            // jti of the refresh token that may be used
	Issued   time.Time `json:"issued"`             // when it was made
	Access   string    `json:"access"`             // jti of the access token made with it
	Previous string    `json:"previous,omitempty"` // jti of the refresh token that it took the place of
	Client   string    `json:"client,omitempty"`   // who used that one, by a digest

	// Address is where that one was used from, for the audit log.
	Address netip.Addr `json:"address,omitzero"`

	// Ended says why no token of this login may be used any more; empty: one may.
	Ended string `json:"ended,omitempty"`

	key    string
	stored []byte // as it was read
}

// Why a login has ended.
const (
	EndedByLogout = "logout"
	EndedByTheft  = "theft"
)

// storedLogin is a login as the store keeps it.
type storedLogin struct {
	form
	Login
}

func (l storedLogin) check() error {
	if err := l.form.check(); err != nil {
		return err
	}
	if !identity.ValidID(l.User) || l.Current == "" {
		return errors.New("a login without a user or a token")
	}
	return nil
}

// NewLoginID makes the name of a login, which is no secret.
func NewLoginID() string { return rand.Text() }

// FindLogin returns a login; store.ErrNotFound if it is unknown, or all its
// tokens have expired.
func FindLogin(ctx context.Context, s store.Store, id string) (Login, error) {
	login, err := findLogin(ctx, s, loginKey+digest(id))
	login.ID = id
	return login, err
}

func findLogin(ctx context.Context, s store.Store, key string) (Login, error) {
	var found storedLogin
	raw, err := getRaw(ctx, s, key, &found)
	if err != nil {
		return Login{}, err
	}
	found.key, found.stored = key, raw
	return found.Login, nil
}

// Shown is what lists show of a login.
func (l Login) Shown() string { return strings.TrimPrefix(l.key, loginKey)[:shortID] }

// ListLogins returns the logins of a user that have not ended.
func ListLogins(ctx context.Context, s store.Store, user string) ([]Login, error) {
	keys, err := s.List(ctx, ownerList+user)
	if err != nil {
		return nil, err
	}
	var logins []Login
	for _, key := range keys {
		if !strings.HasPrefix(key, loginKey) {
			continue
		}
		login, err := findLogin(ctx, s, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		case login.Ended == "":
			logins = append(logins, login)
		}
	}
	return logins, nil
}

// LoginByShown returns a login of a user by what lists show of it;
// store.ErrNotFound if there is none.
func LoginByShown(ctx context.Context, s store.Store, user, shown string) (Login, error) {
	key, err := keyOf(ctx, s, ownerList+user, loginKey, shown)
	if err != nil {
		return Login{}, err
	}
	return findLogin(ctx, s, key)
}

// PutLogin writes a login if the store still holds what it was read from; for
// one that was not read, if there is none. store.ErrChanged: it does not.
func PutLogin(ctx context.Context, s store.Store, login Login, now time.Time) error {
	if err := checkOwner(login.User); err != nil {
		return err
	}
	left := max(login.Expires.Sub(now), login.Keep.Sub(now))
	if left <= 0 {
		return errors.New("a login that has expired")
	}
	if login.key == "" {
		login.key = loginKey + digest(login.ID)
	}
	return swap(ctx, s, login.key, login.stored, storedLogin{Login: login}, left, ownerList+login.User)
}

// EndLogin ends a login, whatever others change about it meanwhile. What is left
// of it says so until its last refresh token expires.
func EndLogin(ctx context.Context, s store.Store, login Login, why string, now time.Time) error {
	for {
		login.Ended = why
		err := PutLogin(ctx, s, login, now)
		if !errors.Is(err, store.ErrChanged) {
			return err
		}
		if login.key == "" {
			login.key = loginKey + digest(login.ID)
		}
		login, err = findLogin(ctx, s, login.key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil // it has expired
		case err != nil || login.Ended != "":
			return err
		}
	}
}
