package records

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

const (
	passkeysKey = "passkeys:"
	handleKey   = "handle:"
	usedKey     = "used:"
)

// handleBytes are those of a user handle, as WebAuthn recommends.
const handleBytes = 64

// Passkeys are a user's keys to log in by (WebAuthn).
type Passkeys struct {
	User string `json:"-"`

	// Handle is what authenticators know the user by; it says nothing of them.
	Handle []byte    `json:"handle"`
	Keys   []Passkey `json:"keys"`

	stored []byte // as it was read
}

// Passkey is one of them.
type Passkey struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Created    time.Time       `json:"created"`
	Credential json.RawMessage `json:"credential"` // public: nobody can log in by it
}

type storedPasskeys struct {
	form
	Passkeys
}

func (p storedPasskeys) check() error {
	if err := p.form.check(); err != nil {
		return err
	}
	if len(p.Handle) == 0 {
		return errors.New("passkeys without a user handle")
	}
	return nil
}

// handleOwner says whose a user handle is.
type handleOwner struct {
	form
	User string `json:"user"`
}

// FindPasskeys returns those of a user; with a new handle and no keys if the user
// has none yet.
func FindPasskeys(ctx context.Context, s store.Store, user string) (Passkeys, error) {
	if err := checkOwner(user); err != nil {
		return Passkeys{}, err
	}
	var found storedPasskeys
	raw, err := getRaw(ctx, s, passkeysKey+user, &found)
	switch {
	case errors.Is(err, store.ErrNotFound):
		handle := make([]byte, handleBytes)
		_, _ = rand.Read(handle) // never fails
		return Passkeys{User: user, Handle: handle}, nil
	case err != nil:
		return Passkeys{}, err
	}
	found.User, found.stored = user, raw
	return found.Passkeys, nil
}

// PasskeysByHandle returns those of the user whom authenticators know by a
// handle; store.ErrNotFound if there is nobody.
func PasskeysByHandle(ctx context.Context, s store.Store, handle []byte) (Passkeys, error) {
	var owner handleOwner
	if _, err := get(ctx, s, handleKey+hex.EncodeToString(handle), &owner); err != nil {
		return Passkeys{}, err
	}
	if !identity.ValidID(owner.User) {
		return Passkeys{}, store.ErrNotFound
	}
	found, err := FindPasskeys(ctx, s, owner.User)
	if err == nil && string(found.Handle) != string(handle) {
		return Passkeys{}, store.ErrNotFound // the user began anew
	}
	return found, err
}

// PutPasskeys writes them if the store still holds what they were read from.
// store.ErrChanged: it does not.
func PutPasskeys(ctx context.Context, s store.Store, p Passkeys) error {
	if err := checkOwner(p.User); err != nil {
		return err
	}
	if err := put(ctx, s, handleKey+hex.EncodeToString(p.Handle), handleOwner{User: p.User}, 0, ownerList+p.User); err != nil {
		return err
	}
	return swap(ctx, s, passkeysKey+p.User, p.stored, storedPasskeys{Passkeys: p}, 0, ownerList+p.User)
}

// Kept reports whether they stand in the store.
func (p Passkeys) Kept() bool { return p.stored != nil }

// used says that something that counts once has been used.
type used struct{ form }

// UseOnce uses what counts once, and is forgotten after its lifetime.
// store.ErrChanged: it was used before.
func UseOnce(ctx context.Context, s store.Store, name string, lifetime time.Duration) error {
	return swap(ctx, s, usedKey+digest(name), nil, used{}, lifetime)
}
