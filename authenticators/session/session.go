// Package session authenticates by session cookies: of our own logins, or of
// an application that keeps its sessions in Redis, as they are. It never sets,
// renews or ends the cookie of an application, and what it reads of a session
// is data: nothing of it is ever run.
package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator checks session cookies.
type Authenticator struct {
	// Preset names the framework whose sessions these are: django, or custom for
	// one that is described by the options below. Default: sessions of our own.
	Preset string `json:"preset,omitempty"`

	// Cookie is the name of the session cookie. Default: that of the preset, and
	// __Host-edge_auth for our own.
	Cookie string `json:"cookie,omitempty"`

	// Key is the Redis key of a session, with {id} where its id stands. Default:
	// that of the preset.
	Key string `json:"key,omitempty"`

	// Decode is the format of the value: json or pickle. Default: that of the
	// preset; django's tells its formats apart by their bytes.
	Decode string `json:"decode,omitempty"`

	// User is the path of the user id in the session. Default: that of the preset.
	User string `json:"user,omitempty"`

	// Claims are what else to take from the session.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Touch is the idle lifetime of our own sessions: a session that is used
	// lives on for that long, up to its absolute end. It is written at most once
	// a minute a session. Default: use extends nothing.
	Touch caddy.Duration `json:"touch,omitempty"`

	// CSRF is how unsafe requests are checked. Default: on for our own sessions,
	// off for those of an application, which checks for itself.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	// Redis is the URL of the Redis with the application's sessions. Default:
	// the store's.
	Redis string `json:"redis,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	preset      preset
	store       store.Store  // of our own sessions
	foreign     store.Reader // of an application's
	pattern     foreign.Pattern
	mapping     *identity.Mapping
	checkOrigin func(*http.Request) error
	logger      *zap.Logger
	now         func() time.Time
}

// OwnCookie is the cookie of our own sessions. Its prefix binds it to one host,
// and to HTTPS (RFC 6265bis, section 4.1.3.2).
const OwnCookie = "__Host-edge_auth"

// minTouch keeps touching from becoming a write a request.
const minTouch = 2 * time.Minute

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  authenticators.Namespace + ".session",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision completes the preset and finds the store.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	a.logger, a.now = ctx.Logger(), time.Now
	host := authenticators.HostOf(ctx)
	if a.own() {
		a.store = host.Store()
		if a.Cookie == "" {
			a.Cookie = OwnCookie
		}
		var err error
		a.checkOrigin, err = a.CSRF.OriginCheck()
		return err
	}
	a.preset, _ = a.completed()
	a.Cookie = a.preset.cookie
	var err error
	if a.CSRF != nil {
		if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
			return err
		}
	}
	if a.pattern, err = foreign.ParsePattern(a.preset.key, "id"); err != nil {
		return err
	}
	if a.mapping, err = identity.NewMapping(a.preset.user, a.Claims, a.IDPrefix); err != nil {
		return err
	}
	a.foreign, err = host.Foreign(a.Redis)
	return err
}

// own reports whether these are sessions of our own.
func (a *Authenticator) own() bool { return a.Preset == "" }

// Validate refuses what can't be meant.
func (a *Authenticator) Validate() error { return a.check() }

func (a *Authenticator) check() error {
	if err := a.CSRF.Check(); err != nil {
		return err
	}
	switch {
	case strings.ContainsFunc(a.Cookie, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) }):
		return fmt.Errorf("session: cookie '%s': no cookie can have that name; one such as sessionid is needed", a.Cookie)
	case !identity.ValidID(a.IDPrefix + "1"):
		return fmt.Errorf("session: id_prefix '%s': no user id could begin so; a text such as app- is needed", a.IDPrefix)
	}
	if a.own() {
		switch {
		case a.Key != "", a.Decode != "", a.User != "", len(a.Claims) > 0, a.Redis != "":
			return errors.New("session: key, decode, user, claim and redis are for the sessions of an application; name its preset, or 'session custom'")
		case a.Touch != 0 && time.Duration(a.Touch) < minTouch:
			return fmt.Errorf("session: touch of %v; at least %v would do, since a session is touched once a minute at most", time.Duration(a.Touch), minTouch)
		}
		return nil
	}
	if a.Touch != 0 {
		return errors.New("session: 'touch' is for our own sessions; those of an application are only read")
	}
	p, err := a.completed()
	if err != nil {
		return err
	}
	if _, err := foreign.ParsePattern(p.key, "id"); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	_, err = identity.NewMapping(p.user, a.Claims, a.IDPrefix)
	return err
}

// Find reads the cookie. What can't be a session id counts as none, and costs
// no look-up.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	value, err := authenticators.FromCookie(r, a.Cookie)
	c := authenticators.Credential{In: authenticators.InCookie, Name: a.Cookie, Foreign: !a.own()}
	if err != nil {
		return c, err
	}
	c.Value = value
	if a.own() {
		if !records.ValidSessionID(value.Reveal()) {
			return c, authenticators.ErrNoCredential
		}
		return c, nil
	}
	id, ok := a.preset.id(value.Reveal())
	if !ok {
		return c, authenticators.ErrNoCredential
	}
	c.Value = authenticators.Secret(id)
	return c, nil
}

// Verify looks the session up.
func (a *Authenticator) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	if a.own() {
		return a.verifyOwn(ctx, c.Value)
	}
	return a.verifyForeign(ctx, c.Value)
}

func (a *Authenticator) verifyOwn(ctx context.Context, id authenticators.Secret) (*identity.Identity, error) {
	session, err := records.FindSession(ctx, a.store, id.Reveal())
	if errors.Is(err, store.ErrNotFound) {
		return nil, authenticators.ErrNoCredential
	}
	if err != nil {
		return nil, fmt.Errorf("looking session up: %w", err)
	}
	who := &identity.Identity{
		ID: a.IDPrefix + session.User, Name: session.Name, Email: session.Email, Groups: session.Groups, Scopes: session.Scopes,
		Method: "session", Expires: session.Expires, AuthTime: session.AuthTime,
	}
	if !identity.ValidID(who.ID) {
		return nil, undecodable(identity.ErrNoUser)
	}
	if len(session.Methods) > 0 {
		methods := make([]any, len(session.Methods))
		for i, method := range session.Methods {
			methods[i] = method
		}
		who.Claims = map[string]any{"amr": methods}
	}
	a.touch(ctx, id, session)
	return who, nil
}

// touch lets a session live on. If it can't, the request goes on all the same:
// the session has been read, and is good.
func (a *Authenticator) touch(ctx context.Context, id authenticators.Secret, session records.Session) {
	idle := time.Duration(a.Touch)
	wanted := min(idle, session.Expires.Sub(a.now()))
	// The first use cuts a life down to the idle time; a second more is rounding.
	if idle == 0 || session.Remaining > wanted-time.Minute && session.Remaining <= wanted+time.Second {
		return
	}
	if err := records.TouchSession(ctx, a.store, id.Reveal(), idle); err != nil {
		if c := a.logger.Check(zapcore.DebugLevel, "session not touched"); c != nil {
			c.Write(zap.String("session", session.ID), zap.Error(err))
		}
	}
}

func (a *Authenticator) verifyForeign(ctx context.Context, id authenticators.Secret) (*identity.Identity, error) {
	record, err := a.foreign.Get(ctx, a.pattern.Key(id.Reveal()))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, authenticators.ErrNoCredential
	case errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrWrongType):
		return nil, undecodable(err)
	case err != nil:
		return nil, fmt.Errorf("looking session up: %w", err)
	}
	session, err := a.preset.decode(record.Value)
	if err != nil {
		return nil, undecodable(err)
	}
	if !a.preset.loggedIn(session) {
		return nil, authenticators.ErrNoCredential // an anonymous visitor's session
	}
	who, err := a.mapping.Identify(session)
	if err != nil {
		return nil, authenticators.ErrNoCredential
	}
	who.Method = "session"
	if record.TTL > 0 {
		who.Expires = a.now().Add(record.TTL)
	}
	return who, nil
}

func undecodable(cause error) error {
	return &authenticators.RejectedError{Code: "session_not_valid", Detail: "Session could not be read.", Cause: cause}
}

// CheckOrigin refuses the requests of other sites; see authenticators.CookieGuard.
func (a *Authenticator) CheckOrigin(r *http.Request) error {
	if a.checkOrigin == nil {
		return nil
	}
	return a.checkOrigin(r)
}

// Describe says whose ids these are; see authenticators.Describer.
func (a *Authenticator) Describe() authenticators.Description {
	d := authenticators.Description{Own: a.own(), IDPrefix: a.IDPrefix}
	if a.own() {
		d.Cookie = a.Cookie
	}
	return d
}

var (
	_ caddy.Provisioner            = (*Authenticator)(nil)
	_ caddy.Validator              = (*Authenticator)(nil)
	_ authenticators.Authenticator = (*Authenticator)(nil)
	_ authenticators.CookieGuard   = (*Authenticator)(nil)
	_ authenticators.Describer     = (*Authenticator)(nil)
)
