package redis

import (
	"context"
	"errors"
	"slices"
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

	once   sync.Once
	dial   func() goredis.UniversalClient
	client goredis.UniversalClient // made at first use; nil before

	closing sync.Mutex // guards closed
	closed  bool
}

func newStore(o *goredis.UniversalOptions, network, prefix string, timeout time.Duration) *Store {
	return &Store{prefix: prefix, timeout: timeout, dial: func() goredis.UniversalClient {
		if network == "unix" {
			single := o.Simple()
			single.Network = network
			return goredis.NewClient(single)
		}
		return goredis.NewUniversalClient(o)
	}}
}

// errClosed says that the store was given back.
var errClosed = errors.New("store is closed")

// redis returns the client; the first call makes it.
func (s *Store) redis() (goredis.UniversalClient, error) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.once.Do(func() { s.client = s.dial() })
	return s.client, nil
}

// do runs commands within the timeout.
func (s *Store) do(ctx context.Context, run func(context.Context, goredis.UniversalClient) error) error {
	client, err := s.redis()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = run(bounded, client)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the caller went away; that says nothing of Redis
	}
	return err
}

// Get returns one of our records.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	return s.get(ctx, s.prefix+key)
}

// get reads a value and its remaining life in one round trip, and never more
// than MaxValue of it.
func (s *Store) get(ctx context.Context, key string) (store.Record, error) {
	var value *goredis.StringCmd
	var ttl *goredis.DurationCmd
	err := s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			value = p.GetRange(ctx, key, 0, store.MaxValue)
			ttl = p.PTTL(ctx, key)
			return nil
		})
		return err
	})
	if err != nil {
		if goredis.HasErrorPrefix(err, "WRONGTYPE") {
			return store.Record{}, store.ErrWrongType
		}
		return store.Record{}, err
	}
	data, err := value.Bytes()
	if err != nil {
		return store.Record{}, err
	}
	switch left := ttl.Val(); {
	case left == -2: // nanoseconds, as go-redis leaves it: there is no such key
		return store.Record{}, store.ErrNotFound
	case len(data) > store.MaxValue:
		return store.Record{}, store.ErrTooLarge
	case left == -1: // does not expire
		return store.Record{Value: data}, nil
	default:
		return store.Record{Value: data, TTL: max(left, time.Millisecond)}, nil
	}
}

// Put writes a record. The lists come first, so that none lives unlisted.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	switch {
	case ttl < 0:
		return errors.New("negative lifetime")
	case len(value) > store.MaxValue:
		return store.ErrTooLarge
	}
	if ttl > 0 {
		ttl = max(ttl, time.Millisecond) // Redis counts no less
	}
	return s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		for _, list := range lists {
			if err := client.ZAdd(ctx, s.listKey(list), goredis.Z{Member: key}).Err(); err != nil {
				return err
			}
		}
		return client.Set(ctx, s.prefix+key, value, ttl).Err()
	})
}

func (s *Store) listKey(list string) string { return s.prefix + "list:" + list }

// Delete ends records. Lists drop them when they are next read.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
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
		return errors.New("negative lifetime")
	}
	return s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		alive, err := client.PExpire(ctx, s.prefix+key, max(ttl, time.Millisecond)).Result()
		if err == nil && !alive {
			return store.ErrNotFound
		}
		return err
	})
}

// batch is how many keys of a list are asked after at once.
const batch = 500

// List returns the live keys of a list. Each key is asked after, since a record
// may have been touched or ended; those that have ended are dropped from it.
// Each batch of a long list has the timeout for itself.
func (s *Store) List(ctx context.Context, list string) ([]string, error) {
	var members []string
	err := s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		members, err = client.ZRange(ctx, s.listKey(list), 0, -1).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	var live []string
	for part := range slices.Chunk(members, batch) {
		err := s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
			found, err := s.stillThere(ctx, client, list, part)
			live = append(live, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(live)
	return live, nil
}

func (s *Store) stillThere(ctx context.Context, client goredis.UniversalClient, list string, keys []string) ([]string, error) {
	counts := make([]*goredis.IntCmd, len(keys))
	_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, key := range keys {
			counts[i] = p.Exists(ctx, s.prefix+key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var live []string
	var gone []any
	for i, key := range keys {
		if counts[i].Val() > 0 {
			live = append(live, key)
		} else {
			gone = append(gone, key)
		}
	}
	if len(gone) > 0 {
		err = client.ZRem(ctx, s.listKey(list), gone...).Err()
	}
	return live, err
}

// Ping asks whether Redis answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return client.Ping(ctx).Err()
	})
}

// Foreign reads keys as they stand, without our prefix.
func (s *Store) Foreign() store.Reader { return foreign{s} }

type foreign struct{ *Store }

func (f foreign) Get(ctx context.Context, key string) (store.Record, error) { return f.get(ctx, key) }

// Destruct closes the connections, if there are any.
func (s *Store) Destruct() error {
	s.closing.Lock()
	defer s.closing.Unlock()
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
)
