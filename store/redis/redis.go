package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Store keeps records as plain values, and lists as sorted sets of their keys.
// No command names keys of two slots, so all of it works in a Cluster.
type Store struct {
	prefix    string
	timeout   time.Duration
	staleness time.Duration // how long changes may go unheard; 0: nothing is kept
	dial      func() goredis.UniversalClient
	calls     chan struct{} // holds one for each call under way
	lookups   *lookups
	fields    *queue.Queue // of those who read hashes
	changes   *store.Changes
	tracker   *tracker   // nil: nothing is kept
	sentinels *sentinels // nil: there are none

	mu     sync.Mutex // guards what follows
	client goredis.UniversalClient
	closed bool
}

func newStore(o *goredis.UniversalOptions, network, prefix string, timeout, staleness time.Duration) *Store {
	s := &Store{
		prefix: prefix, timeout: timeout, staleness: staleness,
		calls: make(chan struct{}, maxCalls), changes: store.NewChanges(prefix),
	}
	s.lookups = s.newLookups(o.IsClusterMode)
	s.fields = queue.New(maxFields, maxWaiting, queue.NewestFirst)
	if o.MasterName != "" {
		s.sentinels = newSentinels(o)
	}
	if staleness > 0 {
		s.tracker = s.newTracker(o, network)
	}
	s.dial = func() goredis.UniversalClient {
		switch {
		case network == "unix":
			single := o.Simple()
			single.Network = network
			return goredis.NewClient(single)
		case s.sentinels != nil:
			return s.sentinels.client()
		}
		return goredis.NewUniversalClient(o)
	}
	return s
}

// Changes tells of what anybody writes; see store.Teller.
func (s *Store) Changes() *store.Changes { return s.changes }

// Tells reports whether there is ever news: not where nothing is kept.
func (s *Store) Tells() bool { return s.tracker != nil }

// Name is the key in Redis.
func (s *Store) Name(key string) string { return s.prefix + key }

// Watch makes Changes tell of keys that others write.
func (s *Store) Watch(prefix string) {
	if s.changes.Watch(prefix) == nil || s.tracker == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil && !s.closed {
		s.tracker.again()
	}
}

// redis returns the client; the first call makes it.
func (s *Store) redis() (goredis.UniversalClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.client == nil {
		s.client = s.dial()
		switch {
		case s.tracker != nil:
			s.tracker.start()
		case s.sentinels != nil:
			s.sentinels.watch()
		}
	}
	return s.client, nil
}

// Get returns one of our records.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	return s.lookups.get(ctx, s.prefix+key)
}

// Delete ends records. Lists drop them later.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.write(ctx, keys, func(ctx context.Context, client goredis.UniversalClient) error {
		_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for _, key := range keys {
				p.Del(ctx, s.prefix+key)
			}
			return nil
		})
		return err
	})
}

// Touch sets how long a record has still to live.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("a lifetime must be positive")
	}
	return s.write(ctx, []string{key}, func(ctx context.Context, client goredis.UniversalClient) error {
		alive, err := client.PExpire(ctx, s.prefix+key, max(ttl, time.Millisecond)).Result()
		if err == nil && !alive {
			return store.ErrNotFound
		}
		return err
	})
}

// swap writes KEYS[1] if it holds what is expected: ARGV are whether anything is,
// what, the new value, and its lifetime in milliseconds, 0 for good.
var swap = goredis.NewScript(`
local held = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
	if held ~= ARGV[2] then return 0 end
elseif held then
	return 0
end
if ARGV[4] == '0' then
	redis.call('SET', KEYS[1], ARGV[3])
else
	redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return 1`)

// Swap writes a record if the key still holds old.
func (s *Store) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error {
	if err := store.CheckPut(value, ttl); err != nil {
		return err
	}
	expected := "1"
	if old == nil {
		expected = "0"
	}
	return s.write(ctx, []string{key}, func(ctx context.Context, client goredis.UniversalClient) error {
		if err := s.enlist(ctx, client, key, ttl, lists); err != nil {
			return err
		}
		done, err := swap.Run(ctx, client, []string{s.prefix + key}, expected, old, value, milliseconds(ttl)).Bool()
		switch {
		case err != nil:
			return err
		case !done:
			return store.ErrChanged
		}
		return s.enlist(ctx, client, key, ttl, lists) // as for Put
	})
}

// add adds ARGV[1] to KEYS[1], which lives ARGV[2] milliseconds from its first change.
var add = goredis.NewScript(`
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
	left = tonumber(ARGV[2])
	redis.call('PEXPIRE', KEYS[1], left)
end
return {value, left}`)

// Add adds to a counter.
func (s *Store) Add(ctx context.Context, key string, delta int64, window time.Duration) (store.Count, error) {
	if window <= 0 {
		return store.Count{}, errors.New("a window must be positive")
	}
	return do(ctx, s, func(ctx context.Context, client goredis.UniversalClient) (store.Count, error) {
		got, err := add.Run(ctx, client, []string{s.prefix + key}, delta, milliseconds(window)).Int64Slice()
		if err != nil {
			return store.Count{}, err
		}
		return store.Count{Value: got[0], TTL: time.Duration(got[1]) * time.Millisecond}, nil
	})
}

// milliseconds is a lifetime as Redis takes it, which counts nothing less; 0 for none.
func milliseconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return max(d, time.Millisecond).Milliseconds()
}

// Ping asks whether Redis answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.run(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return client.Ping(ctx).Err()
	})
}

// Destruct closes the connections, if there are any.
func (s *Store) Destruct() error {
	s.mu.Lock()
	client, open := s.client, s.client != nil && !s.closed
	s.closed = true
	s.mu.Unlock()
	s.changes.End()
	if !open {
		return nil
	}
	if s.tracker != nil {
		s.tracker.end()
	}
	if s.sentinels != nil {
		s.sentinels.end()
	}
	return client.Close()
}

// silent keeps go-redis from printing to standard error: what fails is
// returned, and told once by whoever asked.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(silent{}) }

var (
	_ store.Handle        = (*Store)(nil)
	_ store.Teller        = (*Store)(nil)
	_ store.ForeignReader = (*Store)(nil)
	_ store.Adviser       = (*Store)(nil)
)
