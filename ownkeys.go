package edgeauth

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/certmagic"

	"github.com/edgeauth/caddy-edgeauth/keys"
)

// storedKey is where the signing key that we make ourselves is kept in Caddy's
// storage, which the members of a cluster share.
const storedKey = "edge_auth/signing_key.pem"

// ownKeys are the keys that our own tokens are signed with.
type ownKeys struct {
	*keys.Ring

	wanted atomic.Bool // somebody asked for them
	filled atomic.Bool
}

// Destruct has nothing to close; it lets the keys live in the pool.
func (*ownKeys) Destruct() error { return nil }

// provisionKeys reads the configured keys, or prepares for those in storage.
func (a *App) provisionKeys() error {
	if len(a.SigningKeyFiles) == 0 {
		ring, err := pooled(a, fmt.Sprintf("signing key in %v", a.storage), func() (*ownKeys, error) {
			return &ownKeys{Ring: new(keys.Ring)}, nil
		})
		a.ring = ring
		return err
	}
	signers := make([]*keys.Signer, len(a.SigningKeyFiles))
	for i, text := range a.SigningKeyFiles {
		data, err := readSecret(text)
		if err != nil {
			return fmt.Errorf("signing_key: %w", err)
		}
		if signers[i], err = keys.LoadSigner(data); err != nil {
			return fmt.Errorf("signing_key '%s': %w", text, err)
		}
	}
	a.ring = &ownKeys{Ring: new(keys.Ring)}
	a.ring.Set(signers...)
	a.ring.filled.Store(true)
	return nil
}

// fill takes the key from storage, or makes it there, unless that is done.
func (k *ownKeys) fill(ctx context.Context, storage certmagic.Storage) error {
	if k.filled.Load() {
		return nil
	}
	signer, err := keys.LoadOrGenerate(ctx, storage, storedKey)
	if err != nil {
		return fmt.Errorf("signing key in Caddy's storage: %w", err)
	}
	k.Set(signer)
	k.filled.Store(true)
	return nil
}

// settle fills the ring if anybody wants it, and tries again while it can't.
func (k *ownKeys) settle(ctx context.Context, storage certmagic.Storage, logger *zap.Logger) {
	for wait := time.Second; k.wanted.Load(); wait = min(2*wait, time.Minute) {
		err := k.fill(ctx, storage)
		if err == nil || ctx.Err() != nil {
			return
		}
		logger.Error("own tokens can't be checked", zap.Error(err), zap.Duration("next_try", wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
