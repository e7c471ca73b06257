package faults

import (
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// staleness is how long who is known is let through while Redis is away.
const staleness = time.Second

// The timeout is longer than that of most gateways: many of these run on few cores,
// and one that is late for that has no outage.
const (
	timeout  = "timeout 1s"
	uncached = timeout + "\n cache off"
	cached   = timeout + "\n cache 1000 {\n max_staleness 1s\n}"
)

// slow is what a busy machine may add to a promise.
const slow = 2 * time.Second

func TestRedisThatGoesAwayUnderLoad(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*redistest.Server){
		"D02 killed":    (*redistest.Server).Kill,
		"D03 shut down": (*redistest.Server).Shutdown,
		"D04 hung":      (*redistest.Server).Stop,
	} {
		for cache, options := range map[string]string{"cached": cached, "uncached": uncached} {
			t.Run(name+", "+cache, func(t *testing.T) {
				t.Parallel()
				redis := startFilled(t, "--appendonly", "yes")
				g, up := start(t, redis.URL(), options)
				through(t, g, up)
				c := startCrowd(t, g, up, members()...)
				c.awaitsOnly(http.StatusOK, 5*time.Second)
				before := footprintOf(t, g)

				down(redis)
				began := time.Now()
				c.awaits(http.StatusServiceUnavailable, staleness+slow)
				c.awaitsOnly(http.StatusServiceUnavailable, staleness+slow)
				t.Logf("nobody passes %v after it", time.Since(began))

				if name == "D04 hung" {
					redis.Continue()
				} else {
					redis.Restart(t)
				}
				c.recovers(2*time.Second + slow)
				settles(t, g, before)
				c.end(1)
				assert.Less(t, c.slowest, 4*time.Second, "the timeout is 1s")
			})
		}
	}
}

func TestD01RedisThatIsNotThereAtStart(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"refuses": false, "accepts and is silent": true} {
		t.Run("D01 "+name, func(t *testing.T) {
			t.Parallel()
			redis := startFilled(t)
			w := startWire(t, redis.Addr)
			if silent {
				w.poison("timeout", map[string]any{"timeout": 0})
			} else {
				w.set(false)
			}
			g, up := start(t, "redis://"+w.Addr, cached)
			c := startCrowd(t, g, up, members()...)
			c.awaitsOnly(http.StatusServiceUnavailable, 5*time.Second)
			assert.Zero(t, c.count(http.StatusOK))
			if silent {
				w.heal("timeout")
			} else {
				w.set(true)
			}
			c.recovers(2*time.Second + slow)
			c.end(1)
		})
	}
}

// A name that does not resolve is an outage as any other.
func TestD31RedisWhoseNameIsUnknown(t *testing.T) {
	t.Parallel()
	g, up := start(t, "redis://redis.invalid:6379", cached)
	c := startCrowd(t, g, up, members()...)
	c.awaitsOnly(http.StatusServiceUnavailable, 10*time.Second)
	c.stop()
	assert.Zero(t, c.count(http.StatusOK))
	told(t, g, 1)
}

// Up and down again and again: nobody is logged out, and Redis is not stormed.
func TestD08FlappingRedis(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	door := startRevolvingDoor(t, redis.Addr)
	g, up := start(t, "redis://"+door.Addr, uncached)
	through(t, g, up)
	before := footprintOf(t, g)
	c := startCrowd(t, g, up, members()...)
	began, dialled := time.Now(), door.dials.Load()
	rounds := 0
	for end := time.Now().Add(lasting(t, 4*time.Second)); time.Now().Before(end); rounds++ {
		door.shut(true)
		time.Sleep(200 * time.Millisecond)
		door.shut(false)
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("%.1f connections a second", float64(door.dials.Load()-dialled)/time.Since(began).Seconds())
	assert.LessOrEqual(t, door.most(), 2*10*runtime.NumCPU()+4, "connections at once")
	c.recovers(2*time.Second + slow)
	settles(t, g, before)
	c.end(rounds)
}

func TestD43OfTwoGatewaysOneIsPartitioned(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	w := startWire(t, redis.Addr)
	cut, up := start(t, "redis://"+w.Addr, cached)
	whole, upOfWhole := start(t, redis.URL(), cached)
	through(t, cut, up)
	through(t, whole, upOfWhole)
	crowds := []*crowd{startCrowd(t, cut, up, members()...), startCrowd(t, whole, upOfWhole, members()...)}
	for _, c := range crowds {
		c.awaitsOnly(http.StatusOK, 5*time.Second)
		c.mayEnd("user-0")
	}
	w.poison("timeout", map[string]any{"timeout": 0})
	began := time.Now()
	redis.Do(t, "DEL", "sess:s0")
	harness.Eventually(t, slow, func() bool { return crowds[1].get(0) == http.StatusUnauthorized }, "the whole one goes on")
	for {
		asked := time.Now()
		if status := crowds[0].get(0); status != http.StatusOK {
			assert.Equal(t, http.StatusServiceUnavailable, status, "it can't know")
			break
		}
		require.Less(t, asked.Sub(began), staleness+50*time.Millisecond, "revoked, and served for longer than promised")
	}
	crowds[0].awaitsOnly(http.StatusServiceUnavailable, staleness+slow)
	w.heal("timeout")
	harness.Eventually(t, 3*time.Second, func() bool { return crowds[0].get(0) == http.StatusUnauthorized }, "does not recover")
	for _, c := range crowds {
		c.stop()
		c.lossless()
	}
}
