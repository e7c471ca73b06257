package issuer

import (
	"cmp"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Session is login by browser. All of it works without JavaScript.
type Session struct {
	// Path of the login page. Default: /login/.
	Path string `json:"path,omitempty"`

	// Logout is the path of the page to log out by. Default: /logout/.
	Logout string `json:"logout,omitempty"`

	// Account is the path of the page with one's own sessions, tokens and
	// password. Default: /account/.
	Account string `json:"account,omitempty"`

	// Lifetime of sessions. Default: 1d.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// Home is where the login leads if no page asked for it. Default: /.
	Home string `json:"home,omitempty"`

	// NextOrigins are other sites that the login may lead back to, such as
	// https://app.example.com. Default: this site only.
	NextOrigins []string `json:"next_origins,omitempty"`

	// Breached is a file of passwords that thieves know, a line each: in plain, or
	// as SHA-1 in hex, as haveibeenpwned.com lists them. New passwords must not be
	// among them. Default: none.
	Breached string `json:"breached_passwords,omitempty"`

	// Passkeys is the domain that passkeys (WebAuthn) are bound to, such as
	// example.com: pages of it, and of hosts below it, can use them. Default: none
	// are offered.
	Passkeys string `json:"passkeys,omitempty"`

	// Pages says how the pages look.
	Pages Pages `json:"pages,omitzero"`
}

const defaultSessionLifetime = 24 * time.Hour

func (s *Session) setDefaults() {
	s.Path = cmp.Or(s.Path, "/login/")
	s.Logout = cmp.Or(s.Logout, "/logout/")
	s.Account = cmp.Or(s.Account, "/account/")
	s.Lifetime = cmp.Or(s.Lifetime, caddy.Duration(defaultSessionLifetime))
	s.Home = cmp.Or(s.Home, "/")
}

func (s *Session) check() error {
	if d := time.Duration(s.Lifetime); d < time.Minute || d > maxLifetime {
		return fmt.Errorf("session lifetime of %v: 1m to %v would do", d, maxLifetime)
	}
	if !isLocal(s.Home) {
		return fmt.Errorf("home '%s': a path of this site is needed, such as /", s.Home)
	}
	for _, origin := range s.NextOrigins {
		if u, err := url.Parse(origin); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			return fmt.Errorf("next_origins '%s': scheme and host are needed, such as https://app.example.com", origin)
		}
	}
	if s.Passkeys != "" && (strings.ContainsAny(s.Passkeys, ":/ ") || strings.HasPrefix(s.Passkeys, ".")) {
		return fmt.Errorf("passkeys '%s': a domain is needed, such as example.com", s.Passkeys)
	}
	_, err := newPages(s.Pages, s.NextOrigins, s.Passkeys != "")
	return err
}

func (i *Issuer) provisionSession() error {
	if i.Session == nil {
		return nil
	}
	var err error
	if i.pages, err = newPages(i.Session.Pages, i.Session.NextOrigins, i.Session.Passkeys != ""); err != nil {
		return err
	}
	i.breached, err = readBreached(i.Session.Breached)
	return err
}

// onPage shows what goes wrong on a page; scripts that sent JSON get JSON.
func (i *Issuer) onPage(answer func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodPost {
			if err := i.checkOrigin(r); err != nil {
				return i.failPage(w, r, err)
			}
		}
		if err := answer(w, r); err != nil {
			return i.failPage(w, r, err)
		}
		return nil
	}
}

func (i *Issuer) failPage(w http.ResponseWriter, r *http.Request, err error) error {
	var refused *refusal
	var forbidden *authenticators.ForbiddenError
	switch {
	case isJSON(r):
		return err
	case errors.As(err, &forbidden):
		return i.pages.show(w, r, http.StatusForbidden, "message.html", "", "cross_site", nil)
	case errors.As(err, &refused):
		return i.pages.show(w, r, refused.status, "message.html", "", "form_bad", nil)
	}
	i.tellUnavailable(err)
	w.Header().Set("Retry-After", strconv.Itoa(seconds(retryAfter)))
	return i.pages.show(w, r, http.StatusServiceUnavailable, "message.html", "", "unavailable", nil)
}

func isJSON(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == "application/json"
}

// loginForm is what the login page shows.
type loginForm struct{ Username, Next string }

func (i *Issuer) loginPage(w http.ResponseWriter, r *http.Request) error {
	i.keepCSRFCookie(w, r)
	said := ""
	if r.URL.Query().Has("out") {
		said = "logged_out"
	}
	wrong := ""
	if byPlainHTTP(r) {
		wrong = "plain_http"
		if isBrowsing(r) {
			i.tellPlain(r)
		}
	}
	return i.pages.show(w, r, http.StatusOK, "login.html", said, wrong, loginForm{Next: r.URL.Query().Get("next")})
}

// logInByForm logs a browser in, and leads it back to where it came from.
func (i *Issuer) logInByForm(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	asked := f.optional("next")
	if losesCookies(r) {
		return i.refusePlain(w, r, loginForm{Username: f.optional("username"), Next: asked})
	}
	if ticket := f.optional("ticket"); ticket != "" && !isJSON(r) {
		return i.logInByCode(w, r, ticket, f.optional("code"), asked)
	}
	name, password := f.text("username", true), f.text("password", false)
	form := loginForm{Username: name, Next: asked}
	if err := f.check(); err != nil {
		if isJSON(r) {
			return err
		}
		return i.pages.show(w, r, http.StatusBadRequest, "login.html", "", "missing", form)
	}
	user, err := i.checkPassword(r, name, password)
	err = countLogin(err)
	var throttled *refusal
	switch {
	case isJSON(r) && errors.Is(err, records.ErrLogin):
		return unauthorized(detail("No active account found with the given credentials"), err)
	case isJSON(r) && err != nil:
		return err
	case errors.Is(err, records.ErrLogin):
		return i.pages.show(w, r, http.StatusForbidden, "login.html", "", "wrong", form)
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", fmt.Sprint(seconds(throttled.wait)))
		return i.pages.show(w, r, http.StatusTooManyRequests, "login.html", "", "throttled", form)
	case err != nil:
		return err
	}
	proved, done, err := i.secondByForm(w, r, user, f.optional("otp"), asked)
	if err != nil || done {
		return countLogin(err)
	}
	if err := i.beginSession(w, r, user, proved); err != nil {
		return countLogin(err)
	}
	i.loggedIn(r, user)
	next := i.safeNext(asked)
	if isJSON(r) {
		return write(w, r, http.StatusOK, map[string]string{"next": next})
	}
	redirect(w, next)
	return nil
}

// secondByForm sees to the second factor of who gave the right password: scripts
// send it along; people are asked by another page, and then it is done here.
func (i *Issuer) secondByForm(w http.ResponseWriter, r *http.Request, user records.User, code, next string) (proved []string, done bool, err error) {
	if isJSON(r) {
		proved, err = i.proveSecond(r, user, code)
		return proved, false, err
	}
	second, err := i.secondOf(r.Context(), user.ID)
	switch {
	case err != nil:
		return nil, false, err
	case second == nil && !i.mustHaveSecond(user):
		return byPassword, false, nil
	}
	return nil, true, i.askForSecond(w, r, user, second != nil, next)
}

// beginSession logs a browser in. The session that it had ends: whoever knew its
// id does not know the new one.
func (i *Issuer) beginSession(w http.ResponseWriter, r *http.Request, user records.User, proved []string) error {
	if old, err := authenticators.FromCookie(r, session.OwnCookie); err == nil {
		if err := records.EndSession(r.Context(), i.store, old.Reveal()); err != nil {
			return fmt.Errorf("ending the session before: %w", err)
		}
	}
	login, err := i.loginTime(r.Context(), user.ID)
	if err != nil {
		return err
	}
	lifetime := time.Duration(i.Session.Lifetime)
	id, err := records.NewSession(r.Context(), i.store, records.Session{
		User: user.ID, Name: user.Name, Email: user.Email, Groups: user.Groups, AuthTime: login, Methods: proved,
		IP: clientIP(r), Device: deviceOf(r),
	}, lifetime)
	if err != nil {
		return fmt.Errorf("making a session: %w", err)
	}
	issuedSession.Inc()
	i.setCookie(w, session.OwnCookie, "/", id, i.now().Add(lifetime))
	i.setCSRFCookie(w, r)
	return nil
}

// maxDevice bounds what is kept of a User-Agent, in characters.
const maxDevice = 200

// deviceOf is what a browser says of itself, for users to tell their sessions
// apart.
func deviceOf(r *http.Request) string {
	device := []rune(identity.SafeText(r.UserAgent()))
	return string(device[:min(len(device), maxDevice)])
}

func (i *Issuer) logoutPage(w http.ResponseWriter, r *http.Request) error {
	return i.pages.show(w, r, http.StatusOK, "logout.html", "", "", nil)
}

// logOut ends the browser's session, or all logins of its user.
func (i *Issuer) logOut(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	current, err := i.currentSession(r)
	event := audit.Logout
	switch {
	case errors.Is(err, store.ErrNotFound): // it has ended already
	case err != nil:
		return err
	case f.values["everywhere"] != nil:
		event = audit.LogoutEverywhere
		err = i.endEverything(r, current.User)
	default:
		id, _ := authenticators.FromCookie(r, session.OwnCookie)
		err = records.EndSession(r.Context(), i.store, id.Reveal())
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("ending the session: %w", err)
	}
	if current.User != "" {
		i.audit.Write(r, audit.Event{Name: event, User: current.User, Authenticator: "session"})
	}
	i.setCookie(w, session.OwnCookie, "/", "", time.Time{})
	i.setCookie(w, i.CSRFCookie, "/", "", time.Time{})
	if current.User != "" {
		logouts.Inc()
	}
	if isJSON(r) {
		return write(w, r, http.StatusOK, struct{}{})
	}
	redirect(w, prefixOf(r)+i.Session.Path+"?out=1")
	return nil
}

// endEverything ends all logins of a user so far.
func (i *Issuer) endEverything(r *http.Request, user string) error {
	if err := records.RevokeBefore(r.Context(), i.store, user, i.now()); err != nil {
		return err
	}
	return records.EndAllSessions(r.Context(), i.store, user)
}

// currentSession is the session of the browser; store.ErrNotFound if it has none.
func (i *Issuer) currentSession(r *http.Request) (records.Session, error) {
	id, err := authenticators.FromCookie(r, session.OwnCookie)
	if err != nil {
		return records.Session{}, store.ErrNotFound
	}
	return records.FindSession(r.Context(), i.store, id.Reveal())
}

func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}

// safeNext is where a login leads: a page of this site, or of a listed one.
func (i *Issuer) safeNext(asked string) string {
	u, err := url.Parse(asked)
	switch {
	case err != nil || asked == "":
		return i.Session.Home
	case isLocal(asked):
		if !isPlainPath(u.Path) {
			return i.Session.Home
		}
		if path := strings.TrimSuffix(u.Path, "/"); path == strings.TrimSuffix(i.Session.Path, "/") || path == strings.TrimSuffix(i.Session.Logout, "/") {
			return i.Session.Home
		}
		return asked
	case u.User == nil && !strings.ContainsFunc(asked, isControl) && !strings.Contains(asked, "\\") && slices.Contains(i.Session.NextOrigins, u.Scheme+"://"+u.Host):
		return asked
	}
	return i.Session.Home
}

// isLocal reports whether an address is of this site, also to browsers, which
// take a backslash for a slash, and overlook line breaks.
func isLocal(text string) bool {
	return strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") && !strings.Contains(text, "\\") && !strings.ContainsFunc(text, isControl)
}

// isPlainPath reports whether a path without its percent-encoding leads nowhere
// else either: whatever stands behind this site may redirect to it as it is.
func isPlainPath(path string) bool {
	return !strings.HasPrefix(path, "//") && !strings.Contains(path, "\\") && !strings.ContainsFunc(path, unicode.IsControl)
}

func isControl(c rune) bool { return c <= ' ' || c == 0x7f }
