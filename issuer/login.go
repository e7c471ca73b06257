package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// logIn checks the user name and password of a form, and the second factor where
// there is one, as its field otp. refused is the answer to a name and a password
// that do not belong together, whatever the reason. It returns what the login
// proves, too.
func (i *Issuer) logIn(r *http.Request, refused *refusal) (records.User, []string, error) {
	f, err := readForm(r)
	if err != nil {
		return records.User{}, nil, err
	}
	name, password := f.text("username", true), f.text("password", false)
	if err := f.check(); err != nil {
		return records.User{}, nil, err
	}
	user, err := i.checkPassword(r, name, password)
	if errors.Is(err, records.ErrLogin) {
		err = &refusal{status: refused.status, body: refused.body, cause: err}
	}
	if err != nil {
		return user, nil, countLogin(err)
	}
	proved, err := i.proveSecond(r, user, f.optional("otp"))
	if err == nil {
		i.loggedIn(r, user)
	}
	return user, proved, countLogin(err)
}

// checkPassword returns the user whom a name and a password belong to.
// records.ErrLogin: to nobody. *refusal: there were too many attempts.
func (i *Issuer) checkPassword(r *http.Request, name, password string) (records.User, error) {
	attempt, err := i.guard.enter(r.Context(), name, addressOf(r))
	if err != nil {
		i.loginRefused(r, name, err)
		return records.User{}, err
	}
	ctx := r.Context()
	if attempt.familiar {
		ctx = queue.First(ctx)
	}
	user, err := i.users.logIn(ctx, name, password)
	switch {
	case errors.Is(err, records.ErrLogin):
		i.audit.Write(r, audit.Event{Name: audit.LoginFailed, User: i.typedName(context.WithoutCancel(r.Context()), name), Reason: err})
		return user, err
	case err != nil && r.Context().Err() == nil: // nobody knows whether it was a wrong guess
		return user, errors.Join(err, i.guard.forgive(r.Context(), attempt))
	case err != nil:
		return user, err
	}
	return user, i.guard.succeeded(r.Context(), attempt)
}

// loginRefused tells of an attempt that was one too many, and of nothing else.
func (i *Issuer) loginRefused(r *http.Request, name string, err error) {
	if _, throttled := errors.AsType[*refusal](err); throttled {
		i.audit.Write(r, audit.Event{Name: audit.LoginRefused, User: i.typedName(context.WithoutCancel(r.Context()), name), Code: codeThrottled})
	}
}

// typedName is a name that was typed, if somebody has it. Any other is not logged:
// it may be a password that was typed in the wrong place.
func (i *Issuer) typedName(ctx context.Context, name string) string {
	if !i.users.knows(ctx, name) {
		return ""
	}
	return name
}

// loginTime is now, as the time of a login. Where all logins of the user ended in
// this very second, the second after: that one was before, and this is not.
func (i *Issuer) loginTime(ctx context.Context, user string) (time.Time, error) {
	now := i.second()
	revoked, err := records.LoginRevoked(ctx, i.store, user, now)
	if err != nil {
		return now, fmt.Errorf("looking for a revocation: %w", err)
	}
	if revoked {
		now = now.Add(time.Second)
	}
	return now, nil
}

// loggedIn tells of a login that is complete, and keeps when it was.
func (i *Issuer) loggedIn(r *http.Request, user records.User) {
	i.audit.Write(r, audit.Event{Name: audit.Login, User: user.ID})
	if err := records.NoteLogin(r.Context(), i.store, user.ID, i.now()); err != nil {
		i.logger.Warn("time of a login not kept", zap.String("user", user.ID), zap.Error(err))
	}
	loginSucceeded.Inc()
}
