package redis

import (
	"cmp"
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Foreign reads keys as they stand, without our prefix.
func (s *Store) Foreign() store.Foreign { return foreign{s} }

type foreign struct{ *Store }

// Get reads a key.
func (f foreign) Get(ctx context.Context, key string) (store.Record, error) {
	return f.lookups.get(ctx, key)
}

// Fields reads fields of a hash. Redis can't cut one off, so their lengths are
// asked for first: this takes a second round trip.
func (f foreign) Fields(ctx context.Context, key string, names ...string) (map[string][]byte, time.Duration, error) {
	bounded, cancel := context.WithTimeout(ctx, f.timeout) // the wait and the call
	defer cancel()
	if err := f.fields.Enter(bounded); err != nil {
		return nil, 0, cmp.Or(ctx.Err(), errBusy)
	}
	defer f.fields.Leave()
	var left time.Duration
	fields, err := do(bounded, f.Store, func(ctx context.Context, client goredis.UniversalClient) (map[string][]byte, error) {
		var err error
		if left, err = measure(ctx, client, key, names); err != nil {
			return nil, err
		}
		values, err := client.HMGet(ctx, key, names...).Result()
		if err != nil {
			return nil, err
		}
		fields := make(map[string][]byte, len(names))
		for i, value := range values {
			if text, ok := value.(string); ok {
				fields[names[i]] = []byte(text)
			}
		}
		return fields, nil
	})
	return fields, left, err
}

// maxFields is how many hashes are read at once: strangers who ask for what there is
// not must not take all calls, of which logouts and logins are some.
const maxFields = 256

// measure checks that the fields are small, and returns how long the hash has
// still to live.
func measure(ctx context.Context, client goredis.UniversalClient, key string, names []string) (time.Duration, error) {
	lengths := make([]*goredis.Cmd, len(names))
	var ttl *goredis.DurationCmd
	_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, name := range names {
			lengths[i] = p.Do(ctx, "HSTRLEN", key, name)
		}
		ttl = p.PTTL(ctx, key)
		return nil
	})
	if goredis.HasErrorPrefix(err, "WRONGTYPE") {
		return 0, store.ErrWrongType
	}
	if err != nil {
		return 0, err
	}
	var size int64
	for _, length := range lengths {
		n, err := length.Int64()
		if err != nil {
			return 0, err
		}
		size += n
	}
	switch left := ttl.Val(); {
	case left == noSuchKey:
		return 0, store.ErrNotFound
	case size > store.MaxValue:
		return 0, store.ErrTooLarge
	case left == forGood:
		return 0, nil
	default:
		return max(left, time.Millisecond), nil
	}
}

// extend sets the life of KEYS[1] to ARGV[1] milliseconds if it is shorter, and
// has an end.
var extend = goredis.NewScript(`
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[1]) then
	redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1`)

// Extend lets a key live on.
func (f foreign) Extend(ctx context.Context, key string, ttl time.Duration) error {
	return f.run(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return extend.Run(ctx, client, []string{key}, ttl.Milliseconds()).Err()
	})
}
