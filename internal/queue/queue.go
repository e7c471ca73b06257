// Package queue bounds what strangers can make a gateway do at once, and how many may
// wait for it, so that who asks for more is told so at once, and costs no memory.
//
// Who has been let in lately goes first: millions of wrong credentials must not keep
// the owners of good ones out.
package queue

import (
	"context"
	"errors"
	"sync"
)

// ErrFull says that too many wait already: it is unknown what the answer would be.
var ErrFull = errors.New("too many wait already")

type firstKey struct{}

// First gives a context whose owner goes before others, since what is asked is about
// somebody who was let in lately.
func First(ctx context.Context) context.Context {
	if IsFirst(ctx) {
		return ctx
	}
	return context.WithValue(ctx, firstKey{}, true)
}

// IsFirst reports whether the owner of a context goes before others.
func IsFirst(ctx context.Context) bool { return ctx.Value(firstKey{}) != nil }

// Queue lets a few at a time pass, and some wait.
type Queue struct {
	places int

	mu    sync.Mutex // guards what follows
	taken int
	line  *Line[chan error]
}

// New makes a queue of so many places, for which at most so many wait.
func New(places, waiting int, order Order) *Queue {
	return &Queue{places: places, line: NewLine[chan error](waiting, order)}
}

// Enter takes a place, and waits for one until the context ends. ErrFull: too many
// wait already. Who has entered must leave.
func (q *Queue) Enter(ctx context.Context) error {
	q.mu.Lock()
	if q.taken < q.places {
		q.taken++
		q.mu.Unlock()
		return nil
	}
	turn := make(chan error, 1) // buffered: whoever calls must not wait for who is called
	place, left := q.line.Join(turn, IsFirst(ctx))
	if left != nil {
		left.Value <- ErrFull
	}
	q.mu.Unlock()
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
	}
	q.mu.Lock()
	waited := q.line.Leave(place)
	q.mu.Unlock()
	if !waited && <-turn == nil { // it was called at the same moment
		q.Leave()
	}
	return ctx.Err()
}

// Leave gives a place back.
func (q *Queue) Leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if next := q.line.Next(); next != nil {
		next.Value <- nil
		return
	}
	q.taken--
}

// Waiting is how many wait.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.line.Len()
}
