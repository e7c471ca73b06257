package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edgeauth/caddy-edgeauth/internal/panics"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// lookups lets those who look something up at once share round trips, and the answer
// where they ask for the same key. While requests are few, each has a round trip for
// itself; the more there are, the more share one. When there are more than Redis
// answers in time, the newest are, and whoever was let in lately before them.
type lookups struct {
	store   *Store
	flights int // round trips at once
	batch   int // look-ups in one

	mu      sync.Mutex // guards what follows
	waiting *queue.Line[*lookup]
	byKey   map[string]*lookup // that wait or are under way
	flying  int
}

// lookup is a key that somebody waits for.
type lookup struct {
	key     string
	stamp   store.Stamp
	place   *queue.Place[*lookup]
	callers int           // who wait for it; guarded by mu
	done    chan struct{} // closed when what follows is there
	record  store.Record
	err     error
}

const (
	// One flight alone would spare Redis most; with a second, a connection that has
	// died unnoticed holds up only those who are on it.
	singleFlights = 2
	singleBatch   = 128

	// A Cluster has a master for each key: one that hangs must not hold up the keys of
	// others, so there is nothing to share but answers.
	clusterFlights = 256
	clusterBatch   = 1

	// maxWaiting is how many keys may wait for a round trip. A Redis that answers in a
	// millisecond has read them all in 20.
	maxWaiting = 4096
)

func (s *Store) newLookups(cluster bool) *lookups {
	l := &lookups{store: s, flights: singleFlights, batch: singleBatch, byKey: make(map[string]*lookup), waiting: queue.NewLine[*lookup](maxWaiting, queue.NewestFirst)}
	if cluster {
		l.flights, l.batch = clusterFlights, clusterBatch
	}
	return l
}

// get reads a value and its remaining life, and never more than a byte beyond
// store.MaxValue of it.
func (l *lookups) get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	client, err := l.store.redis() //nolint:contextcheck // what it starts outlives the caller
	if err != nil {
		return store.Record{}, err
	}
	timer := time.NewTimer(l.store.timeout)
	defer timer.Stop()
	for {
		one, shared := l.join(client, key, queue.IsFirst(ctx)) //nolint:contextcheck // a look-up is everybody's who asks for the key
		select {
		case <-one.done:
		case <-timer.C:
			if asked := l.leave(one); !asked {
				return store.Record{}, errBusy
			}
			return store.Record{}, fmt.Errorf("redis: no answer within %v: %w", l.store.timeout, context.DeadlineExceeded)
		case <-ctx.Done():
			l.leave(one)
			return store.Record{}, ctx.Err()
		}
		// Another's answer may be older than this call, and that counts only while
		// nothing was heard of the key since.
		if !shared || one.stamp.Current(store.Now()) {
			return one.record, one.err
		}
	}
}

// join takes part in the look-up of a key, or begins one.
func (l *lookups) join(client goredis.UniversalClient, key string, first bool) (one *lookup, shared bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.byKey[key]; one != nil && one.stamp.Current(store.Now()) {
		one.callers++
		if first {
			l.waiting.Prefer(one.place)
		}
		return one, true
	}
	one = &lookup{key: key, stamp: l.store.changes.Stamp(key), done: make(chan struct{}), callers: 1}
	place, left := l.waiting.Join(one, first)
	one.place, l.byKey[key] = place, one
	if left != nil {
		left.Value.err = errBusy
		l.end(left.Value)
	}
	if l.flying < l.flights && l.waiting.Len() > 0 {
		l.flying++
		go l.fly(client)
	}
	return one, false
}

// leave takes a caller who does not wait any longer off a look-up, and reports whether
// Redis was asked. What nobody waits for is not asked for either.
func (l *lookups) leave(one *lookup) (asked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waits := one.place.Waits()
	if one.callers--; one.callers == 0 && l.waiting.Leave(one.place) {
		l.end(one)
	}
	return !waits
}

// end tells all who wait for a look-up. l.mu is held.
func (l *lookups) end(one *lookup) {
	if l.byKey[one.key] == one {
		delete(l.byKey, one.key)
	}
	close(one.done)
}

// next are those whose turn it is.
func (l *lookups) next() []*lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := make([]*lookup, 0, min(l.waiting.Len(), l.batch))
	for len(batch) < cap(batch) {
		batch = append(batch, l.waiting.Next().Value)
	}
	if len(batch) == 0 {
		l.flying--
	}
	return batch
}

// fly makes round trips until nobody waits.
func (l *lookups) fly(client goredis.UniversalClient) {
	for batch := l.next(); len(batch) > 0; batch = l.next() {
		l.read(client, batch)
		l.mu.Lock()
		for _, one := range batch {
			l.end(one)
		}
		l.mu.Unlock()
	}
}

// read fills in what a round trip brings. It returns within the timeout, by which
// all who wait have gone.
func (l *lookups) read(client goredis.UniversalClient, batch []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), l.store.timeout)
	defer cancel()
	defer func() {
		// In the request's own goroutine net/http would have caught it.
		if cause := recover(); cause != nil {
			for _, one := range batch {
				one.record, one.err = store.Record{}, fmt.Errorf("redis: %w", panics.Error(cause))
			}
		}
	}()
	values, lives := make([]*goredis.StringCmd, len(batch)), make([]*goredis.DurationCmd, len(batch))
	_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, one := range batch {
			values[i] = p.GetRange(ctx, one.key, 0, store.MaxValue)
			lives[i] = p.PTTL(ctx, one.key)
		}
		return nil
	})
	// Where Redis refuses the connection itself (a password that is not right any
	// more), go-redis returns that, and leaves the commands as if they had been
	// answered with nothing.
	sent := err == nil
	for i := range batch {
		sent = sent || values[i].Err() != nil || lives[i].Err() != nil
	}
	for i, one := range batch {
		if one.record, one.err = recordOf(values[i], lives[i]); !sent {
			one.record, one.err = store.Record{}, err
		}
	}
	if err != nil {
		lookAround(ctx, client, err)
	}
}

// recordOf makes a record of what Redis said.
func recordOf(value *goredis.StringCmd, life *goredis.DurationCmd) (store.Record, error) {
	if goredis.HasErrorPrefix(value.Err(), "WRONGTYPE") {
		return store.Record{}, store.ErrWrongType
	}
	for _, err := range []error{value.Err(), life.Err()} {
		if err != nil {
			return store.Record{}, err
		}
	}
	data, left := []byte(value.Val()), life.Val()
	switch {
	case left == noSuchKey:
		return store.Record{}, store.ErrNotFound
	case len(data) > store.MaxValue:
		return store.Record{}, store.ErrTooLarge
	case left == forGood:
		return store.Record{Value: data}, nil
	}
	return store.Record{Value: data, TTL: max(left, time.Millisecond)}, nil
}

// What PTTL says but a lifetime, as go-redis leaves it: in nanoseconds.
const (
	forGood   time.Duration = -1
	noSuchKey time.Duration = -2
)
