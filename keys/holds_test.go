package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// refetch makes a remote set old, and fetches it anew.
func (w *watched) refetch() {
	w.t.Helper()
	w.move(defaultLifetime)
	w.find("")
	w.settle()
}

func TestKeyHoldsWhileItIsPublishedUnchanged(t *testing.T) {
	t.Parallel()
	other := &must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey
	unchanged := asJWK(&p256().PublicKey, `"kid":"a"`)
	for name, c := range map[string]struct {
		before, after string
		holds         bool
	}{
		"the very same":      {unchanged, asSet(unchanged), true},
		"at another place":   {unchanged, asSet(asJWK(other, `"kid":"b"`), unchanged), true},
		"written otherwise":  {unchanged, asSet(asJWK(&p256().PublicKey, `"kid": "a", "use": "sig", "x5c": ["?"]`)), true},
		"RSA":                {asJWK(&rsaKey().PublicKey, `"kid":"a"`), asSet(asJWK(&rsaKey().PublicKey, `"kid":"a"`)), true},
		"Ed25519":            {asJWK(edKey().Public(), `"kid":"a"`), asSet(asJWK(edKey().Public(), `"kid":"a"`)), true},
		"twice":              {unchanged, asSet(unchanged, unchanged), true},
		"another of its id":  {unchanged, asSet(asJWK(other, `"kid":"a"`)), false},
		"another kind":       {unchanged, asSet(asJWK(edKey().Public(), `"kid":"a"`)), false},
		"another id":         {unchanged, asSet(asJWK(&p256().PublicKey, `"kid":"b"`)), false},
		"no id":              {unchanged, asSet(asJWK(&p256().PublicKey, "")), false},
		"for less":           {asJWK(&rsaKey().PublicKey, `"kid":"a"`), asSet(asJWK(&rsaKey().PublicKey, `"kid":"a","alg":"PS256"`)), false},
		"for encryption":     {unchanged, asSet(asJWK(&p256().PublicKey, `"kid":"a","use":"enc"`)), false},
		"gone":               {unchanged, asSet(asJWK(other, `"kid":"b"`)), false},
		"gone with the rest": {unchanged, asSet(), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.says(asSet(c.before))
			w := watch(t, i.URL)
			before := w.one()
			require.True(t, w.Holds(before.Serial()))
			i.says(c.after)
			w.refetch()
			require.EqualValues(t, 2, i.hits.Load())
			require.Equal(t, c.holds, w.Holds(before.Serial()))
			if c.holds {
				require.Same(t, before, w.one())
				require.True(t, w.Holds(before.Serial()))
			}
		})
	}
}

// one returns the key a, whatever it is for.
func (w *watched) one() *Key {
	w.t.Helper()
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		if found, err := w.Find(w.t.Context(), "a", alg); err == nil {
			require.Len(w.t, found, 1)
			return found[0]
		}
	}
	require.Fail(w.t, "no key a")
	return nil
}

func TestKeyThatWasGoneIsAnotherWhenItIsBack(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	before := w.one()
	i.publishes("b")
	w.refetch()
	require.False(t, w.Holds(before.Serial()))
	i.publishes("a")
	w.refetch()
	require.False(t, w.Holds(before.Serial()), "what it verified has ended")
	require.True(t, w.Holds(w.one().Serial()))
}

func TestHoldsRefetchesInTheBackgroundAndNeverWaits(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	a := w.one()
	require.True(t, w.Holds(a.Serial()))
	require.EqualValues(t, 1, i.hits.Load())

	stalled, release := make(chan struct{}, 1), make(chan struct{})
	i.does(func(w http.ResponseWriter, _ *http.Request) {
		stalled <- struct{}{}
		<-release
		w.WriteHeader(http.StatusBadGateway)
	})
	w.move(defaultLifetime)
	require.False(t, w.Holds(a.Serial()), "the timer's turn was slept through: the issuer is asked first")
	<-stalled
	require.False(t, w.Holds(a.Serial()))
	close(release)
	w.settle()
	require.True(t, w.Holds(a.Serial()), "it was asked in vain")

	i.publishes("b")
	require.True(t, w.Holds(a.Serial()), "not asked again at once")
	require.EqualValues(t, 2, i.hits.Load())
	w.move(firstBackoff)
	w.Holds(a.Serial())
	w.settle()
	require.EqualValues(t, 3, i.hits.Load())
	require.False(t, w.Holds(a.Serial()))
}

func TestK15KeyHoldsForADayWhileTheIssuerIsDownButNoLonger(t *testing.T) {
	inBubble(t, func(t *testing.T, i *issuer, w *watched) {
		i.publishes("a")
		a := w.key("a")
		i.fails()
		pass(maxStale - 1)
		require.True(t, w.Holds(a.Serial()))
		require.Equal(t, accepted, w.findAtOnce("a"))
		pass(1)
		require.False(t, w.Holds(a.Serial()))
		require.Equal(t, unavailable, w.findAtOnce("a"))
	})
}

func TestSleepDuringAnOutageIsNoOutage(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a", "b")
	w := watch(t, i.URL)
	a := w.one()
	i.fails()
	w.refetch()
	require.True(t, w.Holds(a.Serial()))
	i.publishes("b")
	w.move(firstBackoff + 2*fetchTimeout - 1)
	require.True(t, w.ready(a), "the next try may still be under way")
	w.move(1)
	require.False(t, w.ready(a), "it is not: the machine slept, and the issuer may be back")
	require.Equal(t, rejected, w.find("a"))
}

// ready is Holds, without the refetch that it starts.
func (w *watched) ready(key *Key) bool {
	known := w.known.Load()
	return known.ready(w.clock.now()) && slices.Contains(known.keys, key)
}

func TestLifetimeCountsFromWhenTheIssuerWasAsked(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	w := watch(t, i.URL)
	set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
	i.does(func(answer http.ResponseWriter, _ *http.Request) {
		w.move(4 * time.Second)
		_, _ = answer.Write([]byte(set))
	})
	a := w.one()
	w.move(defaultLifetime - 4*time.Second - 1)
	require.True(t, w.Holds(a.Serial()))
	w.move(1)
	require.False(t, w.Holds(a.Serial()))
}

func TestSetIsUsedFromManySidesAtOnce(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a", "b")
	w := watch(t, i.URL)
	a := w.one()
	var users sync.WaitGroup
	for n := range 8 {
		users.Go(func() {
			for range 200 {
				switch n {
				case 0:
					w.move(time.Minute)
				case 1:
					i.publishes("a", "b")
					i.publishes("a")
				case 2:
					w.Status()
				case 3:
					w.find("b") // may be there, or not
				case 4:
					found, err := w.Find(w.t.Context(), "", "ES256")
					outcome(w.t, found, err)
				default:
					assert.Equal(t, accepted, w.find("a"))
				}
				w.Holds(a.Serial())
			}
		})
	}
	users.Wait()
	assert.Same(t, a, w.one(), "it was published all the time")
}

func TestOtherSetsHoldWhatTheyHave(t *testing.T) {
	t.Parallel()
	one, two := must(NewKey("a", "", &p256().PublicKey)), must(NewKey("b", "", edKey().Public()))
	assert.True(t, Static{one}.Holds(one.Serial()))
	assert.False(t, Static{one}.Holds(two.Serial()))
	assert.True(t, Union{Static{one}, Static{two}}.Holds(two.Serial()))
	assert.False(t, Union{Static{one}}.Holds(two.Serial()))

	first, second := must(GenerateSigner()), must(GenerateSigner())
	ring := new(Ring)
	assert.False(t, ring.Holds(first.public.Serial()))
	ring.Set(second, first)
	assert.True(t, ring.Holds(first.public.Serial()))
	ring.Set(second)
	assert.False(t, ring.Holds(first.public.Serial()), "the old key was removed")
	assert.True(t, ring.Holds(second.public.Serial()))
	ring.Set()
	assert.False(t, ring.Holds(second.public.Serial()))
}

func BenchmarkRemote(b *testing.B) {
	i := &issuer{}
	i.publishes("a", "b", "c", "d")
	remote := must(NewRemote("https://idp.example.com/keys", zap.NewNop()))
	remote.source.client.Transport = i
	defer func() { _ = remote.Destruct() }()
	key := must(remote.Find(b.Context(), "d", "ES256"))[0]
	b.Run("Find", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = remote.Find(b.Context(), "d", "ES256")
			}
		})
	})
	b.Run("Holds", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if !remote.Holds(key.Serial()) {
					b.Fail()
				}
			}
		})
	})
}
