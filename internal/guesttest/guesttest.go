// Package guesttest lends authenticators what the app would, for tests.
package guesttest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Host is an app in memory.
type Host struct {
	Records *memstore.Store
	Others  *memstore.Store // what another application keeps; nil: no Redis
	Ring    keys.Ring
}

// NewHost returns one with empty stores.
func NewHost() *Host { return &Host{Records: memstore.New(), Others: memstore.New()} }

// Store is where our own records live.
func (h *Host) Store() store.Store { return h.Records }

// Foreign reads what another application keeps.
func (h *Host) Foreign(string, string) (store.Foreign, error) {
	if h.Others == nil {
		return nil, errors.New("no Redis")
	}
	return h.Others, nil
}

// SigningKeys are our own.
func (h *Host) SigningKeys() *keys.Ring { return &h.Ring }

// KeySet makes a key set that nobody shares.
func (h *Host) KeySet(url string) (*keys.Remote, error) { return keys.NewRemote(url, zap.NewNop()) }

// Pooled makes what nobody shares.
func (h *Host) Pooled(_ string, make func() (caddy.Destructor, error)) (caddy.Destructor, error) {
	return make()
}

// Guest is an authenticator as a Caddyfile describes it.
type Guest interface {
	authenticators.Authenticator
	caddy.Provisioner
	caddyfile.Unmarshaler
}

// Load reads a Caddyfile block into guest and provisions it.
func Load(t testing.TB, host authenticators.Host, guest Guest, config string) error {
	t.Helper()
	if err := guest.UnmarshalCaddyfile(caddyfile.NewTestDispenser(config)); err != nil {
		return err
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return guest.Provision(authenticators.WithHost(ctx, host))
}

// Ask lets guest find and verify what a request with these headers carries.
func Ask(t testing.TB, guest authenticators.Authenticator, headers ...string) (*identity.Identity, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for _, header := range headers {
		name, value, ok := strings.Cut(header, ": ")
		require.True(t, ok, header)
		r.Header[name] = append(r.Header[name], value)
	}
	c, err := guest.Find(r)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		who, err := guest.Verify(t.Context(), c)
		// Tests that hash side by side may fill a busy machine's queue: that says nothing.
		if !errors.Is(err, passwords.ErrBusy) || time.Since(began) > time.Minute {
			return who, err
		}
		time.Sleep(10 * time.Millisecond) // it may be refused at once
	}
}
