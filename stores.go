package edgeauth

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// sharedStore is a store in the pool, with what is one for all configs that name it.
type sharedStore struct {
	store.Handle

	name  string // for people: without any secret
	meter *storeMeter
	probe probe
}

func share(handle store.Handle, name string) *sharedStore {
	return &sharedStore{Handle: handle, name: name, meter: newStoreMeter(name)}
}

// openStore takes the store that provider describes from the pool.
func (a *App) openStore(provider store.Provider) (*watchedStore, error) {
	shared, err := pooled(a, "store "+provider.Key(), func() (*sharedStore, error) {
		handle, err := provider.New()
		if err != nil {
			return nil, err
		}
		return share(handle, nameOf(provider)), nil
	})
	if err != nil {
		return nil, err
	}
	watched := &watchedStore{sharedStore: shared, outage: &outage{logger: a.logger}}
	watched.teller, _ = shared.Handle.(store.Teller)
	if !slices.ContainsFunc(a.stores, func(known *watchedStore) bool { return known.sharedStore == shared }) {
		a.stores = append(a.stores, watched)
	}
	return watched, nil
}

func nameOf(provider store.Provider) string {
	switch p := provider.(type) {
	case store.Named:
		return p.Name()
	case caddy.Module:
		return p.CaddyModule().ID.Name()
	}
	return "store"
}

// tracking reports whether news of changes is trusted now. It is not meant to be where
// the store has none to tell, or its config keeps nothing that would need it.
func (s *sharedStore) tracking() (on, meant bool) {
	teller, ok := s.Handle.(store.Teller)
	if !ok {
		return false, false
	}
	if some, ok := s.Handle.(interface{ Tells() bool }); ok && !some.Tells() {
		return false, false
	}
	return teller.Changes().Trusted(), true
}

// probeEvery is how long the answer to a probe is kept: load balancers that ask many
// times a second cost the store nothing.
const probeEvery = time.Second

// probe asks whether a store answers, once at a time.
type probe struct {
	flight singleflight.Group
	last   atomic.Pointer[probed] // nil: it was never asked
}

type probed struct {
	at  time.Duration // by store.Now
	err error
}

// ask returns what ping says now, or said within probeEvery.
func (p *probe) ask(ctx context.Context, ping func(context.Context) error) error {
	if last := p.last.Load(); last != nil && store.Now()-last.at < probeEvery {
		return last.err
	}
	// Who asks first may go away: the answer is for all who wait.
	lasting := context.WithoutCancel(ctx)
	asked := p.flight.DoChan("", func() (any, error) {
		err := ping(lasting)
		p.last.Store(&probed{store.Now(), err})
		return nil, err
	})
	select {
	case answer := <-asked:
		return answer.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}
