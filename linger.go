package edgeauth

import (
	"sync"
	"time"
)

// lingerFor is how long a config that was replaced keeps its stores open. Caddy cleans it
// up as soon as its servers take no more requests: those under way may still be about to
// ask. It is longer than they may wait for a store.
const lingerFor = 10 * time.Second

// lingering is what configs that were replaced still hold.
var lingering linger

// linger does things later, or all at once when the process ends.
type linger struct {
	mu  sync.Mutex // guards due
	due map[*lingered]struct{}
}

// lingered is one thing that is done later.
type lingered struct {
	do    func()
	timer *time.Timer
}

func (l *linger) add(after time.Duration, do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due == nil {
		l.due = make(map[*lingered]struct{})
	}
	one := &lingered{do: do}
	one.timer = time.AfterFunc(after, func() {
		if l.take(one) {
			do()
		}
	})
	l.due[one] = struct{}{}
}

// take says who does a thing: whoever is told true.
func (l *linger) take(one *lingered) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, mine := l.due[one]
	delete(l.due, one)
	return mine
}

// flush does at once what is still due.
func (l *linger) flush() {
	l.mu.Lock()
	due := l.due
	l.due = nil
	l.mu.Unlock()
	for one := range due {
		one.timer.Stop()
		one.do()
	}
}
