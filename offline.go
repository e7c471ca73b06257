package edgeauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/edgeauth/caddy-edgeauth/keys"
)

// copier is a store that can be used without being changed, or made: a copy of it.
type copier interface{ OpenCopy() error }

// prepareOffline makes ready a config that is not started, but asked what it would do.
// Nothing that it does then remains in a file.
func (a *App) prepareOffline(ctx context.Context) error {
	if store, ok := a.store.Handle.(copier); ok {
		if err := store.OpenCopy(); err != nil {
			return fmt.Errorf("%w; if that is the running Caddy, let it explain, without --config", err)
		}
	}
	if !a.ring.wanted.Load() || a.ring.filled.Load() {
		return nil
	}
	signer, err := keys.Load(ctx, a.storage, storedKey)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = keys.GenerateSigner() // nothing that another key signed could be checked anyway
	}
	if err != nil {
		return fmt.Errorf("signing key in Caddy's storage: %w", err)
	}
	a.ring.Set(signer)
	a.ring.filled.Store(true)
	return nil
}
