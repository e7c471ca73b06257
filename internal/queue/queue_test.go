package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func served(l *Line[string]) (order []string) {
	for p := l.Next(); p != nil; p = l.Next() {
		order = append(order, p.Value)
	}
	return order
}

func TestNewestGoesFirstAndTheOldestHasToLeave(t *testing.T) {
	t.Parallel()
	l := NewLine[string](3, NewestFirst)
	for _, name := range []string{"a", "b", "c"} {
		_, left := l.Join(name, false)
		require.Nil(t, left)
	}
	_, left := l.Join("d", false)
	require.NotNil(t, left)
	assert.Equal(t, "a", left.Value)
	assert.False(t, l.Leave(left), "it has left")
	assert.Equal(t, []string{"d", "c", "b"}, served(l))
}

func TestOldestGoesFirstAndTheNewestHasToLeave(t *testing.T) {
	t.Parallel()
	l := NewLine[string](3, OldestFirst)
	for _, name := range []string{"a", "b", "c"} {
		_, left := l.Join(name, false)
		require.Nil(t, left)
	}
	d, left := l.Join("d", false)
	require.Equal(t, d, left)
	_, left = l.Join("known", true)
	assert.Equal(t, "c", left.Value)
	assert.Equal(t, []string{"known", "a", "b"}, served(l))
	for range 3 {
		l.Join("known", true)
	}
	e, left := l.Join("e", true)
	assert.Equal(t, e, left)
}

func TestWhoIsKnownGoesBeforeAllOthers(t *testing.T) {
	t.Parallel()
	l := NewLine[string](3, NewestFirst)
	known, _ := l.Join("known", true)
	l.Join("a", false)
	later, _ := l.Join("known later", false)
	for range 100 {
		_, left := l.Join("flood", false)
		require.NotNil(t, left)
		require.NotEqual(t, known, left)
	}
	assert.False(t, l.Leave(later))
	flood, _ := l.Join("b", false)
	l.Prefer(flood)
	_, left := l.Join("c", true)
	assert.Equal(t, "flood", left.Value)
	place, left := l.Join("stranger", false)
	assert.Equal(t, place, left, "nobody has to leave for a stranger")
	_, left = l.Join("d", true)
	assert.Equal(t, "known", left.Value, "they leave for each other, the oldest first")
	assert.Equal(t, []string{"d", "c", "b"}, served(l))
}

func TestQueueLetsNoMoreInThanItHasPlaces(t *testing.T) {
	t.Parallel()
	q := New(3, 1000, OldestFirst)
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if err := q.Enter(t.Context()); err != nil {
				t.Error(err)
				return
			}
			defer q.Leave()
			now := inside.Add(1)
			for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
			}
			inside.Add(-1)
		})
	}
	all.Wait()
	assert.LessOrEqual(t, most.Load(), int32(3))
	assert.Zero(t, q.taken)
}

func TestQueueTurnsAwayAtOnceWhoIsTooMany(t *testing.T) {
	t.Parallel()
	q := New(1, 2, OldestFirst)
	require.NoError(t, q.Enter(t.Context()))
	ends := make(chan error, 3)
	for n := range 3 {
		go func() { ends <- q.Enter(t.Context()) }()
		require.Eventually(t, func() bool { return q.Waiting() == min(n+1, 2) && (n < 2 || len(ends) == 1) }, 10*time.Second, time.Millisecond)
	}
	require.ErrorIs(t, <-ends, ErrFull)
	for range 2 {
		q.Leave()
		require.NoError(t, <-ends)
	}
	q.Leave()
	assert.Zero(t, q.taken)
}

func TestWhoGoesAwayLeavesNoPlaceTaken(t *testing.T) {
	t.Parallel()
	q := New(1, 100, OldestFirst)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if n%2 == 0 {
				go cancel() // at any moment: while it waits, while it is called, later
			}
			if q.Enter(ctx) == nil {
				q.Leave()
			}
			cancel()
		})
	}
	all.Wait()
	assert.Zero(t, q.taken)
	assert.Zero(t, q.Waiting())
}

func TestFirstIsSaidByTheContext(t *testing.T) {
	t.Parallel()
	assert.False(t, IsFirst(t.Context()))
	ctx := First(t.Context())
	assert.True(t, IsFirst(ctx))
	assert.Equal(t, ctx, First(ctx))
}
