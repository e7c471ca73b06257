package edgeauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/issuer"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/redis"
)

// Store is where our own records live.
func (a *App) Store() store.Store { return a.store }

// foreignTimeout bounds calls to a Redis that only an authenticator names.
const foreignTimeout = 250 * time.Millisecond

// Foreign reads the keys of others in the Redis at url, or in that of the store.
func (a *App) Foreign(url, prefix string) (store.Foreign, error) {
	from := a.store
	if url != "" {
		provider, err := redis.At(url, foreignTimeout)
		if err != nil {
			return nil, err
		}
		if from, err = a.openStore(provider); err != nil {
			return nil, err
		}
	}
	reader, ok := from.Handle.(store.ForeignReader)
	if !ok {
		return nil, errors.New("the records of another application are read from Redis: " +
			"add 'redis <url>' here, or 'store redis <url>' to the global options")
	}
	if prefix == "" {
		a.logger.Warn("the keys of another application begin with nothing of its own, so Redis can't tell of their changes: each request reads them anew")
	} else if from.teller != nil {
		from.teller.Watch(prefix)
	}
	return &watchedForeign{Foreign: reader.Foreign(), of: from}, nil
}

// SigningKeys are the keys that our own tokens are signed with.
func (a *App) SigningKeys() *keys.Ring {
	a.ring.wanted.Store(true)
	return a.ring.Ring
}

// EnsureSigningKeys sees to it that there is a key to sign with.
func (a *App) EnsureSigningKeys(ctx context.Context) error { return a.ring.fill(ctx, a.storage) }

// KeySet returns the live key set at url.
func (a *App) KeySet(url string) (*keys.Remote, error) {
	set, err := pooled(a, "key set "+url, func() (*keys.Remote, error) { return keys.NewRemote(url, a.logger) })
	if err == nil && !slices.Contains(a.keySets, set) {
		a.keySets = append(a.keySets, set)
	}
	return set, err
}

// Pooled returns what guests keep under key, across reloads.
func (a *App) Pooled(key string, make func() (caddy.Destructor, error)) (caddy.Destructor, error) {
	return pooled(a, "guest "+key, make)
}

var (
	_ authenticators.Host = (*App)(nil)
	_ issuer.Host         = (*App)(nil)
)
