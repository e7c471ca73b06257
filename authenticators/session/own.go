package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

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
	if idle == 0 {
		return
	}
	store.ReadUntil(ctx, a.now().Add(touchEvery)) // then it may be due again
	wanted := min(idle, session.Expires.Sub(a.now()))
	// The first use cuts a life down to the idle time; a second more is rounding.
	if session.Remaining > wanted-touchEvery && session.Remaining <= wanted+time.Second {
		return
	}
	if err := records.TouchSession(ctx, a.store, id.Reveal(), idle); err != nil {
		if c := a.logger.Check(zapcore.DebugLevel, "session not touched"); c != nil {
			c.Write(zap.String("session", session.ID), zap.Error(err))
		}
	}
}
