package issuer

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// minPassword is the shortest new password, in characters (NIST SP 800-63B-4,
// section 3.1.1.2, where there may be a second factor).
const minPassword = 8

// account is what the account page shows.
type account struct {
	User, Name, Email, Groups string
	Sessions                  []loginLine
	Tokens                    []tokenLine
	Secret                    string // of a token that was just made
	Logout                    string
	MinPassword               int
	Changeable                bool // the password, here
	HasSecond                 bool
	Setup                     *setup // of a second factor
	Recovery                  []string
	Passkeys                  []tokenLine
}

// loginLine is a place where the user is logged in: a browser's session, or the
// tokens of an app.
type loginLine struct {
	ID, Kind, Since, Machine, IP, Device string
	Here                                 bool
}

type tokenLine struct{ ID, Name, Since, Machine, Until string }

const maxTokenDays = 3650

const dayAndTime = "2006-01-02 15:04 UTC"

// accountPage shows a user what is theirs.
func (i *Issuer) accountPage(w http.ResponseWriter, r *http.Request) error {
	return i.withUser(w, r, func(current records.Session, user records.User) error {
		return i.showAccount(w, r, http.StatusOK, current, user, outcomeOfChange{})
	})
}

// withUser runs what needs a logged-in user, or leads to the login.
func (i *Issuer) withUser(w http.ResponseWriter, r *http.Request, run func(records.Session, records.User) error) error {
	current, err := i.currentSession(r)
	var user records.User
	if err == nil {
		user, err = records.GetUser(r.Context(), i.store, current.User)
	}
	revoked := false
	if err == nil {
		revoked, err = records.LoginRevoked(r.Context(), i.store, user.ID, current.AuthTime)
	}
	switch {
	case (errors.Is(err, store.ErrNotFound) || err == nil && (revoked || !user.Enabled())) && isJSON(r):
		return unauthorized(coded("Authentication credentials were not provided.", "not_authenticated"), errors.New("no session"))
	case errors.Is(err, store.ErrNotFound), err == nil && (revoked || !user.Enabled()):
		redirect(w, prefixOf(r)+i.Session.Path+"?next="+url.QueryEscape(prefixOf(r)+i.Session.Account))
		return nil
	case err != nil:
		return fmt.Errorf("looking session up: %w", err)
	}
	return run(current, user)
}

// outcomeOfChange is what a change of the account came to.
type outcomeOfChange struct {
	said, wrong string // keys of texts
	secret      string
	setup       *setup
	recovery    []string
}

func (i *Issuer) showAccount(w http.ResponseWriter, r *http.Request, status int, current records.Session, user records.User, did outcomeOfChange) error {
	data := account{
		User: user.ID, Name: user.Name, Email: user.Email, Groups: strings.Join(user.Groups, ", "),
		Secret: did.secret, Logout: prefixOf(r) + i.Session.Logout, MinPassword: minPassword, Changeable: i.users.changeable(),
	}
	second, err := i.secondOf(r.Context(), user.ID)
	if err != nil {
		return err
	}
	data.HasSecond, data.Setup, data.Recovery = second != nil, did.setup, did.recovery
	if i.Session.Passkeys != "" {
		found, err := records.FindPasskeys(r.Context(), i.store, user.ID)
		if err != nil {
			return err
		}
		for _, key := range found.Keys {
			data.Passkeys = append(data.Passkeys, tokenLine{ID: key.ID, Name: key.Name, Since: key.Created.Format(dayAndTime), Machine: key.Created.Format(time.RFC3339)})
		}
	}
	if data.Name == "" {
		data.Name = user.ID
	}
	sessions, err := records.ListSessions(r.Context(), i.store, user.ID)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		data.Sessions = append(data.Sessions, loginLine{
			ID: s.ID, Kind: "session", Since: s.AuthTime.UTC().Format(dayAndTime), Machine: s.AuthTime.UTC().Format(time.RFC3339), Here: s.ID == current.ID,
			IP: s.IP, Device: s.Device,
		})
	}
	logins, err := records.ListLogins(r.Context(), i.store, user.ID)
	if err != nil {
		return err
	}
	for _, l := range logins {
		data.Sessions = append(data.Sessions, loginLine{
			ID: l.Shown(), Kind: "login", Since: l.AuthTime.UTC().Format(dayAndTime), Machine: l.AuthTime.UTC().Format(time.RFC3339),
		})
	}
	tokens, err := records.ListTokens(r.Context(), i.store, records.TokenFilter{User: user.ID})
	if err != nil {
		return err
	}
	for _, token := range tokens {
		line := tokenLine{ID: token.ID, Name: token.Label, Since: token.Created.Format(dayAndTime), Machine: token.Created.Format(time.RFC3339)}
		if line.Name == "" {
			line.Name = token.ID
		}
		if !token.Expires.IsZero() {
			line.Until = token.Expires.UTC().Format(dayAndTime)
		}
		data.Tokens = append(data.Tokens, line)
	}
	return i.pages.show(w, r, status, "account.html", did.said, did.wrong, data)
}

// changeAccount does what a button of the account page asks for.
func (i *Issuer) changeAccount(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	return i.withUser(w, r, func(current records.Session, user records.User) error {
		field := func(name string) string {
			text, _ := f.values[name].(string)
			return text
		}
		did := outcomeOfChange{wrong: "form_bad"}
		var err error
		switch field("do") {
		case "end_session":
			did = outcomeOfChange{said: "ended"}
			err = i.endSession(r, user.ID, field("id"))
		case "end_login":
			did = outcomeOfChange{said: "ended"}
			err = i.endLogin(r, user.ID, field("id"))
		case "revoke_token":
			did = outcomeOfChange{said: "token_revoked"}
			err = i.revokeToken(r, user.ID, field("id"))
		case "make_token":
			did, err = i.makeToken(r, user, field("name"), field("days"))
		case "remove_passkey":
			did = outcomeOfChange{said: "ended"}
			err = i.removePasskey(r, user.ID, field("id"))
		case "begin_second":
			did = outcomeOfChange{}
			did.setup, err = i.setupOf(user.ID, newSecret())
		case "confirm_second":
			did, err = i.confirmSecond(r, user, field("secret"), field("code"))
		case "end_second":
			did, err = i.endSecond(r, user, field("old"))
		case "change_password":
			did, err = i.changePassword(w, r, current, user, field("old"), field("new"), field("again"))
			if err == nil && did.wrong == "" {
				redirect(w, prefixOf(r)+i.Session.Account) // with the new session
				return nil
			}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) { // what is not there has ended
			return err
		}
		status := http.StatusOK
		if did.wrong != "" {
			status = http.StatusBadRequest
		}
		return i.showAccount(w, r, status, current, user, did)
	})
}

// endSession ends a session of this very user.
func (i *Issuer) endSession(r *http.Request, user, id string) error {
	if err := records.EndSessionByID(r.Context(), i.store, user, id); err != nil {
		return err
	}
	i.audit.Write(r, audit.Event{Name: audit.SessionEnded, User: user, Authenticator: "session", Token: id})
	return nil
}

func (i *Issuer) endLogin(r *http.Request, user, shown string) error {
	login, err := records.LoginByShown(r.Context(), i.store, user, shown)
	if err == nil {
		err = i.endShown(r, login)
	}
	if err != nil {
		return err
	}
	i.audit.Write(r, audit.Event{Name: audit.SessionEnded, User: user, Authenticator: "jwt", Token: shown})
	return nil
}

// endShown ends a login; without JWT endpoints any more there is no lifetime of
// access tokens to go by, and it just ends.
func (i *Issuer) endShown(r *http.Request, login records.Login) error {
	if i.JWT == nil {
		return records.EndLogin(r.Context(), i.store, login, records.EndedByLogout, i.now())
	}
	return i.end(r.Context(), login, records.EndedByLogout)
}

// revokeToken ends a token of this very user.
func (i *Issuer) revokeToken(r *http.Request, user, id string) error {
	tokens, err := records.ListTokens(r.Context(), i.store, records.TokenFilter{User: user})
	if err != nil {
		return err
	}
	for _, token := range tokens {
		if subtle.ConstantTimeCompare([]byte(token.ID), []byte(id)) == 1 {
			if err := records.RevokeToken(r.Context(), i.store, id); err != nil {
				return err
			}
			i.audit.Write(r, audit.Event{Name: audit.TokenRevoked, User: user, Authenticator: "token", Token: id})
			return nil
		}
	}
	return store.ErrNotFound
}

func (i *Issuer) makeToken(r *http.Request, user records.User, name, days string) (outcomeOfChange, error) {
	number, _ := strconv.Atoi(days) // 0 where it is no number
	if name = strings.TrimSpace(name); number < 1 || number > maxTokenDays || name == "" || utf8.RuneCountInString(name) > 100 {
		return outcomeOfChange{wrong: "form_bad"}, nil
	}
	secret, token, err := records.NewToken(r.Context(), i.store, records.Token{User: user.ID, Label: name, CreatedBy: user.ID}, time.Duration(number)*24*time.Hour)
	if err != nil {
		return outcomeOfChange{}, err
	}
	i.audit.Write(r, audit.Event{Name: audit.TokenCreated, User: user.ID, Authenticator: "token", Token: token.ID})
	issuedToken.Inc()
	return outcomeOfChange{secret: secret}, nil
}

// wrongPassword checks the password of a logged-in user, and returns what to say
// if it is wrong.
func (i *Issuer) wrongPassword(r *http.Request, user records.User, password string) (string, error) {
	_, err := i.checkPassword(r, user.ID, password)
	var throttled *refusal
	switch {
	case errors.Is(err, records.ErrLogin):
		return "password_wrong", nil
	case errors.As(err, &throttled):
		return "throttled", nil
	}
	return "", err
}

// confirmSecond turns a second factor on, of which the user shows a code.
func (i *Issuer) confirmSecond(r *http.Request, user records.User, secret, code string) (outcomeOfChange, error) {
	codes, err := i.enrol(r, user.ID, secret, code)
	switch {
	case errors.Is(err, errCode):
		again, err := i.setupOf(user.ID, secret)
		if err != nil { // not one of ours: begin anew
			return outcomeOfChange{wrong: "form_bad"}, nil //nolint:nilerr // told as what it is
		}
		return outcomeOfChange{wrong: "second_wrong", setup: again}, nil
	case errors.Is(err, store.ErrChanged): // it is on already
		return outcomeOfChange{wrong: "form_bad"}, nil
	}
	return outcomeOfChange{said: "second_is_on", recovery: codes}, err
}

// endSecond turns the second factor off, for who knows the password.
func (i *Issuer) endSecond(r *http.Request, user records.User, password string) (outcomeOfChange, error) {
	if wrong, err := i.wrongPassword(r, user, password); wrong != "" || err != nil {
		return outcomeOfChange{wrong: wrong}, err
	}
	if err := records.RemoveSecondFactor(r.Context(), i.store, user.ID); err != nil {
		return outcomeOfChange{}, err
	}
	i.audit.Write(r, audit.Event{Name: audit.SecondFactorRemoved, User: user.ID})
	return outcomeOfChange{said: "second_is_off"}, nil
}

// changePassword changes it, and ends all other logins.
func (i *Issuer) changePassword(w http.ResponseWriter, r *http.Request, current records.Session, user records.User, old, fresh, again string) (outcomeOfChange, error) {
	switch {
	case !i.users.changeable():
		return outcomeOfChange{wrong: "form_bad"}, nil
	case fresh != again:
		return outcomeOfChange{wrong: "password_differs"}, nil
	case !i.goodPassword(user.ID, fresh):
		return outcomeOfChange{wrong: "password_bad"}, nil
	}
	if wrong, err := i.wrongPassword(r, user, old); wrong != "" || err != nil {
		return outcomeOfChange{wrong: wrong}, err
	}
	hash, err := i.passwords.Hash(r.Context(), fresh)
	if err != nil {
		return outcomeOfChange{}, err
	}
	if err := records.SetPassword(r.Context(), i.store, user.ID, hash); err != nil {
		return outcomeOfChange{}, err
	}
	if err := i.endEverything(r, user.ID); err != nil {
		return outcomeOfChange{}, err
	}
	i.audit.Write(r, audit.Event{Name: audit.PasswordChanged, User: user.ID})
	return outcomeOfChange{said: "password_changed"}, i.beginSession(w, r, user, current.Methods)
}

// goodPassword follows NIST SP 800-63B-4, section 3.1.1.2: long enough, not the
// user's name, and not known from a breach; no rules on kinds of characters.
func (i *Issuer) goodPassword(user, password string) bool {
	return utf8.ValidString(password) && utf8.RuneCountInString(password) >= minPassword && len(password) <= passwords.MaxLength &&
		!strings.Contains(strings.ToLower(password), strings.ToLower(user)) && !i.breached.has(password)
}
