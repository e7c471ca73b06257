package issuer

import (
	"sync"
	"time"
)

// over are counters that were found to be over the bound a moment ago: until the
// moment has passed the store, which would have to write, is not asked again. It is a
// moment only, since counts go down too, when a login that was counted succeeds.
type over struct {
	now func() time.Duration // of one clock, whichever

	mu    sync.Mutex // guards what follows
	known map[string]overUntil
}

type overUntil struct {
	asked time.Duration // when the store is to be asked again
	ends  time.Duration // when the counter begins anew
}

const (
	overFor = time.Second

	// maxOver bounds the counters. When there are more, all are forgotten: they cost a
	// call each to learn anew.
	maxOver = 10_000
)

// note notes a counter that begins anew after a time.
func (o *over) note(counter string, ends time.Duration) {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || len(o.known) >= maxOver {
		o.known = make(map[string]overUntil)
	}
	o.known[counter] = overUntil{asked: now + min(overFor, ends), ends: now + ends}
}

// wait is how long to wait for a counter; 0: the store is to be asked.
func (o *over) wait(counter string) time.Duration {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	known, ok := o.known[counter]
	switch {
	case !ok:
		return 0
	case now >= known.asked:
		delete(o.known, counter)
		return 0
	}
	return known.ends - now
}
