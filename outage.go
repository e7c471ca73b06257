package edgeauth

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// outage tells the log when a store ceases to answer, or to take writes, and when it
// does again: one line each, however many requests notice.
type outage struct {
	logger *zap.Logger

	// Apart, since a Redis that is out of memory, or has become a replica, still reads.
	reads, writes trouble
}

// trouble is that one kind of call fails. It is over when such calls have been answered
// for a while and none failed: what answers one call and not the next is not back.
type trouble struct {
	down   atomic.Bool
	failed atomic.Int64 // when one last failed, by store.Now
}

// backAfter is how long a store has to answer.
const backAfter = time.Second

// note takes the outcome of a call. What says that there is no such record is
// an answer; a caller that went away says nothing, nor does one who was one too many.
func (o *outage) note(op operation, err error) error {
	t, fails, works := &o.reads, "store does not answer: what needs it gets 503 until it does", "store answers again"
	if op.writes() {
		t, fails, works = &o.writes, "store takes no writes: what needs one, such as a login, gets 503 until it does", "store takes writes again"
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, store.ErrBusy):
	case isAnswer(err):
		if t.down.Load() && store.Now()-time.Duration(t.failed.Load()) >= backAfter && t.down.Swap(false) {
			o.logger.Info(works)
		}
	default:
		t.failed.Store(int64(store.Now()))
		if !t.down.Swap(true) {
			o.logger.Error(fails, zap.Error(err))
		}
	}
	return err
}

// isAnswer reports whether the outcome of a call is one that a store gave that works.
func isAnswer(err error) bool {
	return err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrWrongType) ||
		errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrHeld)
}
