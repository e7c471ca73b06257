package records

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

const (
	secondKey = "second:"
	ticketKey = "ticket:"
)

// SecondFactor is what a user proves to have, beside knowing the password.
type SecondFactor struct {
	User string `json:"-"`

	// Secret of time-based codes (RFC 6238), in base32. It is kept as it is: codes
	// can't be checked by a digest.
	Secret string `json:"secret"`

	// Step is the time step of the last code that was used: none is used twice.
	Step int64 `json:"step"`

	// Recovery are the digests of the recovery codes that are left.
	Recovery []string `json:"recovery,omitempty"`

	stored []byte // as it was read
}

// storedSecond is a second factor as the store keeps it.
type storedSecond struct {
	form
	SecondFactor
}

func (s storedSecond) check() error {
	if err := s.form.check(); err != nil {
		return err
	}
	if s.Secret == "" {
		return errors.New("a second factor without a secret")
	}
	return nil
}

// FindSecondFactor returns that of a user; store.ErrNotFound if there is none.
func FindSecondFactor(ctx context.Context, s store.Store, user string) (SecondFactor, error) {
	if !identity.ValidID(user) {
		return SecondFactor{}, store.ErrNotFound
	}
	var found storedSecond
	raw, err := getRaw(ctx, s, secondKey+user, &found)
	if err != nil {
		return SecondFactor{}, err
	}
	found.User, found.stored = user, raw
	return found.SecondFactor, nil
}

// PutSecondFactor writes it if the store still holds what it was read from; for
// one that was not read, if there is none. store.ErrChanged: it does not.
func PutSecondFactor(ctx context.Context, s store.Store, f SecondFactor) error {
	if err := checkOwner(f.User); err != nil {
		return err
	}
	return swap(ctx, s, secondKey+f.User, f.stored, storedSecond{SecondFactor: f}, 0, ownerList+f.User)
}

// RemoveSecondFactor lets a user log in by password alone again.
func RemoveSecondFactor(ctx context.Context, s store.Store, user string) error {
	return s.Delete(ctx, secondKey+user)
}

// RecoveryDigest is what is kept of a recovery code.
func RecoveryDigest(user, code string) string { return digest("recovery\x00" + user + "\x00" + code) }

// Ticket says that its holder has given a user's password, and is about to prove
// the second factor.
type Ticket struct {
	User string `json:"user"`

	// Secret of a second factor that is being set up; empty: there is one.
	Secret string `json:"secret,omitempty"`
}

type storedTicket struct {
	form
	Ticket
}

func (t storedTicket) check() error {
	if err := t.form.check(); err != nil {
		return err
	}
	if !identity.ValidID(t.User) {
		return errors.New("a ticket without a user")
	}
	return nil
}

// NewTicket makes a ticket and returns its id, which is kept nowhere.
func NewTicket(ctx context.Context, s store.Store, ticket Ticket, lifetime time.Duration) (string, error) {
	if err := checkOwner(ticket.User); err != nil {
		return "", err
	}
	id := rand.Text()
	return id, put(ctx, s, ticketKey+digest(id), storedTicket{Ticket: ticket}, lifetime, ownerList+ticket.User)
}

// FindTicket returns the ticket with this id; store.ErrNotFound if it is unknown
// or has ended.
func FindTicket(ctx context.Context, s store.Store, id string) (Ticket, error) {
	var found storedTicket
	_, err := get(ctx, s, ticketKey+digest(id), &found)
	return found.Ticket, err
}

// EndTicket ends a ticket.
func EndTicket(ctx context.Context, s store.Store, id string) error {
	return s.Delete(ctx, ticketKey+digest(id))
}
