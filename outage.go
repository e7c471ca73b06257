package edgeauth

import (
	"context"
	"errors"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// outage tells the log when a store ceases to answer, or to take writes, and when it
// does again: one line each, however many requests notice.
type outage struct {
	logger *zap.Logger

	// Apart, since a Redis that is out of memory, or has become a replica, still reads.
	reads, writes atomic.Bool // fail
}

// note takes the outcome of a call. What says that there is no such record is
// an answer; a caller that went away says nothing.
func (o *outage) note(op operation, err error) error {
	down, fails, works := &o.reads, "store does not answer: what needs it gets 503 until it does", "store answers again"
	if op.writes() {
		down, fails, works = &o.writes, "store takes no writes: what needs one, such as a login, gets 503 until it does", "store takes writes again"
	}
	switch {
	case errors.Is(err, context.Canceled):
	case isAnswer(err):
		if down.Load() && down.Swap(false) {
			o.logger.Info(works)
		}
	default:
		if !down.Swap(true) {
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
