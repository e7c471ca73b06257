package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddyserver/certmagic"
)

// LoadOrGenerate takes the signer that is kept in storage, or makes one there.
// The members of a cluster that share the storage end up with the same.
func LoadOrGenerate(ctx context.Context, storage certmagic.Storage, name string) (*Signer, error) {
	signer, err := Load(ctx, storage, name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	if err := storage.Lock(ctx, name); err != nil {
		return nil, fmt.Errorf("locking '%s': %w", name, err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), name) }() // a lock ends by itself, too
	if signer, err = Load(ctx, storage, name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return signer, err // another member was quicker
	}
	if signer, err = GenerateSigner(); err != nil {
		return nil, err
	}
	data, err := signer.MarshalPEM()
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, name, data); err != nil {
		return nil, err // the next start would make another, and end all tokens
	}
	return signer, nil
}

// Load takes the signer that is kept in storage; fs.ErrNotExist if there is none.
func Load(ctx context.Context, storage certmagic.Storage, name string) (*Signer, error) {
	data, err := storage.Load(ctx, name)
	if err != nil {
		return nil, err
	}
	return LoadSigner(data)
}
