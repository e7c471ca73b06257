package records

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// sessionBytes are the random bytes of a session id.
const sessionBytes = 32

// Session is a login of our own; what is known of it but for its id, which is
// the credential.
type Session struct {
	ID       string    `json:"id"` // the beginning of its digest
	User     string    `json:"user"`
	Name     string    `json:"name,omitempty"`
	Email    string    `json:"email,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	Scopes   []string  `json:"scopes,omitempty"`
	AuthTime time.Time `json:"auth_time,omitzero"` // when the user logged in
	Expires  time.Time `json:"expires"`            // the absolute end

	// Remaining is how long the record has still to live; touching extends it.
	Remaining time.Duration `json:"-"`
}

// NewSession makes a session and returns its id, which is kept nowhere.
func NewSession(ctx context.Context, s store.Store, session Session, lifetime time.Duration) (string, error) {
	var random [sessionBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(random[:])
	key := digest(id)
	session.ID = key[:shortID]
	session.Expires = time.Now().UTC().Truncate(time.Second).Add(lifetime)
	return id, put(ctx, s, sessionKey+key, session, lifetime, ownerList+session.User)
}

// ValidSessionID reports whether id has the form of our session ids, so that
// nothing else costs a look-up.
func ValidSessionID(id string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && len(raw) == sessionBytes && len(id) == base64.RawURLEncoding.EncodedLen(sessionBytes)
}

// FindSession returns the session with this id; store.ErrNotFound if it is
// unknown, expired or ended.
func FindSession(ctx context.Context, s store.Store, id string) (Session, error) {
	var session Session
	if !ValidSessionID(id) {
		return session, store.ErrNotFound
	}
	ttl, err := get(ctx, s, sessionKey+digest(id), &session)
	if err != nil {
		return session, err
	}
	if !time.Now().Before(session.Expires) {
		return session, store.ErrNotFound
	}
	session.Remaining = ttl
	return session, nil
}

// TouchSession lets a session that is used live for another idle time, but
// never beyond its absolute end. It never revives one that has ended.
func TouchSession(ctx context.Context, s store.Store, id string, idle time.Duration) error {
	session, err := FindSession(ctx, s, id)
	if err != nil {
		return err
	}
	return s.Touch(ctx, sessionKey+digest(id), min(idle, time.Until(session.Expires)))
}

// EndSession ends the session with this id. One that is unknown has ended.
func EndSession(ctx context.Context, s store.Store, id string) error {
	return s.Delete(ctx, sessionKey+digest(id))
}

// EndSessionByID ends a session of a user by what lists show of it;
// store.ErrNotFound if there is none.
func EndSessionByID(ctx context.Context, s store.Store, user, shown string) error {
	key, err := keyOf(ctx, s, ownerList+user, sessionKey, shown)
	if err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// EndAllSessions ends all sessions of a user.
func EndAllSessions(ctx context.Context, s store.Store, user string) error {
	keys, err := s.List(ctx, ownerList+user)
	if err != nil {
		return err
	}
	var sessions []string
	for _, key := range keys {
		if len(key) > len(sessionKey) && key[:len(sessionKey)] == sessionKey {
			sessions = append(sessions, key)
		}
	}
	return s.Delete(ctx, sessions...)
}

// ListSessions returns the sessions of a user.
func ListSessions(ctx context.Context, s store.Store, user string) ([]Session, error) {
	var sessions []Session
	err := each(ctx, s, ownerList+user, sessionKey, func(_ string, session Session, ttl time.Duration) {
		session.Remaining = ttl
		sessions = append(sessions, session)
	})
	return sessions, err
}
