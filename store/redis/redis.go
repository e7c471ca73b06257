package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Store keeps records as plain values, and lists as sorted sets of their keys.
// No command names keys of two slots, so all of it works in a Cluster.
type Store struct {
	prefix  string
	timeout time.Duration
	dial    func() goredis.UniversalClient
	calls   chan struct{} // holds one for each call under way

	mu     sync.Mutex // guards what follows
	client goredis.UniversalClient
	closed bool
}

func newStore(o *goredis.UniversalOptions, network, prefix string, timeout time.Duration) *Store {
	s := &Store{prefix: prefix, timeout: timeout, calls: make(chan struct{}, maxCalls)}
	s.dial = func() goredis.UniversalClient {
		if network == "unix" {
			single := o.Simple()
			single.Network = network
			return goredis.NewClient(single)
		}
		return goredis.NewUniversalClient(o)
	}
	return s
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
	}
	return s.client, nil
}

// Get returns one of our records.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	return s.get(ctx, s.prefix+key)
}

// get reads a value and its remaining life in one round trip, and never more
// than a byte beyond MaxValue of it.
func (s *Store) get(ctx context.Context, key string) (store.Record, error) {
	return do(ctx, s, func(ctx context.Context, client goredis.UniversalClient) (store.Record, error) {
		var value *goredis.StringCmd
		var ttl *goredis.DurationCmd
		_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			value = p.GetRange(ctx, key, 0, store.MaxValue)
			ttl = p.PTTL(ctx, key)
			return nil
		})
		if goredis.HasErrorPrefix(err, "WRONGTYPE") {
			return store.Record{}, store.ErrWrongType
		}
		if err != nil {
			return store.Record{}, err
		}
		data, left := []byte(value.Val()), ttl.Val()
		switch {
		case left == noSuchKey:
			return store.Record{}, store.ErrNotFound
		case len(data) > store.MaxValue:
			return store.Record{}, store.ErrTooLarge
		case left == forGood:
			return store.Record{Value: data}, nil
		}
		return store.Record{Value: data, TTL: max(left, time.Millisecond)}, nil
	})
}

// What PTTL says but a lifetime, as go-redis leaves it: in nanoseconds.
const (
	forGood   time.Duration = -1
	noSuchKey time.Duration = -2
)

// Delete ends records. Lists drop them later.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.run(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
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
	return s.run(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
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
	return s.run(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
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
	defer s.mu.Unlock()
	s.closed = true
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

// silent keeps go-redis from printing to standard error: what fails is
// returned, and told once by whoever asked.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(silent{}) }

var (
	_ store.Handle        = (*Store)(nil)
	_ store.ForeignReader = (*Store)(nil)
	_ store.Adviser       = (*Store)(nil)
)
