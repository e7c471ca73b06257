package keys

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// RoundTrip answers in memory: in a bubble, time passes only where nothing
// waits for a socket.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	i.ServeHTTP(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}

// stalls says that the issuer takes requests and never answers.
func (i *issuer) stalls() {
	i.does(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// fails says that the issuer answers with errors.
func (i *issuer) fails() {
	i.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
}

// inBubble runs a test in which time passes when everything waits for it.
func inBubble(t *testing.T, test func(t *testing.T, i *issuer, w *watched)) {
	t.Helper()
	t.Parallel()
	p256() // outside, where it may be waited for by other tests
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		w := watch(t, "https://idp.example.com/keys")
		w.source.client.Transport = i
		w.Remote.now = time.Now
		test(t, i, w)
	})
}

// pass lets time pass, and what is due then be done.
func pass(by time.Duration) {
	time.Sleep(by)
	synctest.Wait()
}

// findAtOnce looks for a key, which must take no time at all.
func (w *watched) findAtOnce(kid string) string {
	w.t.Helper()
	began := time.Now()
	got := w.find(kid)
	require.Zero(w.t, time.Since(began), "it waited")
	return got
}

// key returns the key that is found for a kid.
func (w *watched) key(kid string) *Key {
	w.t.Helper()
	found, err := w.Find(w.t.Context(), kid, "ES256")
	require.NoError(w.t, err)
	require.Len(w.t, found, 1)
	return found[0]
}

func TestSetIsRefetchedBeforeItIsOldThoughNobodyComesBy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header   string
		lifetime time.Duration
	}{
		"default":    {"", 15 * time.Minute},
		"max-age":    {"public, Max-Age=300", 5 * time.Minute},
		"quoted":     {`max-age="300"`, 5 * time.Minute},
		"too short":  {"max-age=0", time.Minute},
		"too long":   {"max-age=999999", time.Hour},
		"not usable": {"max-age=-1", 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *issuer, w *watched) {
				publish := func(kid string) {
					set := asSet(asJWK(&p256().PublicKey, `"kid":"`+kid+`"`))
					i.does(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Cache-Control", c.header)
						_, _ = w.Write([]byte(set))
					})
				}
				publish("a")
				a := w.key("a")
				publish("b")
				pass(c.lifetime*75/100 - 1)
				require.EqualValues(t, 1, i.hits.Load(), "too early")
				require.True(t, w.Holds(a.Serial()))
				require.Equal(t, accepted, w.findAtOnce("a"))
				pass(c.lifetime*10/100 + 2)
				require.EqualValues(t, 2, i.hits.Load(), "too late")
				require.False(t, w.Holds(a.Serial()), "the issuer has taken the key back")
				require.Equal(t, accepted, w.findAtOnce("b"))
				require.Equal(t, rejected, w.findAtOnce("a"))

				before := i.hits.Load()
				pass(100 * c.lifetime)
				require.InDelta(t, 100/0.8, i.hits.Load()-before, 8)
				require.Equal(t, accepted, w.findAtOnce("b"))
			})
		})
	}
}

func TestGatewaysDoNotRefetchAllAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *issuer, _ *watched) {
		times := make(map[time.Duration]bool)
		for range 20 {
			i, w := new(issuer), watch(t, "https://idp.example.com/keys")
			w.source.client.Transport, w.Remote.now = i, time.Now
			i.publishes("a")
			w.find("a")
			began := time.Now()
			for i.hits.Load() == 1 {
				pass(time.Second)
			}
			times[time.Since(began)] = true
		}
		assert.Greater(t, len(times), 5)
	})
}

func TestNothingIsEverFetchedOfASetThatNobodyAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		i.publishes("a")
		pass(48 * time.Hour)
		assert.False(t, w.Holds(new(Key).Serial()))
		pass(48 * time.Hour)
		assert.Zero(t, i.hits.Load())
	})
}

func TestK12StalledIssuerHoldsUpNoKnownKey(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		i.publishes("a")
		a := w.key("a")
		i.stalls()
		for range 24*60*4 - 1 { // every 15 s, so that fetches are met under way
			pass(15 * time.Second)
			require.Equal(t, accepted, w.findAtOnce("a"))
			require.True(t, w.Holds(a.Serial()))
		}
		// It is tried with the backoff that there is, and each try takes 5 s.
		require.InDelta(t, 24*60*60/305, i.hits.Load(), 15)
		require.Equal(t, unavailable, w.find("b"), "it may be a new key, for all we know")
		require.Equal(t, 1, w.logs.Len(), "told once")
		require.Equal(t, Status{
			URL: "https://idp.example.com/keys", Keys: 1, Usable: true, Fetched: w.Status().Fetched, Failing: true, Fetches: 1, Failures: uint64(i.hits.Load() - 1),
		}, w.Status())

		pass(15 * time.Second)
		require.False(t, w.Holds(a.Serial()), "a day is over")
		require.Equal(t, unavailable, w.find("a"))
		require.Zero(t, w.Status().Keys)
		require.False(t, w.Status().Usable)

		i.publishes("a")
		pass(maxBackoff + fetchTimeout)
		require.Equal(t, accepted, w.findAtOnce("a"), "it recovers by itself")
		require.True(t, w.Holds(a.Serial()))
		require.Equal(t, 1, w.logs.FilterMessage("key set can be fetched again").Len())
		require.False(t, w.Status().Failing)
		require.EqualValues(t, 2, w.Status().Fetches)
	})
}

func TestK14IssuerThatIsDownAtStartIsTriedInTheBackground(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		i.fails()
		require.Equal(t, unavailable, w.findAtOnce("a"))
		require.Equal(t, Status{URL: "https://idp.example.com/keys", Failing: true, Failures: 1}, w.Status())
		for n, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			pass(time.Duration(seconds)*time.Second - 1)
			require.EqualValues(t, n+1, i.hits.Load(), "too early")
			require.Equal(t, unavailable, w.findAtOnce("a"))
			pass(1)
			require.EqualValues(t, n+2, i.hits.Load(), "after %ds", seconds)
		}
		i.publishes("a")
		pass(maxBackoff)
		require.Equal(t, accepted, w.findAtOnce("a"), "no request waits for the issuer that is back")
		hits := i.hits.Load()
		i.fails()
		pass(defaultLifetime)
		require.Equal(t, accepted, w.findAtOnce("a"))
		require.Greater(t, i.hits.Load(), hits+2, "the backoff begins anew")
	})
}

func TestK34DestructEndsTheTimerAndTheFetchUnderWay(t *testing.T) {
	t.Parallel()
	t.Run("between fetches", func(t *testing.T) {
		inBubble(t, func(t *testing.T, i *issuer, w *watched) {
			i.publishes("a")
			require.Equal(t, accepted, w.find("a"))
			require.NoError(t, w.Destruct())
			pass(48 * time.Hour)
			require.EqualValues(t, 1, i.hits.Load())
		})
	})
	t.Run("during a fetch", func(t *testing.T) {
		inBubble(t, func(t *testing.T, i *issuer, w *watched) {
			i.publishes("a")
			require.Equal(t, accepted, w.find("a"))
			i.stalls()
			pass(defaultLifetime*75/100 - 1)
			for i.hits.Load() == 1 {
				pass(time.Second)
			}
			require.NoError(t, w.Destruct())
			began := time.Now()
			w.settle()
			require.Zero(t, time.Since(began), "at once, and not after the time limit")
			pass(48 * time.Hour)
			require.EqualValues(t, 2, i.hits.Load())
			require.Zero(t, w.logs.Len(), "being closed is no outage")
		})
	})
	t.Run("before the first", func(t *testing.T) {
		inBubble(t, func(t *testing.T, i *issuer, w *watched) {
			i.publishes("a")
			require.NoError(t, w.Destruct())
			require.Equal(t, unavailable, w.findAtOnce("a"))
			pass(48 * time.Hour)
			require.Equal(t, unavailable, w.findAtOnce("a"))
		})
	})
}

// A machine that slept has a monotonic clock that stood still.
func TestTimeThatAMachineSleptCounts(t *testing.T) {
	t.Parallel()
	slept := func(t time.Time, by time.Duration) time.Time {
		t = t.Add(by)
		monotonic := &(*struct {
			wall uint64
			ext  int64
			loc  *time.Location
		})(unsafe.Pointer(&t)).ext
		*monotonic -= int64(by)
		return t
	}
	now := time.Now()
	later := slept(now, time.Hour)
	require.Zero(t, later.Sub(now), "Go's own difference does not see it")
	require.Equal(t, time.Hour, age(now, later))
	require.Equal(t, time.Minute, age(now, slept(now.Add(time.Minute), -time.Hour)), "nor does setting the clock back make a set younger")
	require.Equal(t, time.Minute, age(now, now.Add(time.Minute)))
}
