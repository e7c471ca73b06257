package redis

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// A list is a sorted set of keys, scored by the time when each record was to
// expire. The score only says when to look: a record may have been touched or
// deleted since, so whether it lives is always asked of the record itself.

const (
	batch   = 500       // members that List asks after at once
	tidied  = 16        // overdue members that a Put looks at in each of its lists
	overdue = time.Hour // how long after its expiry a member is overdue
)

func (s *Store) listKey(list string) string { return s.prefix + "list:" + list }

// Put writes a record. It is listed first, so that none lives unlisted, and
// once more at the end: List may have dropped it in between as one that does
// not exist. A client's commands to a Cluster keep no order, hence one by one.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error {
	if err := store.CheckPut(value, ttl); err != nil {
		return err
	}
	if ttl > 0 {
		ttl = max(ttl, time.Millisecond) // Redis counts no less
	}
	return s.write(ctx, []string{key}, func(ctx context.Context, client goredis.UniversalClient) error {
		if err := s.enlist(ctx, client, key, ttl, lists); err != nil {
			return err
		}
		if err := client.Set(ctx, s.prefix+key, value, ttl).Err(); err != nil {
			return err
		}
		if err := s.enlist(ctx, client, key, ttl, lists); err != nil {
			return err
		}
		for _, list := range lists {
			s.tidy(ctx, client, list)
		}
		return nil
	})
}

func (s *Store) enlist(ctx context.Context, client goredis.UniversalClient, key string, ttl time.Duration, lists []string) error {
	if len(lists) == 0 {
		return nil
	}
	_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, list := range lists {
			p.ZAdd(ctx, s.listKey(list), goredis.Z{Score: score(ttl), Member: key})
		}
		return nil
	})
	return err
}

// score is the time of expiry in Unix milliseconds; infinite if there is none.
func score(ttl time.Duration) float64 {
	if ttl <= 0 {
		return math.Inf(1)
	}
	return float64(time.Now().Add(ttl).UnixMilli())
}

// tidy looks at a few overdue members of a list, so that one that is never read
// does not grow for ever: those that are gone are dropped, those that were
// touched get their new time. If it fails, the next Put tries again.
func (s *Store) tidy(ctx context.Context, client goredis.UniversalClient, list string) {
	keys, err := client.ZRangeArgs(ctx, goredis.ZRangeArgs{
		Key: s.listKey(list), ByScore: true, Count: tidied,
		Start: "-inf", Stop: strconv.FormatInt(time.Now().Add(-overdue).UnixMilli(), 10),
	}).Result()
	if err != nil || len(keys) == 0 {
		return
	}
	live, gone, err := s.lives(ctx, client, keys)
	if err != nil {
		return
	}
	if len(live) > 0 {
		_ = client.ZAddXX(ctx, s.listKey(list), live...).Err()
	}
	_ = s.drop(ctx, client, list, gone)
}

// lives asks which keys have records: the live ones as members of a list.
func (s *Store) lives(ctx context.Context, client goredis.UniversalClient, keys []string) (live []goredis.Z, gone []string, err error) {
	left := make([]*goredis.DurationCmd, len(keys))
	_, err = client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, key := range keys {
			left[i] = p.PTTL(ctx, s.prefix+key)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for i, key := range keys {
		if ttl := left[i].Val(); ttl != noSuchKey {
			live = append(live, goredis.Z{Score: score(ttl), Member: key})
		} else {
			gone = append(gone, key)
		}
	}
	return live, gone, nil
}

// drop takes keys out of a list. One that has been put meanwhile comes back: a
// Put that sets its record later than that lists it itself.
func (s *Store) drop(ctx context.Context, client goredis.UniversalClient, list string, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	members := make([]any, len(keys))
	for i, key := range keys {
		members[i] = key
	}
	if err := client.ZRem(ctx, s.listKey(list), members...).Err(); err != nil {
		return err
	}
	back, _, err := s.lives(ctx, client, keys)
	if err != nil || len(back) == 0 {
		return err
	}
	return client.ZAdd(ctx, s.listKey(list), back...).Err()
}

// List returns the live keys of a list, and drops those that are gone. It reads
// a long list in steps, each of which has the timeout for itself: a list may
// take longer, a Redis that hangs never holds it longer.
func (s *Store) List(ctx context.Context, list string) ([]string, error) {
	var keys []string
	for cursor := uint64(0); ; {
		step, err := do(ctx, s, func(ctx context.Context, client goredis.UniversalClient) (page, error) {
			return s.listFrom(ctx, client, list, cursor)
		})
		if err != nil {
			return nil, err
		}
		keys = append(keys, step.keys...)
		if cursor = step.next; cursor == 0 {
			break
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil // ZSCAN may name a member twice
}

// page is a part of a list; next is 0 in the last one.
type page struct {
	keys []string
	next uint64
}

func (s *Store) listFrom(ctx context.Context, client goredis.UniversalClient, list string, cursor uint64) (page, error) {
	scanned, next, err := client.ZScan(ctx, s.listKey(list), cursor, "", batch).Result()
	if err != nil {
		return page{}, err
	}
	members := make([]string, 0, len(scanned)/2)
	for pair := range slices.Chunk(scanned, 2) { // member, score
		members = append(members, pair[0])
	}
	if len(members) == 0 {
		return page{next: next}, nil
	}
	live, gone, err := s.lives(ctx, client, members)
	if err != nil {
		return page{}, err
	}
	keys := make([]string, len(live))
	for i, member := range live {
		keys[i] = member.Member.(string)
	}
	return page{keys, next}, s.drop(ctx, client, list, gone)
}
