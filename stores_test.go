package edgeauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestFloodOfHealthChecksAsksTheStoreOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p probe
		var asked atomic.Int64
		answer := errors.New("no answer")
		ping := func(context.Context) error {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			return answer
		}
		flood := func() {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { assert.Equal(t, answer, p.ask(t.Context(), ping)) })
			}
			all.Wait()
		}
		flood()
		flood()
		assert.EqualValues(t, 1, asked.Load())
	})
}

func TestHealthCheckThatGoesAwayDoesNotSpoilTheAnswerOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p probe
		release := make(chan struct{})
		ping := func(ctx context.Context) error {
			<-release
			return ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { assert.ErrorIs(t, p.ask(ctx, ping), context.Canceled) })
		synctest.Wait()
		all.Go(func() { assert.NoError(t, p.ask(t.Context(), ping)) })
		synctest.Wait()
		leave()
		synctest.Wait() // who left does not wait
		close(release)
		all.Wait()
	})
}

func TestStoreIsAskedAgainAfterASecond(t *testing.T) {
	t.Parallel()
	var p probe
	require.Error(t, p.ask(t.Context(), func(context.Context) error { return errors.New("no answer") }))
	kept := p.last.Load()
	p.last.Store(&probed{kept.at - probeEvery, kept.err})
	assert.NoError(t, p.ask(t.Context(), func(context.Context) error { return nil }))
}

// slowStore takes a second to read.
type slowStore struct{ *memstore.Store }

func (s slowStore) Get(ctx context.Context, key string) (store.Record, error) {
	record, err := s.Store.Get(ctx, key)
	time.Sleep(time.Second)
	return record, err
}

func (slowStore) Destruct() error { return nil }

func TestRecordEndsAsItWasWhenItWasAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := slowStore{memstore.New()}
		require.NoError(t, slow.Put(t.Context(), "k", []byte("v"), time.Minute))
		w := &watchedStore{sharedStore: share(slow, rand.Text()), outage: &outage{logger: zap.NewNop()}}
		ends := time.Now().Add(time.Minute)
		ctx, reads := store.Collecting(t.Context())
		_, err := w.Get(ctx, "k")
		require.NoError(t, err)
		_, end, _ := reads.Known()
		assert.Equal(t, ends, end)
	})
}

// counted is what a counter says.
func counted(t *testing.T, counter prometheus.Counter) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(counter))
	families, err := registry.Gather()
	require.NoError(t, err)
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func TestWhatIsAnAnswerIsNoErrorOfTheStore(t *testing.T) {
	t.Parallel()
	m := newStoreMeter(rand.Text()) // the process keeps them by name
	for _, answer := range []error{nil, store.ErrNotFound, store.ErrTooLarge, store.ErrWrongType, store.ErrChanged, store.ErrHeld, context.Canceled} {
		m.note(opGet, time.Now(), answer)
	}
	assert.Zero(t, counted(t, m.errors[opGet]))
	m.note(opGet, time.Now(), fmt.Errorf("redis: %w", context.DeadlineExceeded))
	m.note(opGet, time.Now(), errors.New("connection refused"))
	assert.InDelta(t, 2, counted(t, m.errors[opGet]), 0)
	assert.Zero(t, counted(t, m.errors[opPut]), "another operation")
}

func TestEachOperationHasItsName(t *testing.T) {
	t.Parallel()
	for op, name := range operationNames {
		assert.NotEmpty(t, name, "operation %d", op)
	}
	assert.Contains(t, strings.Join(operationNames[opForeignExtend:], ""), "foreign_extend")
}
