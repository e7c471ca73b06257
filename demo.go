package edgeauth

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// DemoUser is a user who is made at the first start.
type DemoUser struct {
	// Name the user logs in with.
	Name string `json:"name"`

	// Groups the user is in.
	Groups []string `json:"groups,omitempty"`
}

func (d *DemoUser) check() error { return records.CheckLoginName(d.Name) }

// settle makes the user unless there is one of that name, and prints what was
// made. It waits for a store that does not answer yet.
func (d *DemoUser) settle(ctx context.Context, a *App) {
	for {
		err := d.make(ctx, a)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.logger.Warn("demo user can't be made yet", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
	}
}

func (d *DemoUser) make(ctx context.Context, a *App) error {
	_, err := records.GetUser(ctx, a.store, d.Name)
	if err == nil {
		a.logger.Info("demo user exists; for new secrets: caddy edge-auth user add, caddy edge-auth token create",
			zap.String("user", d.Name))
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	password := rand.Text()
	hash, err := passwords.Hash(password)
	if err != nil {
		return err
	}
	if err := records.SetPassword(ctx, a.store, d.Name, hash); err != nil {
		return err
	}
	token, _, err := records.NewToken(ctx, a.store, records.Token{User: d.Name, Label: "demo"}, 0)
	if err != nil {
		return err
	}
	// The user comes last: it is what says that the rest has been done.
	if err := records.PutUser(ctx, a.store, records.User{ID: d.Name, Groups: d.Groups}); err != nil {
		return err
	}
	a.logger.Warn("demo user made; its secrets are shown this once, and are for trying things out only",
		zap.String("user", d.Name), zap.String("password", password), zap.String("token", token))
	return nil
}
