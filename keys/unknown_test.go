package keys

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flood looks for 10,000 unknown kids from ten sides.
func (w *watched) flood() {
	var callers sync.WaitGroup
	for n := range 10 {
		callers.Go(func() {
			for m := range 1000 {
				assert.Equal(w.t, rejected, w.find(fmt.Sprintf("kid-%d-%d", n, m)))
			}
		})
	}
	callers.Wait()
}

func TestK30FloodOfUnknownKidsMakesOneFetchIn30Seconds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		known string // what is looked for first
		first int64  // fetches after the first flood
	}{
		"cold":                            {"", 1},
		"warm":                            {"a", 2},
		"warm, by a token without a kid":  {"-", 2},
		"cold, and an unknown kid before": {"b", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.publishes("a")
			w := watch(t, i.URL)
			switch c.known {
			case "":
			case "-":
				require.Equal(t, accepted, w.find(""))
			case "a":
				require.Equal(t, accepted, w.find("a"))
			default:
				require.Equal(t, rejected, w.find(c.known))
			}
			w.flood()
			require.Equal(t, c.first, i.hits.Load())
			w.move(refetchEvery - time.Second)
			w.flood()
			require.Equal(t, c.first, i.hits.Load())
			w.move(time.Second)
			w.flood()
			require.Equal(t, c.first+1, i.hits.Load())
			require.Equal(t, accepted, w.find("a"))
		})
	}
}

// All of them come while the very first fetch is under way.
func TestK30UnknownKidsThatWaitForTheFirstFetchMakeNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
		i.does(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			_, _ = w.Write([]byte(set))
		})
		var callers sync.WaitGroup
		for n := range 1000 {
			callers.Go(func() { assert.Equal(t, rejected, w.find(fmt.Sprint(n))) })
		}
		synctest.Wait()
		require.EqualValues(t, 1, i.hits.Load())
		began := time.Now()
		callers.Wait()
		require.Equal(t, time.Second, time.Since(began))
		require.EqualValues(t, 1, i.hits.Load())

		pass(refetchEvery - time.Second - 1)
		require.Equal(t, rejected, w.findAtOnce("b"))
		pass(1)
		require.Equal(t, rejected, w.find("b"), "30 s count from the first fetch's start")
		require.EqualValues(t, 2, i.hits.Load())
	})
}

func TestKeyThatIsNewSecondsAfterTheFirstFetchIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	require.Equal(t, accepted, w.find("a"))
	i.publishes("a", "b")
	w.move(time.Second)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() { assert.Equal(t, accepted, w.find("b")) })
	}
	callers.Wait()
	require.EqualValues(t, 2, i.hits.Load())
	w.move(refetchEvery - time.Second)
	w.flood()
	require.EqualValues(t, 2, i.hits.Load(), "a look for a kid counts, whether it was found or not")
}

func TestIssuerThatAsksToBeLeftAloneIsNotAskedForUnknownKidsEither(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		i.publishes("a")
		require.Equal(t, accepted, w.find("a"))
		i.does(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "300")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		pass(defaultLifetime)
		require.EqualValues(t, 2, i.hits.Load())
		require.Equal(t, unavailable, w.findAtOnce("b"))
		require.Equal(t, accepted, w.findAtOnce("a"))
		require.EqualValues(t, 2, i.hits.Load())
	})
}

func TestFloodWhileTheIssuerIsDownIsNeverToldThatItsTokensAreWrong(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		flood := func(want string) {
			t.Helper()
			for n := range 1000 {
				assert.Equal(t, want, w.find(fmt.Sprint(n)))
			}
		}
		i.fails()
		flood(unavailable)
		require.EqualValues(t, 1, i.hits.Load())
		i.publishes("a")
		pass(firstBackoff)
		flood(rejected)
		require.EqualValues(t, 3, i.hits.Load(), "the timer's, and one for all of them")
		require.Equal(t, accepted, w.findAtOnce("a"))

		i.fails()
		pass(refetchEvery)
		flood(unavailable)
		require.EqualValues(t, 4, i.hits.Load())
		require.Equal(t, accepted, w.findAtOnce("a"))
	})
}

// A stalled issuer: those who wait for an unknown kid share one fetch, and each
// of them can give up.
func TestK33ManyWaitForOneFetchThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		i.stalls()
		began := time.Now()
		var callers sync.WaitGroup
		for n := range 1000 {
			callers.Go(func() { assert.Equal(t, unavailable, w.find(fmt.Sprint(n%10))) })
		}
		callers.Wait()
		require.Equal(t, fetchTimeout, time.Since(began))
		require.EqualValues(t, 1, i.hits.Load())
	})
}
