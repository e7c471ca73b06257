package memstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	var stores sync.Map // of each test, to move its clock
	fresh := func(t *testing.T) store.Store {
		t.Helper()
		s := New()
		stores.Store(t.Name(), s)
		return s
	}
	storetest.Run(t, fresh, func(t *testing.T, d time.Duration) {
		t.Helper()
		s, _ := stores.Load(t.Name())
		later := time.Now().Add(d)
		s.(*Store).Now = func() time.Time { return later }
	})
}

func TestEveryCallFailsWhenItIsTold(t *testing.T) {
	t.Parallel()
	s := New()
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), 0, "list"))
	down := errors.New("down")
	s.Fail = down
	for name, call := range map[string]func(ctx context.Context) error{
		"get":    func(ctx context.Context) error { _, err := s.Get(ctx, "a"); return err },
		"put":    func(ctx context.Context) error { return s.Put(ctx, "a", []byte("2"), 0) },
		"delete": func(ctx context.Context) error { return s.Delete(ctx, "a") },
		"touch":  func(ctx context.Context) error { return s.Touch(ctx, "a", time.Second) },
		"list":   func(ctx context.Context) error { _, err := s.List(ctx, "list"); return err },
		"ping":   s.Ping,
	} {
		require.ErrorIs(t, call(t.Context()), down, name)
	}
	s.Fail = nil
	record, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(record.Value), "nothing was done meanwhile")
	require.Zero(t, record.TTL)
}
