package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// Callers go away at any moment of a look-up, while Redis hangs now and then: nobody
// gets the answer that was another's, no session ends by it, and the log has nothing
// to say of it.
func TestD07D20CallersWhoGoAway(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), uncached)
	through(t, g, up)
	before := footprintOf(t, g)
	quit := make(chan struct{})
	var all sync.WaitGroup
	var whole, passed, left atomic.Int64
	for n := range 2 * size {
		all.Go(func() {
			m := sessionOf(n % size)
			for {
				select {
				case <-quit:
					return
				default:
				}
				patience := time.Duration(rand.IntN(50_000)) * time.Microsecond
				if rand.IntN(3) == 0 {
					patience = time.Minute
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				a, err := g.Try(ctx, http.MethodGet, "/"+m.name, "", m.header)
				cancel()
				if err != nil {
					left.Add(1)
					continue
				}
				whole.Add(1)
				if a.Status == http.StatusOK {
					passed.Add(1)
				}
				assert.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, a.Status)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for end := time.Now().Add(lasting(t, 3*time.Second)); time.Now().Before(end); {
		redis.Stop()
		time.Sleep(30 * time.Millisecond)
		redis.Continue()
		time.Sleep(70 * time.Millisecond)
	}
	close(quit)
	all.Wait()
	t.Logf("%d were answered, %d went away", whole.Load(), left.Load())
	assert.Positive(t, left.Load())
	assert.Positive(t, passed.Load())
	judge(t, up.Taken(), int(passed.Load()), int(whole.Load()+left.Load()))
	for n := range size {
		assert.Equal(t, http.StatusOK, g.Get(fmt.Sprintf("/user-%d", n), sessionOf(n).header).Status, "a session has ended by it")
	}
	settles(t, g, before)
	told(t, g, 1)
	assert.Empty(t, g.Log.Lines("context canceled"))
	harness.Eventually(t, 5*time.Second, func() bool { return clients(t, redis) <= 24 }, "connections are left")
}
