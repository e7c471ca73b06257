package issuer

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// L15, D39: who guesses on although they were told to wait.
func TestD39AttemptsBeyondTheBoundCostTheStoreNothing(t *testing.T) {
	t.Parallel()
	i, pass := guarded(t)
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, i.login("192.0.2.1", "alice", "wrong").Code)
	}
	require.Equal(t, http.StatusTooManyRequests, i.login("192.0.2.1", "somebody", "wrong").Code)
	before := i.host.Records.Reads
	for n := range 100 {
		w := i.login("192.0.2.1", strconv.Itoa(n)+" is nobody", "wrong")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "60", w.Header().Get("Retry-After"))
	}
	assert.LessOrEqual(t, i.host.Records.Reads-before, 100, "one look-up each, of the name for the audit log")
	pass(time.Second)
	assert.Equal(t, "59", i.login("192.0.2.1", "carol", "carolpass").Header().Get("Retry-After"), "the store is asked again")
	pass(59 * time.Second)
	assert.Equal(t, http.StatusOK, i.login("192.0.2.1", "carol", "carolpass").Code)
}

// watching is a source of users that notes who goes first.
type watching struct {
	source

	first []bool
}

func (w *watching) logIn(ctx context.Context, name, password string) (records.User, error) {
	w.first = append(w.first, queue.IsFirst(ctx))
	return w.source.logIn(ctx, name, password)
}

func TestWhoLogsInFromWhereTheyAreKnownGoesBeforeStrangers(t *testing.T) {
	t.Parallel()
	i, _ := guarded(t)
	w := &watching{source: i.users}
	i.users = w
	i.login("192.0.2.1", "alice", "wonderland")
	i.login("192.0.2.1", "alice", "wonderland")
	i.login("192.0.2.1", "carol", "carolpass")
	i.login("192.0.2.2", "alice", "wonderland")
	assert.Equal(t, []bool{false, true, false, false}, w.first)
}

func TestCountersThatAreOverTheBoundFillNoMemory(t *testing.T) {
	t.Parallel()
	o := over{now: func() time.Duration { return time.Minute }}
	for n := range 3 * maxOver {
		o.note(strconv.Itoa(n), time.Minute)
		require.LessOrEqual(t, len(o.known), maxOver)
	}
	assert.Positive(t, o.wait(strconv.Itoa(3*maxOver-1)))
	assert.Zero(t, o.wait("another"))
}
