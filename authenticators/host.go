package authenticators

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Host is what the app lends to its guests. All of it may be used from the
// end of Provision on; none of it does I/O before the first request.
type Host interface {
	// Store is where our own records live.
	Store() store.Store

	// Foreign reads the keys of others in Redis: at url, or, where url is empty,
	// in the Redis that is also our store. It fails if there is no such Redis. All
	// keys begin with prefix; if that is empty, nothing read is kept.
	Foreign(url, prefix string) (store.Foreign, error)

	// SigningKeys are the keys that we sign with: what our own tokens are
	// checked against.
	SigningKeys() *keys.Ring

	// KeySet returns the live key set at url, which is shared by all that ask
	// for it and lives on across reloads.
	KeySet(url string) (*keys.Remote, error)

	// Pooled returns what is kept under key, and makes it the first time. All
	// that ask for it share it, and it lives on across reloads until nobody's
	// config needs it; then its Destruct is called.
	Pooled(key string, make func() (caddy.Destructor, error)) (caddy.Destructor, error)
}

type hostKey struct{}

// WithHost gives host to the guests that are loaded with the context.
func WithHost(ctx caddy.Context, host Host) caddy.Context {
	return ctx.WithValue(hostKey{}, host)
}

// HostOf returns the host of a guest; nil outside an edge_auth app.
func HostOf(ctx context.Context) Host {
	host, _ := ctx.Value(hostKey{}).(Host)
	return host
}

// Warner is a guest that has something to say once at load.
type Warner interface {
	Warn(logger *zap.Logger)
}
