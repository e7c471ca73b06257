package edgeauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
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
		var err error
		if signers[i], err = loadSigner(text, a.logger); err != nil {
			return fmt.Errorf("signing_key '%s': %w", shownKey(text), err)
		}
		if signers[i].Secret() {
			a.logger.Warn("signing_key is a secret: whoever shares it can sign tokens for any user of ours; a private key, of which others know the public part, has no such power")
		}
	}
	a.ring = &ownKeys{Ring: new(keys.Ring)}
	a.ring.Set(signers...)
	a.ring.filled.Store(true)
	return nil
}

// loadSigner reads a key: as it stands, or what a placeholder gives, or the file
// that text names. No error shows more of it than the config does.
func loadSigner(text string, logger *zap.Logger) (*keys.Signer, error) {
	if isKey(text) {
		return keys.LoadSigner([]byte(text))
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return nil, err
	}
	if isKey(resolved) {
		return keys.LoadSigner([]byte(resolved))
	}
	data, err := os.ReadFile(resolved)
	if named, ok := errors.AsType[*fs.PathError](err); ok {
		// Its path may be a secret that a placeholder gave.
		return nil, fmt.Errorf("neither a key in PEM, nor a JWK, nor a file that can be read: %w", named.Err)
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(resolved); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
		logger.Warn("file with a signing key can be read by everybody on this machine, who can then sign tokens: chmod o-r", zap.String("file", text))
	}
	return keys.LoadSigner(data)
}

// isKey reports whether text is a key itself: PEM, or a JWK.
func isKey(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") || json.Valid([]byte(text))
}

// shownKey is what an error may show of a signing_key.
func shownKey(text string) string {
	if isKey(text) {
		return "…"
	}
	return text
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
