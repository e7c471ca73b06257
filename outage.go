package edgeauth

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// outage tells the log when something ceases to answer, and when it is back:
// one line each, however many requests notice. It is back when it has answered for a
// while and failed nobody: what answers one call and not the next is not.
type outage struct {
	what   string
	logger *zap.Logger
	down   atomic.Bool
	failed atomic.Int64 // when it last failed, by store.Now
}

// backAfter is how long it has to answer.
const backAfter = time.Second

// note takes the outcome of a call. What says that there is no such record is
// an answer; a caller that went away says nothing, nor does one who was one too many.
func (o *outage) note(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, store.ErrBusy):
	case isAnswer(err):
		if o.down.Load() && store.Now()-time.Duration(o.failed.Load()) >= backAfter && o.down.Swap(false) {
			o.logger.Info(o.what + " answers again")
		}
	default:
		o.failed.Store(int64(store.Now()))
		if !o.down.Swap(true) {
			o.logger.Error(o.what+" does not answer: what needs it gets 503 until it does", zap.Error(err))
		}
	}
	return err
}

// isAnswer reports whether the outcome of a call is one that a store gave that works.
func isAnswer(err error) bool {
	return err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrWrongType) ||
		errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrHeld)
}
