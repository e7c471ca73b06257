package faults

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// An answer that is late but not too late serves; one that is too late is 503, and
// what was found out before is not asked for.
func TestRedisThatIsSlow(t *testing.T) {
	t.Parallel()
	for name, toxic := range map[string]struct {
		kind   string
		with   map[string]any
		serves bool
	}{
		"D05 100 ms late":      {"latency", map[string]any{"latency": 100, "jitter": 50}, true},
		"D05 3 s late":         {"latency", map[string]any{"latency": 3000, "jitter": 500}, false},
		"D06 byte by byte":     {"slicer", map[string]any{"average_size": 1, "size_variation": 0, "delay": 1000}, true},
		"D06 a byte in 200 ms": {"slicer", map[string]any{"average_size": 1, "size_variation": 0, "delay": 200_000}, false},
		"D06 no bandwidth":     {"bandwidth", map[string]any{"rate": 0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := startFilled(t)
			w := startWire(t, redis.Addr)
			g, up := start(t, "redis://"+w.Addr, uncached)
			through(t, g, up)
			before := footprintOf(t, g)
			c := startCrowd(t, g, up, members()...)
			c.awaitsOnly(http.StatusOK, 5*time.Second)
			w.poison(toxic.kind, toxic.with)
			if toxic.serves {
				c.awaits(http.StatusOK, 5*time.Second)
				c.awaitsOnly(http.StatusOK, 5*time.Second)
			} else {
				c.awaitsOnly(http.StatusServiceUnavailable, 5*time.Second)
			}
			w.heal(toxic.kind)
			c.recovers(2*time.Second + slow)
			settles(t, g, before)
			c.end(1)
			assert.Less(t, c.slowest, 4*time.Second, "the timeout is 1s")
		})
	}
}

// Who is known is not held up by a Redis that is slow to tell others.
func TestD05KnownCallersDoNotWaitForASlowRedis(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	w := startWire(t, redis.Addr)
	g, up := start(t, "redis://"+w.Addr, timeout+"\n cache 1000 {\n max_staleness 20s\n}")
	through(t, g, up)
	c := startCrowd(t, g, up, members()...)
	c.awaitsOnly(http.StatusOK, 5*time.Second)
	awaitKept(t, redis, c)
	w.poison("latency", map[string]any{"latency": 5000})
	failed := c.count(http.StatusServiceUnavailable)
	for range 50 {
		c.awaits(http.StatusOK, 2*time.Second)
	}
	assert.Equal(t, failed, c.count(http.StatusServiceUnavailable))
	assert.Equal(t, http.StatusServiceUnavailable, g.Get("/liar", "Cookie: sid=unknown").Status)
	c.stop()
	c.lossless()
}
