package edgeauth

import (
	"context"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// watchedStore is a store whose outages are told, and whose reads are noted: what is
// found out from them is kept until they would say something else.
type watchedStore struct {
	*sharedStore
	outage *outage
	teller store.Teller // nil: nobody tells of changes
}

func (w *watchedStore) Get(ctx context.Context, key string) (store.Record, error) {
	if w.teller == nil {
		store.ReadingUnknown(ctx)
	} else {
		w.teller.Changes().Reading(ctx, w.teller.Name(key))
	}
	began := time.Now()
	record, err := w.Handle.Get(ctx, key)
	noteEnd(ctx, began, record.TTL, err)
	return record, w.note(opGet, began, err)
}

// note takes the outcome of a call that began then.
func (w *watchedStore) note(op operation, began time.Time, err error) error {
	w.meter.note(op, began, err)
	return w.outage.note(op, err)
}

// noteEnd notes how long a record has still to live that was asked for then: reckoned
// from when the answer came, it would live on for as long as that took.
func noteEnd(ctx context.Context, began time.Time, ttl time.Duration, err error) {
	if err == nil && ttl > 0 {
		store.ReadUntil(ctx, began.Add(ttl))
	}
}

func (w *watchedStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	began := time.Now()
	return w.note(opPut, began, w.Handle.Put(ctx, key, value, ttl, lists...))
}

func (w *watchedStore) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error {
	began := time.Now()
	return w.note(opSwap, began, w.Handle.Swap(ctx, key, old, value, ttl, lists...))
}

func (w *watchedStore) Add(ctx context.Context, key string, delta int64, window time.Duration) (store.Count, error) {
	began := time.Now()
	count, err := w.Handle.Add(ctx, key, delta, window)
	return count, w.note(opAdd, began, err)
}

func (w *watchedStore) Delete(ctx context.Context, keys ...string) error {
	began := time.Now()
	return w.note(opDelete, began, w.Handle.Delete(ctx, keys...))
}

func (w *watchedStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	began := time.Now()
	return w.note(opTouch, began, w.Handle.Touch(ctx, key, ttl))
}

func (w *watchedStore) List(ctx context.Context, list string) ([]string, error) {
	store.ReadingUnknown(ctx)
	began := time.Now()
	found, err := w.Handle.List(ctx, list)
	return found, w.note(opList, began, err)
}

func (w *watchedStore) Ping(ctx context.Context) error {
	began := time.Now()
	return w.note(opPing, began, w.Handle.Ping(ctx))
}

// watchedForeign is another application's records, as watchedStore.
type watchedForeign struct {
	store.Foreign
	of *watchedStore // that it is in
}

func (w *watchedForeign) noteReading(ctx context.Context, key string) {
	if w.of.teller == nil {
		store.ReadingUnknown(ctx)
		return
	}
	w.of.teller.Changes().Reading(ctx, key)
}

func (w *watchedForeign) Get(ctx context.Context, key string) (store.Record, error) {
	w.noteReading(ctx, key)
	began := time.Now()
	record, err := w.Foreign.Get(ctx, key)
	noteEnd(ctx, began, record.TTL, err)
	return record, w.of.note(opForeignGet, began, err)
}

func (w *watchedForeign) Fields(ctx context.Context, key string, names ...string) (map[string][]byte, time.Duration, error) {
	w.noteReading(ctx, key)
	began := time.Now()
	fields, ttl, err := w.Foreign.Fields(ctx, key, names...)
	noteEnd(ctx, began, ttl, err)
	return fields, ttl, w.of.note(opForeignFields, began, err)
}

func (w *watchedForeign) Extend(ctx context.Context, key string, ttl time.Duration) error {
	began := time.Now()
	return w.of.note(opForeignExtend, began, w.Foreign.Extend(ctx, key, ttl))
}
