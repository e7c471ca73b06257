package edgeauth

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// exporting is a store of 100 records that notes how it is held.
type exporting struct{ holds []time.Duration }

func (e *exporting) Hold(d time.Duration) { e.holds = append(e.holds, d) }

func (e *exporting) Export(_ context.Context, take func(store.Item) error) error {
	if len(e.holds) != 1 || e.holds[0] != maxHold {
		return errors.New("not held")
	}
	for n := range 100 {
		item := store.Item{Record: store.Record{Value: []byte("x"), TTL: time.Hour}, Key: "user:" + strconv.Itoa(n), Lists: []string{"users"}}
		if err := take(item); err != nil {
			return err
		}
	}
	return nil
}

// garbling is a store that keeps something else than what was put.
type garbling struct{ *memstore.Store }

func (g garbling) Put(ctx context.Context, key string, _ []byte, ttl time.Duration, lists ...string) error {
	return g.Store.Put(ctx, key, []byte("y"), ttl, lists...)
}

func TestStoreIsHeldWhileItMovesAndAWhileAfter(t *testing.T) {
	t.Parallel()
	from, to := new(exporting), memstore.New()
	moved, err := moveHeld(t.Context(), from, to, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"user": 100}, moved)
	assert.Equal(t, []time.Duration{maxHold, time.Minute}, from.holds)
	keys, err := to.List(t.Context(), "users")
	require.NoError(t, err)
	assert.Len(t, keys, 100)

	to.Fail = errors.New("down")
	from = new(exporting)
	_, err = moveHeld(t.Context(), from, to, time.Minute)
	require.ErrorIs(t, err, to.Fail)
	assert.Equal(t, []time.Duration{maxHold, 0}, from.holds, "it goes on")

	_, err = moveHeld(t.Context(), new(exporting), garbling{memstore.New()}, time.Minute)
	require.ErrorContains(t, err, "does somebody else write there?")
}
