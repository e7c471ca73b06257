package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tally counts what came of requests.
type tally struct {
	retried atomic.Int64

	mu     sync.Mutex // guards what follows
	kinds  map[string]*[outcomes]int64
	wrongs []string // the first of them, in words
	lates  []string
	did    map[string]int // what was done meanwhile
}

// told is how many wrong answers are told in full.
const told = 40

func newTally() *tally {
	return &tally{kinds: map[string]*[outcomes]int64{}, did: map[string]int{}}
}

func (t *tally) count(g *gateway, q request, found outcome, why string, known asked) {
	kind := q.kind
	if strings.HasPrefix(kind, "bad: altered") {
		kind = "bad: altered credential"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row(kind)[found]++
	if why == "" {
		return
	}
	text := fmt.Sprintf("%s %s, %s: %s (took %s", known.sent.Format("15:04:05.000"), g.name, q.kind+" at "+q.path, why, known.got.Sub(known.sent).Round(time.Millisecond))
	if !known.revoking.IsZero() {
		text += ", revoked from " + known.revoking.Format("15:04:05.000")
	}
	text += ")"
	if found == late {
		t.lates = appendSome(t.lates, text)
	} else {
		t.wrongs = appendSome(t.wrongs, text)
	}
}

// row is the counts of a kind; t.mu is held.
func (t *tally) row(kind string) *[outcomes]int64 {
	if t.kinds[kind] == nil {
		t.kinds[kind] = new([outcomes]int64)
	}
	return t.kinds[kind]
}

func appendSome(list []string, text string) []string {
	if len(list) < told {
		fmt.Println(text)
		return append(list, text)
	}
	return list
}

// fail counts something wrong that is not the answer to one request.
func (t *tally) fail(kind, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row(kind)[wrong]++
	t.wrongs = appendSome(t.wrongs, time.Now().Format("15:04:05.000")+" "+kind+": "+fmt.Sprintf(format, args...))
}

// ok counts something else that went as it should.
func (t *tally) ok(kind string, found outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row(kind)[found]++
}

// done counts something that was done.
func (t *tally) done(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.did[what]++
}

// total sums outcomes over all kinds.
func (t *tally) total() (sum [outcomes]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, row := range t.kinds {
		for i, n := range row {
			sum[i] += n
		}
	}
	return sum
}

// durations are measured times.
type durations struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *durations) add(one time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

// quantile returns the time that a part of all does not exceed.
func (d *durations) quantile(part float64) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return 0
	}
	slices.Sort(d.all)
	return d.all[min(len(d.all)-1, int(part*float64(len(d.all))))]
}

func (d *durations) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}
