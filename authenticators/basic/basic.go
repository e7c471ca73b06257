// Package basic authenticates by user name and password in each request
// (RFC 7617). It is for testing: without TLS the password travels in clear.
package basic

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator checks user names and passwords. With neither Users nor
// Htpasswd it checks the users of the store.
type Authenticator struct {
	// Realm is shown by browsers that ask for the password. Default: api.
	Realm string `json:"realm,omitempty"`

	// Users are those who may come in.
	Users []User `json:"users,omitempty"`

	// Htpasswd is a file of lines user:hash, read when the config is loaded.
	Htpasswd string `json:"htpasswd,omitempty"`

	// IDPrefix is put before each user name, to keep ids of several sources apart.
	IDPrefix string `json:"id_prefix,omitempty"`

	users    records.HashedUsers // empty: the store's
	store    store.Store
	verifier *passwords.Verifier
	logger   *zap.Logger
	warned   sync.Once
}

// User is a user name with a password hash.
type User struct {
	// Name the user logs in with.
	Name string `json:"name"`

	// Hash of the password: bcrypt, or argon2id in PHC form.
	Hash string `json:"hash"`
}

const defaultRealm = "api"

// maxEncoded is the longest name, colon and password, in base64.
const maxEncoded = (identity.MaxID + 1 + passwords.MaxLength + 2) / 3 * 4

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  authenticators.Namespace + ".basic",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision reads the users.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	a.logger = ctx.Logger()
	a.verifier = passwords.Shared()
	if a.Realm == "" {
		a.Realm = defaultRealm
	}
	if err := a.provisionUsers(); err != nil {
		return err
	}
	if a.users.Empty() {
		a.store = authenticators.HostOf(ctx).Store()
	}
	return nil
}

func (a *Authenticator) provisionUsers() error {
	for _, user := range a.Users {
		hash, err := caddy.NewReplacer().ReplaceOrErr(user.Hash, true, true)
		if err != nil {
			return fmt.Errorf("basic: user '%s': %w", user.Name, err)
		}
		if err := a.users.Add(records.HashedUser{Name: user.Name, Hash: hash}); err != nil {
			return fmt.Errorf("basic: %w", err)
		}
	}
	if a.Htpasswd == "" {
		return nil
	}
	if err := a.users.ReadHtpasswd(a.Htpasswd); err != nil {
		return fmt.Errorf("basic: %w", err)
	}
	return nil
}

// Validate refuses what can't be meant.
func (a *Authenticator) Validate() error { return a.check() }

func (a *Authenticator) check() error {
	if strings.ContainsFunc(a.Realm, func(c rune) bool { return c == '"' || c == '\\' || c < ' ' || c > '~' }) {
		return fmt.Errorf("basic: realm '%s': printable ASCII without quotes and backslashes is needed", a.Realm)
	}
	if a.IDPrefix != "" && !identity.ValidID(a.IDPrefix+"a") {
		return fmt.Errorf("basic: id_prefix '%s': no control characters and no blank at the start, please", a.IDPrefix)
	}
	names := make(map[string]bool, len(a.Users))
	for _, user := range a.Users {
		if names[user.Name] {
			return fmt.Errorf("basic: user '%s' is listed twice", user.Name)
		}
		names[user.Name] = true
		if strings.HasPrefix(user.Hash, "{") { // a placeholder, known when it runs
			continue
		}
		if err := (records.HashedUser{Name: user.Name, Hash: user.Hash}).Check(); err != nil {
			return fmt.Errorf("basic: %w", err)
		}
	}
	return nil
}

// Find reads Authorization: Basic.
func (a *Authenticator) Find(r *http.Request) (authenticators.Credential, error) {
	value, err := authenticators.FromHeader(r, "Authorization", "Basic")
	c := authenticators.Credential{In: authenticators.InHeader, Name: "Authorization"}
	switch {
	case err == nil:
	case errors.Is(err, authenticators.ErrNoCredential):
		return c, err
	case errors.Is(err, authenticators.ErrNoValue):
		return c, badHeader("Invalid basic header. No credentials provided.", err)
	case errors.Is(err, authenticators.ErrCharacters):
		return c, notBase64(err)
	default:
		return c, badHeader("Invalid basic header. Credentials string should not contain spaces.", err)
	}
	if len(value) > maxEncoded {
		return c, wrong(errors.New("longer than any name and password"))
	}
	pair, err := base64.StdEncoding.Strict().DecodeString(value.Reveal())
	if err != nil {
		return c, notBase64(errors.New("not base64"))
	}
	if !utf8.Valid(pair) || !strings.Contains(string(pair), ":") {
		return c, notBase64(errors.New("not a name and a password in UTF-8"))
	}
	a.warnOfPlainText(r)
	c.Value = authenticators.Secret(pair)
	return c, nil
}

func badHeader(detail string, cause error) error {
	return &authenticators.RejectedError{Code: authenticators.CodeAuthFailed, Detail: detail, Cause: cause}
}

func notBase64(cause error) error {
	return badHeader("Invalid basic header. Credentials not correctly base64 encoded.", cause)
}

// warnOfPlainText tells once that passwords travel in clear.
func (a *Authenticator) warnOfPlainText(r *http.Request) {
	if r.TLS != nil {
		return
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || peer.Addr().Unmap().IsLoopback() { // no address: a Unix socket
		return
	}
	a.warned.Do(func() {
		a.logger.Warn("basic auth without TLS: anybody on the way can read the passwords; serve this site over HTTPS")
	})
}

// Verify checks the password. It costs the same whether the user is known.
func (a *Authenticator) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	name, password, _ := strings.Cut(c.Value.Reveal(), ":")
	if password == "" || strings.ContainsFunc(password, unicode.IsControl) || !identity.ValidID(a.IDPrefix+name) {
		return nil, wrong(errors.New("empty, or with control characters"))
	}
	user, err := a.logIn(ctx, name, password)
	switch {
	case errors.Is(err, records.ErrLogin):
		return nil, wrong(err)
	case err != nil:
		return nil, err
	}
	return &identity.Identity{
		ID: a.IDPrefix + name, Name: user.Name, Email: user.Email, Groups: user.Groups, Method: "basic",
	}, nil
}

// logIn checks a password with the hashes of the config, or else with the store's.
func (a *Authenticator) logIn(ctx context.Context, name, password string) (records.User, error) {
	if a.users.Empty() {
		return records.LogIn(ctx, a.store, a.verifier, name, password)
	}
	return records.User{ID: name}, a.users.LogIn(ctx, a.verifier, name, password)
}

func wrong(cause error) error {
	return &authenticators.RejectedError{
		Code: authenticators.CodeAuthFailed, Detail: "Invalid username/password.", Cause: cause,
	}
}

// Challenge asks for a user name and password.
func (a *Authenticator) Challenge() string { return `Basic realm="` + a.Realm + `"` }

// Describe says whose ids these are; see authenticators.Describer.
func (a *Authenticator) Describe() authenticators.Description {
	return authenticators.Description{
		Own: true, IDPrefix: a.IDPrefix,
		// A password with each request proves no login, and users have no more than groups.
		Lacks: []string{"amr", "claim", "max_age", "scope"},
	}
}

var (
	_ caddy.Provisioner            = (*Authenticator)(nil)
	_ caddy.Validator              = (*Authenticator)(nil)
	_ authenticators.Authenticator = (*Authenticator)(nil)
	_ authenticators.Challenger    = (*Authenticator)(nil)
	_ authenticators.Describer     = (*Authenticator)(nil)
)
