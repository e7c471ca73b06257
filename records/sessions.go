package records

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
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
	Methods  []string  `json:"amr,omitempty"`      // how (RFC 8176)
	IP       string    `json:"ip,omitempty"`       // where the user logged in from
	Device   string    `json:"device,omitempty"`   // what with: the browser's User-Agent
	Created  time.Time `json:"created,omitzero"`
	Expires  time.Time `json:"expires"` // the absolute end

	// Remaining is how long the record has still to live; touching extends it.
	Remaining time.Duration `json:"-"`
}

// storedSession is a session as the store keeps it.
type storedSession struct {
	form
	Session
}

func (s storedSession) check() error {
	if err := s.form.check(); err != nil {
		return err
	}
	if !identity.ValidID(s.User) || s.Expires.IsZero() {
		return errors.New("a session without a user or an end")
	}
	return nil
}

// NewSession makes a session and returns its id, which is kept nowhere.
func NewSession(ctx context.Context, s store.Store, session Session, lifetime time.Duration) (string, error) {
	if lifetime <= 0 {
		return "", fmt.Errorf("session lifetime of %s: a positive one is needed", lifetime)
	}
	if err := checkOwner(session.User); err != nil {
		return "", err
	}
	var random [sessionBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(random[:])
	key := digest(id)
	session.ID = key[:shortID]
	session.Created = time.Now().UTC().Truncate(time.Second)
	session.Expires = session.Created.Add(lifetime)
	if err := put(ctx, s, sessionKey+key, storedSession{Session: session}, lifetime, ownerList+session.User); err != nil {
		return "", err
	}
	return id, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// ValidSessionID reports whether id has the form of our session ids, so that
// nothing else costs a look-up.
func ValidSessionID(id string) bool {
	if len(id) != base64.RawURLEncoding.EncodedLen(sessionBytes) {
		return false
	}
	var raw [sessionBytes]byte
	n, err := strictBase64.Decode(raw[:], []byte(id))
	return err == nil && n == sessionBytes // fewer, where line ends were skipped
}

// FindSession returns the session with this id; store.ErrNotFound if it is
// unknown, expired or ended.
func FindSession(ctx context.Context, s store.Store, id string) (Session, error) {
	if !ValidSessionID(id) {
		return Session{}, store.ErrNotFound
	}
	var found storedSession
	ttl, err := get(ctx, s, sessionKey+digest(id), &found)
	if err != nil {
		return Session{}, err
	}
	if !time.Now().Before(found.Expires) {
		return Session{}, store.ErrNotFound
	}
	found.Remaining = ttl
	return found.Session, nil
}

// TouchSession lets a session that is used live for another idle time, but
// never beyond its absolute end. It never revives one that has ended.
func TouchSession(ctx context.Context, s store.Store, id string, idle time.Duration) error {
	session, err := FindSession(ctx, s, id)
	if err != nil {
		return err
	}
	left := time.Until(session.Expires)
	if left <= 0 {
		return store.ErrNotFound
	}
	return s.Touch(ctx, sessionKey+digest(id), min(idle, left))
}

// EndSession ends the session with this id. One that is unknown has ended.
func EndSession(ctx context.Context, s store.Store, id string) error {
	if !ValidSessionID(id) {
		return nil
	}
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
		if strings.HasPrefix(key, sessionKey) {
			sessions = append(sessions, key)
		}
	}
	if len(sessions) == 0 {
		return nil
	}
	return s.Delete(ctx, sessions...)
}

// ListSessions returns the sessions of a user.
func ListSessions(ctx context.Context, s store.Store, user string) ([]Session, error) {
	var sessions []Session
	err := each(ctx, s, ownerList+user, sessionKey, func(_ string, found storedSession, ttl time.Duration) {
		found.Remaining = ttl
		sessions = append(sessions, found.Session)
	})
	return sessions, err
}
