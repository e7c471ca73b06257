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

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator checks session cookies.
type Authenticator struct {
	// Preset names the framework whose sessions these are: aiohttp, django,
	// django-signed, express, fastify, fiber, flask, gorilla, hapi, koa,
	// koa-session, laravel, php, rack, rails, scs, sinatra, spring or symfony; or
	// custom for one that is described by the options below. Default: sessions of
	// our own.
	Preset string `json:"preset,omitempty"`

	// Cookie is the name of the session cookie. Default: that of the preset, and
	// __Host-edge_auth for our own.
	Cookie string `json:"cookie,omitempty"`

	// Key is the Redis key of a session, with {id} where its id stands. Default:
	// that of the preset.
	Key string `json:"key,omitempty"`

	// Secrets are what the application signs or encrypts its cookies with, the
	// newest first; any of them will do. Placeholders are replaced, such as
	// {env.SECRET_KEY} and {file./run/secrets/key}.
	Secrets []string `json:"secrets,omitempty"`

	// Signature is the preset whose way to sign a cookie a custom one follows:
	// express, fastify, flask, gorilla, hapi, koa, laravel or rails. Default: it is
	// not signed.
	Signature string `json:"signature,omitempty"`

	// Decode is the format of the value: json, pickle, msgpack, gob, marshal, php
	// (any of PHP's), php_text, php_binary, php_serialize, igbinary, or that of a
	// preset: django, flask, rails or symfony. Default: that of the preset, which
	// tells its formats apart by their bytes.
	Decode string `json:"decode,omitempty"`

	// User is the path of the user id in the session. Default: that of the preset.
	User string `json:"user,omitempty"`

	// Claims are what else to take from the session.
	Claims []identity.ClaimPath `json:"claims,omitempty"`

	// Touch is the idle lifetime: a session that is used lives on for that long. It
	// is written at most once a minute a session. Our own live up to their absolute
	// end; those of an application are never cut short. Default: use extends
	// nothing.
	Touch caddy.Duration `json:"touch,omitempty"`

	// CSRF is how unsafe requests are checked. Default: on for our own sessions,
	// off for those of an application, which checks for itself.
	CSRF *authenticators.CSRF `json:"csrf,omitempty"`

	// Redis is the URL of the Redis with the application's sessions. Default:
	// the store's.
	Redis string `json:"redis,omitempty"`

	// IDPrefix is put before each user id, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	store       store.Store // of our own sessions
	app         *application
	checkOrigin func(*http.Request) error
	logger      *zap.Logger
	now         func() time.Time
}

// OwnCookie is the cookie of our own sessions. Its prefix binds it to one host,
// and to HTTPS (RFC 6265bis, section 4.1.3.2).
const OwnCookie = "__Host-edge_auth"

const (
	// touchEvery is how often a session is touched, at most.
	touchEvery = time.Minute

	// minTouch keeps touching from becoming a write a request.
	minTouch = 2 * touchEvery
)

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
	a.logger = ctx.Logger()
	if a.now == nil {
		a.now = time.Now
	}
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
	var err error
	if a.CSRF != nil {
		if a.checkOrigin, err = a.CSRF.OriginCheck(); err != nil {
			return err
		}
	}
	if a.app, err = a.application(host); err != nil {
		return err
	}
	a.Cookie = a.app.cookie
	return nil
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
	if a.Touch != 0 && time.Duration(a.Touch) < minTouch {
		return fmt.Errorf("session: touch of %v; at least %v would do, since a session is touched once a minute at most", time.Duration(a.Touch), minTouch)
	}
	if !a.own() {
		return a.checkApplication()
	}
	if a.Key != "" || a.Decode != "" || a.User != "" || len(a.Claims) > 0 || a.Redis != "" || len(a.Secrets) > 0 || a.Signature != "" {
		return errors.New("session: key, secret, signature, decode, user, claim and redis are for the sessions of an application; name its preset, or 'session custom'")
	}
	return nil
}

// Find reads the cookie. What can't be a session id of ours counts as none; that of
// an application is opened in Verify, so that one seen before need not be.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	value, err := authenticators.FromCookie(r, a.Cookie)
	c := authenticators.Credential{In: authenticators.InCookie, Name: a.Cookie, Foreign: !a.own()}
	switch {
	case err != nil:
		return c, err
	case !a.own():
		c.Value, err = a.app.find(r, value)
		return c, err
	case !records.ValidSessionID(value.Reveal()):
		return c, authenticators.ErrNoCredential
	}
	c.Value = value
	return c, nil
}

// Verify looks the session up.
func (a *Authenticator) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	if a.own() {
		return a.verifyOwn(ctx, c.Value)
	}
	return a.app.verify(ctx, c.Value)
}

func undecodable(cause error) error {
	return &authenticators.RejectedError{Code: "session_not_valid", Detail: "Session could not be read.", Cause: cause}
}

// Holds reports whether the secrets are those that a session was opened with; see
// authenticators.Lasting.
func (a *Authenticator) Holds(basis uint64) bool { return a.own() || basis == a.app.basis }

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
	_ authenticators.Lasting       = (*Authenticator)(nil)
	_ authenticators.CookieGuard   = (*Authenticator)(nil)
	_ authenticators.Describer     = (*Authenticator)(nil)
)
