package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Users says who may log in, and by which password. With neither it is the users
// of the store.
type Users struct {
	// Htpasswd is a file of lines user:hash, read when the config is loaded.
	Htpasswd string `json:"htpasswd,omitempty"`

	// HTTP is an address that is asked: it is sent {"username", "password"} as
	// JSON by POST. 200 with a JSON object says yes; its members username, name,
	// email, groups and pk, where it has them, become the user's record. 400, 401,
	// 403 and 404 say no; whatever else says nothing.
	HTTP string `json:"http,omitempty"`
}

func (u *Users) check() error {
	if u.Htpasswd != "" && u.HTTP != "" {
		return errors.New("users of a file and of an address; choose one of them")
	}
	if u.HTTP == "" {
		return nil
	}
	address, err := url.Parse(u.HTTP)
	if err != nil || address.Scheme != "https" && address.Scheme != "http" || address.Host == "" {
		return fmt.Errorf("users http '%s': an address such as https://app.internal/check-login is needed", u.HTTP)
	}
	return nil
}

// source answers whether a password is a user's: records.ErrLogin if not.
type source interface {
	logIn(ctx context.Context, name, password string) (records.User, error)
	// knows reports whether a user is known by that name, for the log.
	knows(ctx context.Context, name string) bool
	// changeable reports whether users can change their passwords here.
	changeable() bool
}

func (i *Issuer) provisionUsers() error {
	i.users = ofStore{i.store, i.passwords}
	switch {
	case i.Users == nil:
	case i.Users.Htpasswd != "":
		listed := ofFile{store: i.store, verifier: i.passwords}
		if err := listed.users.ReadHtpasswd(i.Users.Htpasswd); err != nil {
			return err
		}
		i.users = &listed
	case i.Users.HTTP != "":
		i.users = &ofApp{address: i.Users.HTTP, store: i.store, asking: queue.New(maxAppAsked, maxAppWaiting, queue.OldestFirst), client: &http.Client{
			Timeout:       appTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a login page is no yes
		}}
	}
	return nil
}

// ofStore are the users of the store.
type ofStore struct {
	store    store.Store
	verifier *passwords.Verifier
}

func (s ofStore) logIn(ctx context.Context, name, password string) (records.User, error) {
	return records.LogIn(ctx, s.store, s.verifier, name, password)
}

func (s ofStore) knows(ctx context.Context, name string) bool { return isKept(ctx, s.store, name) }

// isKept reports whether there is a record of a user.
func isKept(ctx context.Context, s store.Store, name string) bool {
	_, err := records.GetUser(ctx, s, name)
	return err == nil
}

func (ofStore) changeable() bool { return true }

// ofFile are the users of a file. What else is known of them is in the store.
type ofFile struct {
	users    records.HashedUsers
	store    store.Store
	verifier *passwords.Verifier
}

func (f *ofFile) logIn(ctx context.Context, name, password string) (records.User, error) {
	if err := f.users.LogIn(ctx, f.verifier, name, password); err != nil {
		return records.User{}, err
	}
	return known(ctx, f.store, records.User{ID: name})
}

func (f *ofFile) knows(_ context.Context, name string) bool { return f.users.Has(name) }

func (*ofFile) changeable() bool { return false }

// known returns the record of a user whose password was right, and makes one of
// what is told of them where there is none. One that is disabled stays out.
func known(ctx context.Context, s store.Store, told records.User) (records.User, error) {
	user, err := records.GetUser(ctx, s, told.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return told, records.PutUser(ctx, s, told)
	case err != nil:
		return user, fmt.Errorf("looking user up: %w", err)
	case !user.Enabled():
		return user, records.ErrDisabled
	}
	return user, nil
}

// ofApp are the users of an application, which is asked.
type ofApp struct {
	address string
	store   store.Store
	asking  *queue.Queue
	client  *http.Client
}

const (
	appTimeout   = 5 * time.Second // of a question, and of the wait before it
	maxAppAnswer = 64 << 10

	// maxAppAsked is how many logins an application is asked about at once: it hashes
	// passwords too.
	maxAppAsked   = 16
	maxAppWaiting = 256
)

func (a *ofApp) logIn(ctx context.Context, name, password string) (records.User, error) {
	told, err := a.askInTurn(ctx, name, password)
	if err != nil {
		return records.User{}, err
	}
	user, err := known(ctx, a.store, told)
	if err != nil {
		return user, err
	}
	// What the application says now is newer than the record.
	told.Active, told.NotBefore, told.AuthHash = user.Active, user.NotBefore, user.AuthHash
	if told.Groups == nil {
		told.Groups = user.Groups
	}
	return told, records.PutUser(ctx, a.store, told)
}

// knows reports whether that user has logged in here before: the application does
// not tell whether it was the name or the password that was wrong.
func (a *ofApp) knows(ctx context.Context, name string) bool { return isKept(ctx, a.store, name) }

func (*ofApp) changeable() bool { return false }

// askInTurn asks when it is this login's turn.
func (a *ofApp) askInTurn(ctx context.Context, name, password string) (records.User, error) {
	waits, cancel := context.WithTimeout(ctx, appTimeout)
	defer cancel()
	if err := a.asking.Enter(waits); err != nil {
		return records.User{}, fmt.Errorf("asking the application: %w", err)
	}
	defer a.asking.Leave()
	return a.ask(ctx, name, password)
}

// ask sends a name and a password to the application.
func (a *ofApp) ask(ctx context.Context, name, password string) (records.User, error) {
	body, err := json.Marshal(map[string]string{"username": name, "password": password})
	if err != nil {
		return records.User{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.address, bytes.NewReader(body)) //nolint:gosec // the address is the config's
	if err != nil {
		return records.User{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	response, err := a.client.Do(r) //nolint:gosec // see above
	if err != nil {
		return records.User{}, fmt.Errorf("asking the application: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return records.User{}, fmt.Errorf("%w: the application said %d", records.ErrLogin, response.StatusCode)
	default:
		return records.User{}, fmt.Errorf("asking the application: it answered %d, which says neither yes nor no", response.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAppAnswer))
	if err != nil {
		return records.User{}, fmt.Errorf("asking the application: %w", err)
	}
	return userTold(name, data)
}

// userTold reads what the application says of a user.
func userTold(name string, data []byte) (records.User, error) {
	members, err := identity.ParseClaims(data)
	if err != nil {
		return records.User{}, fmt.Errorf("asking the application: it answered 200 without a JSON object: %w", err)
	}
	user := records.User{ID: name}
	for member, to := range map[string]*string{"username": &user.ID, "name": &user.Name, "email": &user.Email, "pk": &user.PK} {
		if value, given := members[member]; given && value != nil {
			text, ok := identity.Text(value)
			if !ok {
				return user, fmt.Errorf("asking the application: '%s' in its answer is no text", member)
			}
			*to = text
		}
	}
	if groups := members["groups"]; groups != nil {
		user.Groups = append([]string{}, identity.Texts(groups)...)
	}
	if err := records.CheckLoginName(user.ID); err != nil {
		return user, fmt.Errorf("asking the application: %w", err)
	}
	return user, nil
}
