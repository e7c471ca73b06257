package redis

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// beforeSet runs something just before a record is written.
type beforeSet func()

func (beforeSet) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (beforeSet) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (run beforeSet) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		if cmd.Name() == "set" {
			run()
		}
		return next(ctx, cmd)
	}
}

// "Log out everywhere" must not make a login of the same moment invisible to
// all later ones.
func TestRecordPutWhileItsListIsReadStaysListed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)}
	s, other := open(t, &c), open(t, &c)
	client, err := s.redis()
	require.NoError(t, err)
	client.AddHook(beforeSet(func() {
		assert.Equal(t, "1", server.Do(t, "ZCARD", "edge_auth:list:of:alice"), "listed before it is written")
		keys, err := other.List(context.Background(), "of:alice")
		if err != nil {
			t.Error(err) // this is not the test's own goroutine
		}
		assert.Empty(t, keys)
		assert.Equal(t, "0", server.Do(t, "ZCARD", "edge_auth:list:of:alice"), "taken for one that is gone")
	}))
	require.NoError(t, s.Put(t.Context(), "session:1", []byte("1"), time.Hour, "of:alice"))
	keys, err := other.List(t.Context(), "of:alice")
	require.NoError(t, err)
	assert.Equal(t, []string{"session:1"}, keys)
}

// The other half of that race: the record appears after it was found missing.
func TestDroppedMemberComesBackIfItLives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Hour, "list"))
	require.NoError(t, s.Put(t.Context(), "b", []byte("1"), 0, "list"))
	require.NoError(t, s.run(t.Context(), func(ctx context.Context, client goredis.UniversalClient) error {
		return s.drop(ctx, client, "list", []string{"a", "b", "c"})
	}))
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, keys)
}

func TestListThatIsNeverReadDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	long := strconv.FormatInt(time.Now().Add(-2*overdue).UnixMilli(), 10)
	for i := range 100 {
		server.Do(t, "ZADD", "edge_auth:list:of:alice", long, fmt.Sprintf("ended:%d", i))
	}
	require.NoError(t, s.Put(t.Context(), "touched", []byte("1"), time.Hour))
	server.Do(t, "ZADD", "edge_auth:list:of:alice", long, "touched")
	for i := range 10 {
		require.NoError(t, s.Put(t.Context(), fmt.Sprintf("new:%d", i), []byte("1"), time.Hour, "of:alice"))
	}
	assert.Equal(t, "11", server.Do(t, "ZCARD", "edge_auth:list:of:alice"), "what is gone has been dropped")
	assert.Equal(t, "0", server.Do(t, "ZCOUNT", "edge_auth:list:of:alice", "-inf", long), "what was touched has its new time")
	keys, err := s.List(t.Context(), "of:alice")
	require.NoError(t, err)
	assert.Len(t, keys, 11)
	assert.Contains(t, keys, "touched")
}

func TestLongListIsReadInSteps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
	for i := range 3*batch + 7 {
		require.NoError(t, s.Put(t.Context(), fmt.Sprintf("k%05d", i), nil, time.Hour, "list"))
	}
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Len(t, keys, 3*batch+7)
	assert.IsIncreasing(t, keys)
}
