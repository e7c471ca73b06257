// Package issuer is the handler that makes and ends credentials: the endpoints
// that clients of Django REST framework and SimpleJWT speak to. One file an
// endpoint; what they share stands in body.go, answer.go, login.go and tokens.go.
package issuer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(Issuer))
}

// Issuer answers the requests for its endpoints, and passes all others on. With
// none of JWT, Token, Session and JWKS it has all of them at their usual paths.
type Issuer struct {
	// JWT makes, refreshes, verifies and ends pairs of access and refresh tokens.
	JWT *JWT `json:"jwt,omitempty"`

	// Token makes opaque tokens.
	Token *Token `json:"token,omitempty"`

	// Session is login by browser: pages to log in and out, and the account.
	Session *Session `json:"session,omitempty"`

	// JWKS is the path of the public keys as a JWK Set; usually
	// /.well-known/jwks.json. Empty: they are not shown.
	JWKS string `json:"jwks,omitempty"`

	// Issuer is the address that tokens name in iss, and below which OpenID
	// Connect discovery finds the keys. Default: no iss, and no discovery.
	Issuer string `json:"issuer,omitempty"`

	// Users says who may log in. Default: the users of the store.
	Users *Users `json:"users,omitempty"`

	// SecondFactor are the groups whose members must have a second factor. Others
	// may. Default: none.
	SecondFactor []string `json:"second_factor,omitempty"`

	// LoginRate bounds wrong passwords. Default: 5 in a minute.
	LoginRate *Rate `json:"login_rate,omitempty"`

	// TrustedOrigins are other sites whose pages may use the endpoints where
	// cookies carry the tokens, such as https://app.example.com.
	TrustedOrigins []string `json:"trusted_origins,omitempty"`

	// CSRFCookie is the name of the cookie with the token that scripts repeat in
	// unsafe requests; the same as in 'csrf' of policies. It is set at login, where
	// that sets a cookie. Default: csrftoken.
	CSRFCookie string `json:"csrf_cookie,omitempty"`

	endpoints   map[string]endpoint // by path, without a slash at the end
	host        Host
	store       store.Store
	ring        *keys.Ring
	verifier    *jwt.Verifier
	passwords   *passwords.Verifier
	users       source
	guard       guard
	pages       *pages // nil: no pages
	breached    breached
	checkOrigin func(*http.Request) error
	now         func() time.Time
	logger      *zap.Logger
	told        atomic.Int64 // when it was logged last that it could not find out, in Unix nanoseconds
	audit       *audit.Log
}

// JWT is how pairs of tokens are made, as by SimpleJWT.
type JWT struct {
	// Path of the endpoint that makes a pair; refresh/, verify/ and blacklist/
	// stand below it. Default: /api/token/.
	Path string `json:"path,omitempty"`

	// AccessLifetime of access tokens. Default: 5m.
	AccessLifetime caddy.Duration `json:"access_lifetime,omitempty"`

	// RefreshLifetime of refresh tokens. Default: 1d.
	RefreshLifetime caddy.Duration `json:"refresh_lifetime,omitempty"`

	// LoginLifetime is how long a login is renewed at most, however often its tokens
	// are refreshed: then the password is needed again. Default: 90d, or
	// RefreshLifetime where that is longer.
	LoginLifetime caddy.Duration `json:"login_lifetime,omitempty"`

	// KeepRefresh lets a refresh token be used until it expires, as SimpleJWT does
	// by default. Otherwise each can be used once, and gives the next.
	KeepRefresh bool `json:"keep_refresh,omitempty"`

	// Audience is what tokens name in aud. Default: none.
	Audience []string `json:"audience,omitempty"`

	// Claims are claims of access tokens beside those of SimpleJWT, and name, email
	// and groups: from a field of the user's record.
	Claims []Claim `json:"claims,omitempty"`

	// Deliver says how the tokens reach the client: body, or cookie for browsers,
	// where no script can read them. Default: body.
	Deliver string `json:"deliver,omitempty"`
}

// Claim is a claim that a field of the user's record fills.
type Claim struct {
	Name string `json:"name"`

	// Field is id, pk, name, email or groups. One that is empty gives no claim.
	Field string `json:"field"`
}

// Token is how opaque tokens are made, as by Django REST framework.
type Token struct {
	// Path of the endpoint. Default: /api-token-auth/.
	Path string `json:"path,omitempty"`

	// Lifetime of tokens. Default: they do not end by themselves.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// Single gives a user the same token each time, as Django REST framework does.
	// Default: each login gets one of its own.
	Single bool `json:"single,omitempty"`
}

// Rate is how many may be in a time.
type Rate struct {
	Attempts int            `json:"attempts"`
	Window   caddy.Duration `json:"window"`
}

// Host is what the app lends to the issuer.
type Host interface {
	authenticators.Host

	// EnsureSigningKeys sees to it that there is a key to sign with.
	EnsureSigningKeys(ctx context.Context) error

	// Audit is the log of what happens to credentials.
	Audit() *audit.Log
}

// The usual paths, lifetimes and bounds.
const (
	defaultJWTPath         = "/api/token/"
	defaultTokenPath       = "/api-token-auth/" //nolint:gosec // a path
	defaultJWKSPath        = "/.well-known/jwks.json"
	discoveryPath          = "/.well-known/openid-configuration"
	defaultAccessLifetime  = 5 * time.Minute
	defaultRefreshLifetime = 24 * time.Hour
	defaultLoginLifetime   = 90 * 24 * time.Hour
	maxLifetime            = 366 * 24 * time.Hour
)

// The values of JWT.Deliver.
const (
	deliverBody   = "body"
	deliverCookie = "cookie"
)

var defaultRate = Rate{Attempts: 5, Window: caddy.Duration(time.Minute)}

// CaddyModule returns the Caddy module information.
func (*Issuer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_auth_issuer",
		New: func() caddy.Module { return new(Issuer) },
	}
}

// Provision makes the endpoints.
func (i *Issuer) Provision(ctx caddy.Context) error {
	i.setDefaults()
	if err := i.check(); err != nil {
		return err
	}
	app, err := ctx.App("edge_auth")
	if err != nil {
		return err
	}
	return i.provision(app.(Host), ctx.Logger())
}

func (i *Issuer) provision(host Host, logger *zap.Logger) error {
	i.host, i.logger, i.audit, i.now = host, logger, host.Audit(), time.Now
	i.store, i.ring = host.Store(), host.SigningKeys()
	i.verifier = jwt.NewVerifier(i.ring, func() time.Time { return i.now() })
	i.passwords = passwords.Shared()
	i.guard = guard{store: i.store, rate: *i.LoginRate, over: over{now: store.Now}}
	for _, provision := range []func() error{i.provisionUsers, i.provisionSession} {
		if err := provision(); err != nil {
			return err
		}
	}
	var err error
	i.checkOrigin, err = (&authenticators.CSRF{TrustedOrigins: i.TrustedOrigins, NoToken: true}).OriginCheck()
	i.endpoints = i.makeEndpoints()
	return err
}

func (i *Issuer) setDefaults() {
	if i.JWT == nil && i.Token == nil && i.Session == nil && i.JWKS == "" {
		i.JWT, i.Token, i.Session, i.JWKS = new(JWT), new(Token), new(Session), defaultJWKSPath
	}
	i.CSRFCookie = cmp.Or(i.CSRFCookie, authenticators.DefaultCSRFCookie)
	if i.Session != nil {
		i.Session.setDefaults()
	}
	if i.JWT != nil {
		i.JWT.Path = cmp.Or(i.JWT.Path, defaultJWTPath)
		i.JWT.AccessLifetime = cmp.Or(i.JWT.AccessLifetime, caddy.Duration(defaultAccessLifetime))
		i.JWT.RefreshLifetime = cmp.Or(i.JWT.RefreshLifetime, caddy.Duration(defaultRefreshLifetime))
		i.JWT.LoginLifetime = cmp.Or(i.JWT.LoginLifetime, max(caddy.Duration(defaultLoginLifetime), i.JWT.RefreshLifetime))
		i.JWT.Deliver = cmp.Or(i.JWT.Deliver, deliverBody)
	}
	if i.Token != nil {
		i.Token.Path = cmp.Or(i.Token.Path, defaultTokenPath)
	}
	if i.LoginRate == nil {
		i.LoginRate = &defaultRate
	}
}

// check says what is wrong with the config, if anything.
func (i *Issuer) check() error {
	if err := i.checkPaths(); err != nil {
		return err
	}
	if i.JWT != nil {
		if err := i.JWT.check(); err != nil {
			return err
		}
	}
	if i.Users != nil {
		if err := i.Users.check(); err != nil {
			return err
		}
	}
	if i.Session != nil {
		if err := i.Session.check(); err != nil {
			return err
		}
	}
	if i.Token != nil && (i.Token.Lifetime < 0 || time.Duration(i.Token.Lifetime) > 100*maxLifetime) {
		return fmt.Errorf("token lifetime of %v: a positive one is needed, or none", time.Duration(i.Token.Lifetime))
	}
	if i.LoginRate.Attempts < 1 || i.LoginRate.Window <= 0 {
		return fmt.Errorf("login_rate %d %v: a number from 1 on and a duration are needed, such as 5 1m", i.LoginRate.Attempts, time.Duration(i.LoginRate.Window))
	}
	if i.Issuer != "" {
		if u, err := url.Parse(i.Issuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("issuer '%s': an address without query is needed, such as https://login.example.com", i.Issuer)
		}
	}
	return (&authenticators.CSRF{TrustedOrigins: i.TrustedOrigins}).Check()
}

func (i *Issuer) checkPaths() error {
	var paths []string
	if i.JWT != nil {
		paths = append(paths, i.JWT.Path)
	}
	if i.Token != nil {
		paths = append(paths, i.Token.Path)
	}
	if i.JWKS != "" {
		paths = append(paths, i.JWKS)
	}
	if i.Session != nil {
		paths = append(paths, i.Session.Path, i.Session.Logout, i.Session.Account)
	}
	seen := make(map[string]bool)
	for _, path := range paths {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#{}* ") || strings.Contains(path, "//") || path == "/" {
			return fmt.Errorf("path '%s': one that begins with a slash is needed, such as %s", path, defaultJWTPath)
		}
		if key := strings.TrimSuffix(path, "/"); seen[key] {
			return fmt.Errorf("two endpoints at '%s'", path)
		} else {
			seen[key] = true
		}
	}
	return nil
}

func (j *JWT) check() error {
	for name, lifetime := range map[string]caddy.Duration{"access_lifetime": j.AccessLifetime, "refresh_lifetime": j.RefreshLifetime, "login_lifetime": j.LoginLifetime} {
		if d := time.Duration(lifetime); d < time.Second || d > maxLifetime {
			return fmt.Errorf("%s of %v: 1s to %v would do", name, d, maxLifetime)
		}
	}
	if j.RefreshLifetime < j.AccessLifetime {
		return fmt.Errorf("refresh_lifetime of %v is shorter than access_lifetime of %v", time.Duration(j.RefreshLifetime), time.Duration(j.AccessLifetime))
	}
	if j.LoginLifetime < j.RefreshLifetime {
		return fmt.Errorf("login_lifetime of %v is shorter than refresh_lifetime of %v", time.Duration(j.LoginLifetime), time.Duration(j.RefreshLifetime))
	}
	for _, claim := range j.Claims {
		if err := claim.check(); err != nil {
			return err
		}
	}
	if j.Deliver != deliverBody && j.Deliver != deliverCookie {
		return fmt.Errorf("deliver '%s': body or cookie would do", j.Deliver)
	}
	return nil
}

// endpoint answers the requests of one path, by method. GET also answers HEAD.
type endpoint map[string]func(w http.ResponseWriter, r *http.Request) error

func (i *Issuer) makeEndpoints() map[string]endpoint {
	endpoints := make(map[string]endpoint)
	add := func(path string, e endpoint) { endpoints[strings.TrimSuffix(path, "/")] = e }
	if i.JWT != nil {
		add(i.base(), endpoint{http.MethodPost: i.obtain})
		add(i.base()+"refresh/", endpoint{http.MethodPost: i.refresh})
		add(i.base()+"verify/", endpoint{http.MethodPost: i.verify})
		add(i.base()+"blacklist/", endpoint{http.MethodPost: i.blacklist})
	}
	if i.Token != nil {
		add(i.Token.Path, endpoint{http.MethodPost: i.token})
	}
	if i.JWKS != "" {
		add(i.JWKS, endpoint{http.MethodGet: i.jwks})
		if i.Issuer != "" {
			add(discoveryPath, endpoint{http.MethodGet: i.discovery})
		}
	}
	if i.Session != nil {
		add(i.Session.Path, endpoint{http.MethodGet: i.loginPage, http.MethodPost: i.onPage(i.logInByForm)})
		add(i.Session.Logout, endpoint{http.MethodGet: i.logoutPage, http.MethodPost: i.onPage(i.logOut)})
		if i.Session.Passkeys != "" {
			login, account := directory(i.Session.Path)+"passkey/", directory(i.Session.Account)+"passkey/"
			add(login+"begin/", endpoint{http.MethodPost: i.sameSite(i.beginPasskeyLogin)})
			add(login+"finish/", endpoint{http.MethodPost: i.sameSite(i.endPasskeyLogin)})
			add(account+"begin/", endpoint{http.MethodPost: i.sameSite(i.beginPasskey)})
			add(account+"finish/", endpoint{http.MethodPost: i.sameSite(i.endPasskey)})
			if i.JWT != nil {
				add(i.base()+"passkey/begin/", endpoint{http.MethodPost: i.beginPasskeyLogin})
				add(i.base()+"passkey/finish/", endpoint{http.MethodPost: i.obtainByPasskey})
			}
		}
		add(i.Session.Account, endpoint{http.MethodGet: i.onPage(i.accountPage), http.MethodPost: i.onPage(i.changeAccount)})
	}
	return endpoints
}

// directory is a path with a slash at its end.
func directory(path string) string { return strings.TrimSuffix(path, "/") + "/" }

// sameSite refuses the requests of other sites.
func (i *Issuer) sameSite(answer func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := i.checkOrigin(r); err != nil {
			return err
		}
		return answer(w, r)
	}
}

// allowed lists the methods that an endpoint answers, for Allow.
func (e endpoint) allowed() string {
	methods := slices.Sorted(maps.Keys(e))
	if _, ok := e[http.MethodGet]; ok {
		methods = slices.Insert(methods, 1, http.MethodHead)
	}
	return strings.Join(append(methods, http.MethodOptions), ", ")
}

// Answers reports whether a request is for an endpoint. The slash at the end may be
// missing: a redirect would lose the body of a POST.
func (i *Issuer) Answers(r *http.Request) bool {
	_, ours := i.endpoints[strings.TrimSuffix(r.URL.Path, "/")]
	return ours
}

// ServeHTTP answers what is for an endpoint.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	e, ours := i.endpoints[strings.TrimSuffix(r.URL.Path, "/")]
	if !ours {
		return next.ServeHTTP(w, r)
	}
	w.Header().Set("Allow", e.allowed())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	answer := e[method]
	switch {
	case method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case answer == nil:
		return write(w, r, http.StatusMethodNotAllowed, detail(fmt.Sprintf("Method %q not allowed.", r.Method)))
	}
	if err := i.try(answer, w, r); err != nil {
		return i.refuse(w, r, err)
	}
	return nil
}

// try answers a request. A panic is one more way of not knowing.
func (i *Issuer) try(answer func(http.ResponseWriter, *http.Request) error, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			i.logger.Error("issuer panicked", zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
			w.Header().Del("Set-Cookie")
			err = errors.New("issuer panicked")
		}
	}()
	return answer(w, r)
}

// prefixOf is what handle_path, or another rewrite, has taken from before the
// path: what browsers are told has to begin with it.
func prefixOf(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return ""
	}
	prefix, found := strings.CutSuffix(original.URL.Path, r.URL.Path)
	if !found {
		return ""
	}
	return prefix
}

var (
	_ caddy.Provisioner           = (*Issuer)(nil)
	_ caddyhttp.MiddlewareHandler = (*Issuer)(nil)
)
