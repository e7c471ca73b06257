package main

import (
	"slices"
	"sync"
	"time"
)

// recovery is how long after a fault 503 is still an answer: two seconds are
// promised, the third is for a busy machine.
const recovery = 3 * time.Second

// keysRecovery is the same for tokens of keys that a gateway does not know: it asks for
// new keys twice a minute at most.
const keysRecovery = 33 * time.Second

// outages knows what was out of order when, and how long 503 lasted after each.
type outages struct {
	mu  sync.Mutex // guards what follows
	all []*outage  // the youngest last
}

// outage is a fault of what a gateway needs.
type outage struct {
	name       string
	grace      time.Duration // after its end
	of         []string      // which dependencies; see dependency
	began, end time.Time
	after      time.Duration // the last 503 that was sent so long after the end
	count      int           // how often 503 was answered
}

// dependency names what a gateway needs: its way to Redis, or the keys of an issuer.
func dependency(gateway, what string) string { return gateway + "/" + what }

// begin notes that dependencies are out of order until the returned function is called.
func (o *outages) begin(name string, of ...string) (end func()) {
	return o.beginFor(recovery, name, of...)
}

func (o *outages) beginFor(grace time.Duration, name string, of ...string) (end func()) {
	x := &outage{name: name, of: of, grace: grace, began: time.Now()}
	o.mu.Lock()
	o.all = append(o.all, x)
	o.mu.Unlock()
	return func() {
		o.mu.Lock()
		x.end = time.Now()
		o.mu.Unlock()
	}
}

// during reports whether a dependency was out of order, or had been until shortly
// before, at any time between two.
func (o *outages) during(of string, from, to time.Time) bool { return o.find(of, from, to) != nil }

func (o *outages) find(of string, from, to time.Time) *outage {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range slices.Backward(o.all) {
		if slices.Contains(x.of, of) && !x.began.After(to) && (x.end.IsZero() || from.Before(x.end.Add(x.grace))) {
			return x
		}
	}
	return nil
}

// note counts a 503 to the fault that it came of.
func (o *outages) note(of string, sent, got time.Time) {
	x := o.find(of, sent, got)
	if x == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	x.count++
	if !x.end.IsZero() {
		x.after = max(x.after, sent.Sub(x.end))
	}
}

// list returns what has happened so far.
func (o *outages) list() []outage {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]outage, len(o.all))
	for i, x := range o.all {
		all[i] = *x
	}
	return all
}
