package issuer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// What a login proved (RFC 8176, section 2).
var (
	byPassword = []string{"pwd"}
	byBoth     = []string{"pwd", "otp", "mfa"}
)

// Time-based codes as all authenticator apps have them (RFC 6238): six digits of
// HMAC-SHA-1, new every 30 seconds.
const (
	codeStep       = 30 // seconds
	codeSkew       = 1  // steps that clocks may differ
	secretBytes    = 20
	recoveryCodes  = 10
	ticketLifetime = 5 * time.Minute
)

// errCode says that a code is wrong, or was used before.
var errCode = fmt.Errorf("%w: wrong code of the second factor", records.ErrLogin)

// secondOf returns the second factor of a user; nil if there is none.
func (i *Issuer) secondOf(ctx context.Context, user string) (*records.SecondFactor, error) {
	f, err := records.FindSecondFactor(ctx, i.store, user)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil //nolint:nilnil // none is no error
	case err != nil:
		return nil, fmt.Errorf("looking for a second factor: %w", err)
	}
	return &f, nil
}

// errNoCode says that the login is to be tried again, with a code.
var errNoCode = errors.New("no code was given")

// mustHaveSecond reports whether the config demands a second factor of a user.
func (i *Issuer) mustHaveSecond(user records.User) bool {
	return slices.ContainsFunc(user.Groups, func(group string) bool { return slices.Contains(i.SecondFactor, group) })
}

// proveSecond checks the second factor of who gave the right password, where
// scripts log in. It returns what the login then proves.
func (i *Issuer) proveSecond(r *http.Request, user records.User, code string) ([]string, error) {
	second, err := i.secondOf(r.Context(), user.ID)
	switch {
	case err != nil:
		return nil, err
	case second == nil && i.mustHaveSecond(user):
		return nil, unauthorized(coded("Set up a second factor first, at the login page.", "otp_setup_required"), errors.New("no second factor is set up"))
	case second == nil:
		return byPassword, nil
	case code == "":
		return nil, unauthorized(coded("A code of the second factor is needed.", "otp_required"), errNoCode)
	}
	err = i.useCode(r, *second, code)
	if errors.Is(err, records.ErrLogin) {
		i.audit.Write(r, audit.Event{Name: audit.LoginFailed, User: user.ID, Reason: err})
		err = unauthorized(coded("The code is wrong, or was used before.", "otp_invalid"), err)
	}
	return byBoth, err
}

// useCode checks a code, or a recovery code, and sees to it that it is not used
// again. errCode: it will not do. *refusal: there were too many attempts.
func (i *Issuer) useCode(r *http.Request, second records.SecondFactor, code string) error {
	ctx := r.Context()
	attempt, err := i.guard.enter(ctx, "second factor of "+second.User, addressOf(r))
	if err != nil {
		i.loginRefused(r, second.User, err)
		return err
	}
	code = plainCode(code)
	step := matchingStep(second.Secret, code, i.now())
	left := slices.Index(second.Recovery, records.RecoveryDigest(second.User, code))
	recovered := false
	switch {
	case step > second.Step:
		second.Step = step
	case left >= 0:
		second.Recovery = slices.Delete(slices.Clone(second.Recovery), left, left+1)
		recovered = true
	default:
		return errCode
	}
	err = records.PutSecondFactor(ctx, i.store, second)
	if errors.Is(err, store.ErrChanged) { // somebody was quicker with this code, or with another
		return errCode
	}
	if err != nil {
		return fmt.Errorf("using up a code: %w", err)
	}
	if recovered {
		i.audit.Write(r, audit.Event{Name: audit.RecoveryCodeUsed, User: second.User})
	}
	return i.guard.succeeded(ctx, attempt)
}

// plainCode leaves out what people put between digits.
func plainCode(code string) string {
	return strings.ToUpper(strings.Map(func(c rune) rune {
		if isSpace(c) || c == '-' {
			return -1
		}
		return c
	}, code))
}

// matchingStep is the time step that a code is of; 0: none that counts now.
func matchingStep(secret, code string, now time.Time) int64 {
	current := now.Unix() / codeStep
	found := int64(0)
	for step := current - codeSkew; step <= current+codeSkew; step++ {
		want, err := hotp.GenerateCode(secret, uint64(step)) //nolint:gosec // a time after 1970
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			found = step
		}
	}
	return found
}

// newSecret makes the secret of a new second factor.
func newSecret() string {
	var random [secretBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	return base32.StdEncoding.EncodeToString(random[:])
}

// setup is what a page shows of a second factor that is being set up.
type setup struct {
	Secret string
	QR     template.URL
}

func (i *Issuer) setupOf(user, secret string) (*setup, error) {
	name := i.Session.Pages.Title
	if name == "" {
		name = "Edge Auth"
	}
	address := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + name + ":" + user,
		RawQuery: url.Values{"secret": {secret}, "issuer": {name}}.Encode(),
	}
	key, err := otp.NewKeyFromURL(address.String())
	if err != nil {
		return nil, err
	}
	image, err := key.Image(220, 220)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	if err := png.Encode(&data, image); err != nil {
		return nil, err
	}
	return &setup{
		Secret: secret,
		QR:     template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(data.Bytes())), //nolint:gosec // our own picture
	}, nil
}

// enrol sets a second factor up whose code its user has shown, and returns the
// recovery codes, which are kept nowhere. errCode: the code is not of that secret.
func (i *Issuer) enrol(r *http.Request, user, secret, code string) ([]string, error) {
	raw, err := base32.StdEncoding.DecodeString(secret)
	step := matchingStep(secret, plainCode(code), i.now())
	if err != nil || len(raw) != secretBytes || step == 0 {
		return nil, errCode
	}
	second := records.SecondFactor{User: user, Secret: secret, Step: step}
	codes := make([]string, recoveryCodes)
	for n := range codes {
		text := rand.Text()[:16]
		codes[n] = text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
		second.Recovery = append(second.Recovery, records.RecoveryDigest(user, text))
	}
	if err := records.PutSecondFactor(r.Context(), i.store, second); err != nil {
		return nil, fmt.Errorf("keeping the second factor: %w", err)
	}
	i.audit.Write(r, audit.Event{Name: audit.SecondFactorAdded, User: user})
	return codes, nil
}

// secondForm is what the page shows that asks for a code.
type secondForm struct {
	Ticket, Next string
	Setup        *setup // nil: there is a second factor already
}

// askForSecond shows the page that asks for a code of who gave the password.
func (i *Issuer) askForSecond(w http.ResponseWriter, r *http.Request, user records.User, hasOne bool, next string) error {
	ticket := records.Ticket{User: user.ID}
	if !hasOne {
		ticket.Secret = newSecret()
	}
	id, err := records.NewTicket(r.Context(), i.store, ticket, ticketLifetime)
	if err != nil {
		return fmt.Errorf("making a ticket: %w", err)
	}
	return i.showSecond(w, r, http.StatusOK, id, ticket, next, "")
}

func (i *Issuer) showSecond(w http.ResponseWriter, r *http.Request, status int, id string, ticket records.Ticket, next, wrong string) error {
	form := secondForm{Ticket: id, Next: next}
	if ticket.Secret != "" {
		var err error
		if form.Setup, err = i.setupOf(ticket.User, ticket.Secret); err != nil {
			return err
		}
	}
	return i.pages.show(w, r, status, "second.html", "", wrong, form)
}

// logInByCode ends a login by form that asked for a second factor.
func (i *Issuer) logInByCode(w http.ResponseWriter, r *http.Request, id, code, next string) error {
	ctx := r.Context()
	ticket, err := records.FindTicket(ctx, i.store, id)
	var user records.User
	if err == nil {
		user, err = records.GetUser(ctx, i.store, ticket.User)
	}
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !user.Enabled():
		return i.pages.show(w, r, http.StatusForbidden, "login.html", "", "second_late", loginForm{Next: next})
	case err != nil:
		return fmt.Errorf("looking ticket up: %w", err)
	}
	codes, err := i.redeem(r, ticket, code)
	err = countLogin(err)
	var throttled *refusal
	switch {
	case errors.Is(err, records.ErrLogin):
		i.audit.Write(r, audit.Event{Name: audit.LoginFailed, User: user.ID, Reason: err})
		return i.showSecond(w, r, http.StatusForbidden, id, ticket, next, "second_wrong")
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", fmt.Sprint(seconds(throttled.wait)))
		return i.showSecond(w, r, http.StatusTooManyRequests, id, ticket, next, "throttled")
	case err != nil:
		return err
	}
	if err := records.EndTicket(ctx, i.store, id); err != nil {
		return fmt.Errorf("ending ticket: %w", err)
	}
	if err := i.beginSession(w, r, user, byBoth); err != nil {
		return countLogin(err)
	}
	i.loggedIn(r, user)
	if codes != nil {
		return i.pages.show(w, r, http.StatusOK, "recovery.html", "", "", recovery{codes, i.safeNext(next)})
	}
	redirect(w, i.safeNext(next))
	return nil
}

// recovery is what the page with recovery codes shows.
type recovery struct {
	Codes []string
	Next  string
}

// redeem checks the code for a ticket. It returns recovery codes where that sets
// the second factor up.
func (i *Issuer) redeem(r *http.Request, ticket records.Ticket, code string) ([]string, error) {
	if ticket.Secret != "" {
		return i.enrol(r, ticket.User, ticket.Secret, code)
	}
	second, err := i.secondOf(r.Context(), ticket.User)
	switch {
	case err != nil:
		return nil, err
	case second == nil: // taken away meanwhile: the login begins anew
		return nil, errCode
	}
	return nil, i.useCode(r, *second, code)
}
