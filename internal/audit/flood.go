package audit

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// Whoever sends wrong credentials chooses how many, and each would be a line. So there
// are bounds for those events, and for no others, in each minute and for each policy:
// mostLines in all, and mostOfClient of them for one address, so that a flood from one
// hides nobody else's. At the end of the minute a line says how many were left out.
const (
	minute       = time.Minute
	mostLines    = 1000
	mostOfClient = 100
)

// LeftOut is the event that stands for those that have no line.
const LeftOut = "left_out"

// bounded reports whether strangers can bring an event about as often as they like. No
// login that succeeds or that is of somebody is such an event.
func bounded(e Event) bool {
	return e.Name == CredentialRejected || e.Name == LoginRefused || e.Name == LoginFailed && e.User == ""
}

// flood counts the lines of a minute.
type flood struct {
	logger *zap.Logger

	mu      sync.Mutex // guards what follows
	counts  map[floodKey]*floodCount
	timer   *time.Timer // ends the minute; nil: none has begun
	stopped bool
}

type floodKey struct{ event, policy string }

type floodCount struct {
	lines, leftOut int
	byClient       map[string]int // no more than there are lines
}

// admits reports whether an event gets a line.
func (f *flood) admits(e Event, client string) bool {
	if !bounded(e) {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer == nil && !f.stopped {
		f.timer = time.AfterFunc(minute, f.end)
	}
	key := floodKey{e.Name, e.Policy}
	count := f.counts[key]
	if count == nil {
		if f.counts == nil {
			f.counts = make(map[floodKey]*floodCount) // of policies, which the config names
		}
		count = &floodCount{byClient: make(map[string]int)}
		f.counts[key] = count
	}
	if count.lines >= mostLines || count.byClient[client] >= mostOfClient {
		count.leftOut++
		return false
	}
	count.lines++
	count.byClient[client]++
	return true
}

// end is the end of a minute.
func (f *flood) end() {
	f.mu.Lock()
	counts := f.counts
	f.counts, f.timer = nil, nil
	f.mu.Unlock()
	for key, count := range counts {
		if count.leftOut == 0 {
			continue
		}
		fields := texts{zap.String("event", LeftOut), zap.String("of", key.event), zap.Int("count", count.leftOut)}
		fields.add("policy", key.policy)
		f.logger.Warn("lines left out", fields...)
	}
}

// stop ends the minute now, and the last one.
func (f *flood) stop() {
	f.mu.Lock()
	f.stopped = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	f.end()
}
