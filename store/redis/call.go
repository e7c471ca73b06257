package redis

import (
	"context"
	"errors"
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edgeauth/caddy-edgeauth/internal/panics"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// maxCalls is how many calls may be under way at once, those included that
// were given up: a hung Redis can't pile up more than this many goroutines.
const maxCalls = 4096

var (
	errClosed = errors.New("store is closed")
	errBusy   = fmt.Errorf("redis: %w", store.ErrBusy)
)

type answer[T any] struct {
	value T
	err   error
}

// do runs commands, and waits for them no longer than the timeout or than the
// caller does. go-redis alone would heed deadlines only, and so hold a caller
// who has gone away. What is given up ends by itself, at the latest when the
// timeout, which run gets as its context's deadline, has passed.
func do[T any](ctx context.Context, s *Store, run func(context.Context, goredis.UniversalClient) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	client, err := s.redis() //nolint:contextcheck // what it starts outlives the caller
	if err != nil {
		return none, err
	}
	select {
	case s.calls <- struct{}{}:
	default:
		return none, errBusy
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	done := make(chan answer[T], 1) // buffered: nobody may be waiting any more
	go func() {
		defer func() { <-s.calls }()
		var got answer[T]
		defer func() {
			// In the request's own goroutine net/http would have caught it.
			if cause := recover(); cause != nil {
				got.err = fmt.Errorf("redis: %w", panics.Error(cause))
			}
			done <- got
		}()
		got.value, got.err = run(bounded, client)
	}()
	select {
	case got := <-done:
		err = got.err
		if err == nil {
			return got.value, nil
		}
	case <-bounded.Done():
		err = fmt.Errorf("redis: no answer within %v: %w", s.timeout, context.DeadlineExceeded)
	}
	if ctx.Err() != nil {
		return none, ctx.Err() // the caller went away; that says nothing of Redis
	}
	lookAround(ctx, client, err)
	return none, err
}

// lookAround lets a client of a Cluster ask again which server has which keys,
// when one of them does not answer: its replica may have taken over. By itself it
// would ask once a minute. Many calls at once make one question.
func lookAround(ctx context.Context, client goredis.UniversalClient, err error) {
	cluster, ok := client.(*goredis.ClusterClient)
	if !ok {
		return
	}
	var reply goredis.Error
	isReply := errors.As(err, &reply) && !goredis.HasErrorPrefix(err, "CLUSTERDOWN")
	if isReply || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrWrongType) || errors.Is(err, store.ErrChanged) {
		return
	}
	cluster.ReloadState(ctx)
}

// run is do for what has no result.
func (s *Store) run(ctx context.Context, commands func(context.Context, goredis.UniversalClient) error) error {
	_, err := do(ctx, s, func(ctx context.Context, client goredis.UniversalClient) (struct{}, error) {
		return struct{}{}, commands(ctx, client)
	})
	return err
}

// write is run for what changes records of ours. This process knows it at once, and
// before the caller does; all others, and what ends by itself, Redis tells.
func (s *Store) write(ctx context.Context, keys []string, commands func(context.Context, goredis.UniversalClient) error) error {
	err := s.run(ctx, commands)
	for _, key := range keys {
		s.changes.Changed(s.prefix + key)
	}
	return err
}
