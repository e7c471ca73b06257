package edgeauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// A password of ours has at least this many characters (NIST SP 800-63B,
// section 5.1.1) and at most this many bytes.
const (
	minPassword = 8
	maxPassword = 1024
)

// userInfo is a user as the API shows one.
type userInfo struct {
	ID     string   `json:"id"`
	Active bool     `json:"active"`
	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"`
	PK     string   `json:"pk,omitempty"`

	LastLogin time.Time `json:"last_login,omitzero"`
}

func showUser(u records.User) userInfo {
	return userInfo{ID: u.ID, Active: u.Active == nil || *u.Active, Name: u.Name, Email: u.Email, Groups: u.Groups, PK: u.PK}
}

func listUsers(app *App, r *http.Request) (any, error) {
	users, err := records.ListUsers(r.Context(), app.store)
	if err != nil {
		return nil, err
	}
	list := make([]userInfo, 0, len(users))
	for _, u := range users {
		info := showUser(u)
		if info.LastLogin, err = records.LastLogin(r.Context(), app.store, u.ID); err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

func addUser(app *App, r *http.Request) (any, error) {
	var body struct {
		ID       string   `json:"id"`
		Password string   `json:"password"`
		Name     string   `json:"name"`
		Email    string   `json:"email"`
		Groups   []string `json:"groups"`
		PK       string   `json:"pk"`
	}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if err := records.CheckLoginName(body.ID); err != nil {
		return nil, badRequest("%v", err)
	}
	if err := checkPassword(body.Password); err != nil {
		return nil, err
	}
	_, err := records.GetUser(r.Context(), app.store, body.ID)
	if err == nil {
		return nil, &problem{http.StatusConflict, "user '" + body.ID + "' exists already; remove it first"}
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	hash, err := passwords.Hash(body.Password)
	if err != nil {
		return nil, err
	}
	user := records.User{ID: body.ID, Name: body.Name, Email: body.Email, Groups: body.Groups, PK: body.PK}
	if err := records.SetPassword(r.Context(), app.store, user.ID, hash); err != nil {
		return nil, err
	}
	if err := records.PutUser(r.Context(), app.store, user); err != nil {
		return nil, err
	}
	return did(showUser(user), audit.Event{Name: audit.UserAdded, User: user.ID}), nil
}

func checkPassword(password string) error {
	if n := len([]rune(password)); n < minPassword || len(password) > maxPassword {
		return badRequest("a password of %d characters; %d to %d would do", n, minPassword, maxPassword)
	}
	return nil
}

// setPassword gives a user another password, and ends the sessions that the old one
// has opened.
func setPassword(app *App, r *http.Request) (any, error) {
	var body struct {
		Password string `json:"password"`
	}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if err := checkPassword(body.Password); err != nil {
		return nil, err
	}
	user, err := records.GetUser(r.Context(), app.store, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	hash, err := passwords.Hash(body.Password)
	if err != nil {
		return nil, err
	}
	if err := records.SetPassword(r.Context(), app.store, user.ID, hash); err != nil {
		return nil, err
	}
	return did(map[string]string{"id": user.ID}, audit.Event{Name: audit.PasswordChanged, User: user.ID}), app.endLogins(r.Context(), user.ID)
}

func removeUser(app *App, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, err := records.GetUser(r.Context(), app.store, id); err != nil {
		return nil, err
	}
	return did(map[string]string{"removed": id}, audit.Event{Name: audit.UserRemoved, User: id}), records.RemoveUser(r.Context(), app.store, id, time.Now())
}

func disableUser(app *App, r *http.Request) (any, error) { return setActive(app, r, false) }

func enableUser(app *App, r *http.Request) (any, error) { return setActive(app, r, true) }

// setActive keeps a user out or lets them in again. They may also be one of another
// application, by the id that upstreams see.
func setActive(app *App, r *http.Request, active bool) (any, error) {
	id := r.PathValue("id")
	if !identity.ValidID(id) {
		return nil, badRequest("'%s' can't be the id of a user", id)
	}
	event := audit.UserDisabled
	if active {
		event = audit.UserEnabled
	}
	return did(map[string]any{"id": id, "active": active}, audit.Event{Name: event, User: id}), records.SetActive(r.Context(), app.store, id, active)
}

// removeSecondFactor lets a user who has lost it log in by password alone.
func removeSecondFactor(app *App, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, err := records.FindSecondFactor(r.Context(), app.store, id); err != nil {
		return nil, err
	}
	return did(map[string]string{"removed": id}, audit.Event{Name: audit.SecondFactorRemoved, User: id}), records.RemoveSecondFactor(r.Context(), app.store, id)
}

func listSessions(app *App, r *http.Request) (any, error) {
	sessions, err := records.ListSessions(r.Context(), app.store, r.PathValue("user"))
	if sessions == nil {
		sessions = []records.Session{}
	}
	return sessions, err
}

func createSession(app *App, r *http.Request) (any, error) {
	user, lifetime, err := userAndLifetime(app, r, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	id, err := records.NewSession(r.Context(), app.store, records.Session{
		User: user.ID, Name: user.Name, Email: user.Email, Groups: user.Groups, AuthTime: time.Now(),
	}, lifetime)
	return did(map[string]string{"session": id}, audit.Event{Name: audit.SessionCreated, User: user.ID, Authenticator: "session"}), err
}

func endSession(app *App, r *http.Request) (any, error) {
	user, id := r.PathValue("user"), r.PathValue("id")
	return did(map[string]string{"ended": id}, audit.Event{Name: audit.SessionEnded, User: user, Authenticator: "session", Token: id}),
		records.EndSessionByID(r.Context(), app.store, user, id)
}

// createJWT signs an access token as the issuer would, for trying things out
// and for scripts that run beside the gateway.
func createJWT(app *App, r *http.Request) (any, error) {
	user, lifetime, err := userAndLifetime(app, r, 5*time.Minute)
	if err != nil {
		return nil, err
	}
	if err := app.ring.fill(r.Context(), app.storage); err != nil {
		return nil, err
	}
	now := time.Now()
	claims, err := json.Marshal(struct {
		TokenType string   `json:"token_type"`
		Expires   int64    `json:"exp"`
		Issued    int64    `json:"iat"`
		ID        string   `json:"jti"`
		UserID    string   `json:"user_id"`
		Subject   string   `json:"sub"`
		AuthTime  int64    `json:"auth_time"`
		Name      string   `json:"name,omitempty"`
		Email     string   `json:"email,omitempty"`
		Groups    []string `json:"groups,omitempty"`
	}{
		TokenType: "access", Expires: now.Add(lifetime).Unix(), Issued: now.Unix(), ID: rand.Text(),
		UserID: cmp.Or(user.PK, user.ID), Subject: user.ID, AuthTime: now.Unix(), Name: user.Name, Email: user.Email, Groups: user.Groups,
	})
	if err != nil {
		return nil, err
	}
	token, err := app.ring.Sign(claims, "JWT")
	return did(map[string]string{"jwt": token}, audit.Event{Name: audit.TokenCreated, User: user.ID, Authenticator: "jwt"}), err
}

func userAndLifetime(app *App, r *http.Request, byDefault time.Duration) (records.User, time.Duration, error) {
	var body struct {
		User     string         `json:"user"`
		Lifetime caddy.Duration `json:"lifetime"`
	}
	if err := decodeBody(r, &body); err != nil {
		return records.User{}, 0, err
	}
	lifetime, err := lifetimeOf(body.Lifetime, byDefault, 400*24*time.Hour)
	if err != nil {
		return records.User{}, 0, err
	}
	user, err := ownUser(r.Context(), app, body.User)
	return user, lifetime, err
}

// ownUser returns an active user of the store.
func ownUser(ctx context.Context, app *App, id string) (records.User, error) {
	user, err := records.GetUser(ctx, app.store, id)
	if errors.Is(err, store.ErrNotFound) {
		return user, &problem{http.StatusNotFound, "no user '" + id + "'; add one with: caddy edge-auth user add " + id}
	}
	if err == nil && !user.Enabled() {
		return user, &problem{http.StatusConflict, "user '" + id + "' is disabled"}
	}
	return user, err
}
