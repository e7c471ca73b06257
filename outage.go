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
// one line each, however many requests notice.
type outage struct {
	what   string
	logger *zap.Logger
	down   atomic.Bool
}

// note takes the outcome of a call. What says that there is no such record is
// an answer; a caller that went away says nothing.
func (o *outage) note(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrWrongType), errors.Is(err, store.ErrChanged):
		if o.down.Load() && o.down.Swap(false) {
			o.logger.Info(o.what + " answers again")
		}
	default:
		if !o.down.Swap(true) {
			o.logger.Error(o.what+" does not answer: what needs it gets 503 until it does", zap.Error(err))
		}
	}
	return err
}

// watchedStore is a store whose outages are told.
type watchedStore struct {
	store.Handle
	outage *outage
}

func (w *watchedStore) Get(ctx context.Context, key string) (store.Record, error) {
	record, err := w.Handle.Get(ctx, key)
	return record, w.outage.note(err)
}

func (w *watchedStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	return w.outage.note(w.Handle.Put(ctx, key, value, ttl, lists...))
}

func (w *watchedStore) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error {
	return w.outage.note(w.Handle.Swap(ctx, key, old, value, ttl, lists...))
}

func (w *watchedStore) Add(ctx context.Context, key string, delta int64, window time.Duration) (store.Count, error) {
	count, err := w.Handle.Add(ctx, key, delta, window)
	return count, w.outage.note(err)
}

func (w *watchedStore) Delete(ctx context.Context, keys ...string) error {
	return w.outage.note(w.Handle.Delete(ctx, keys...))
}

func (w *watchedStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return w.outage.note(w.Handle.Touch(ctx, key, ttl))
}

func (w *watchedStore) List(ctx context.Context, list string) ([]string, error) {
	found, err := w.Handle.List(ctx, list)
	return found, w.outage.note(err)
}

func (w *watchedStore) Ping(ctx context.Context) error {
	return w.outage.note(w.Handle.Ping(ctx))
}

// watchedForeign is another application's records, whose outages are told.
type watchedForeign struct {
	store.Foreign
	outage *outage
}

func (w *watchedForeign) Get(ctx context.Context, key string) (store.Record, error) {
	record, err := w.Foreign.Get(ctx, key)
	return record, w.outage.note(err)
}

func (w *watchedForeign) Fields(ctx context.Context, key string, names ...string) (map[string][]byte, time.Duration, error) {
	fields, ttl, err := w.Foreign.Fields(ctx, key, names...)
	return fields, ttl, w.outage.note(err)
}

func (w *watchedForeign) Extend(ctx context.Context, key string, ttl time.Duration) error {
	return w.outage.note(w.Foreign.Extend(ctx, key, ttl))
}
