package keys

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// issuer is a JWKS server that does as it is told.
type issuer struct {
	*httptest.Server

	hits   atomic.Int64
	answer atomic.Value // http.HandlerFunc
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := new(issuer)
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.hits.Add(1)
	i.answer.Load().(http.HandlerFunc)(w, r)
}

func (i *issuer) does(answer http.HandlerFunc) { i.answer.Store(answer) }

func (i *issuer) says(text string) {
	i.does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
}

// publishes says that the issuer has keys of these ids.
func (i *issuer) publishes(kids ...string) {
	keys := make([]string, len(kids))
	for n, kid := range kids {
		keys[n] = asJWK(&p256().PublicKey, `"kid":"`+kid+`"`)
	}
	i.says(asSet(keys...))
}

// clock stands still until it is moved.
type clock struct{ since atomic.Int64 }

func (c *clock) now() time.Time        { return time.Unix(1e9, 0).Add(time.Duration(c.since.Load())) }
func (c *clock) move(by time.Duration) { c.since.Add(int64(by)) }

// watched is a remote set of which the test sees everything.
type watched struct {
	*Remote
	*clock

	t    *testing.T
	logs *observer.ObservedLogs
}

func watch(t *testing.T, url string) *watched {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	remote, err := NewRemote(url, zap.New(core))
	require.NoError(t, err)
	w := &watched{remote, new(clock), t, logs}
	remote.now = w.clock.now
	t.Cleanup(func() {
		require.NoError(t, remote.Destruct())
		w.settle()
	})
	return w
}

// settle waits until no fetch is under way.
func (w *watched) settle() {
	w.mu.Lock()
	flight := w.flight
	w.mu.Unlock()
	if flight != nil {
		<-flight.done
	}
}

// The outcomes of looking for a key.
const (
	accepted    = "accepted"
	rejected    = "rejected"
	unavailable = "unavailable"
)

func (w *watched) find(kid string) string {
	w.t.Helper()
	found, err := w.Find(w.t.Context(), kid, "ES256")
	return outcome(w.t, found, err)
}

func outcome(t *testing.T, found []*Key, err error) string {
	t.Helper()
	switch {
	case err == nil:
		require.NotEmpty(t, found)
		return accepted
	case errors.Is(err, ErrNoKey):
		require.Empty(t, found)
		return rejected
	}
	return unavailable
}

func TestNothingIsFetchedBeforeItIsNeeded(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	require.Zero(t, i.hits.Load())
	require.Equal(t, accepted, w.find("a"))
	require.Equal(t, accepted, w.find(""))
	require.Equal(t, accepted, w.find("a"))
	require.EqualValues(t, 1, i.hits.Load())
}

func TestK01K02RotatedKeyIsFetchedAtOnceAndTheOldOneVerifiesOn(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	require.Equal(t, accepted, w.find("a"))
	i.publishes("a", "b")
	require.Equal(t, accepted, w.find("b"), "one refetch, which is waited for")
	require.Equal(t, accepted, w.find("a"))
	require.EqualValues(t, 2, i.hits.Load())
}

func TestKnownKidOfAnotherAlgorithmIsNotSought(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	found, err := w.Find(t.Context(), "a", "RS256")
	require.Equal(t, rejected, outcome(t, found, err))
	require.EqualValues(t, 1, i.hits.Load())
}

func TestK33FirstCallersShareOneFetch(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
	i.does(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = w.Write([]byte(set))
	})
	w := watch(t, i.URL)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() { assert.Equal(t, accepted, w.find("a")) })
	}
	<-arrived

	// A caller that gives up takes nobody along.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Find(ctx, "a", "ES256")
	require.ErrorIs(t, err, context.Canceled)
	close(release)
	callers.Wait()
	require.EqualValues(t, 1, i.hits.Load())
}

func TestK03KeyTakenBackWhileTheMachineSleptIsNotUsed(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	require.Equal(t, accepted, w.find("a"))
	i.publishes("b")
	w.move(defaultLifetime)
	require.Equal(t, rejected, w.find("a"), "the timer's turn was slept through")
}

func TestK04EmptySetIsAnAnswer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	require.Equal(t, accepted, w.find("a"))
	i.says(`{"keys":[]}`)
	w.move(defaultLifetime)
	w.find("a")
	w.settle()
	require.Equal(t, rejected, w.find("a"))
	require.Equal(t, rejected, w.find(""))
	require.Equal(t, 1, w.logs.FilterMessageSnippet("holds no key that can be used").Len())
}

func TestK05K07UnusableKeysOfAnIssuerAreSkippedWithOneWarningEach(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	even := rsaKey().PublicKey
	even.N = new(big.Int).Add(even.N, big.NewInt(1))
	jwks := []string{
		`{"kty":"AKP","kid":"new","alg":"ML-DSA-44","pub":"AA"}`,
		strings.Replace(asJWK(&p256().PublicKey, `"kid":"curve"`), "P-256", "P-9", 1),
		asJWK(&rsaKey().PublicKey, `"kid":"alg","alg":"XS256"`),
		asJWK(&weak().PublicKey, `"kid":"weak"`),
		asJWK(&even, `"kid":"even"`),
		asJWK(roca(), `"kid":"roca"`),
		asJWK(make([]byte, 64), `"kid":"secret"`),
		`{"kty":"EC","crv":"P-256","kid":"off","x":"AQ","y":"AQ"}`,
		asJWK(make(ed25519.PublicKey, 32), `"kid":"small"`),
		asJWK(edKey().Public(), `"kid":"private","d":"AA"`),
		asJWK(&p256().PublicKey, `"kid":"a"`),
	}
	i.says(asSet(jwks...))
	w := watch(t, i.URL)
	for range 3 {
		require.Equal(t, accepted, w.find("a"))
		w.move(defaultLifetime)
		w.find("a")
		w.settle()
	}
	require.EqualValues(t, 4, i.hits.Load())
	warnings := w.logs.FilterMessage("key of a set is not used").All()
	told := make([]string, 0, len(warnings))
	for _, entry := range warnings {
		told = append(told, entry.ContextMap()["error"].(string))
	}
	require.Len(t, told, len(jwks)-2)
	loud := w.logs.FilterMessageSnippet("publishes a private key").All()
	require.Len(t, loud, 1)
	require.Equal(t, zapcore.ErrorLevel, loud[0].Level)
	told = append(told, loud[0].ContextMap()["error"].(string))
	for n, kid := range []string{"new", "curve", "alg", "weak", "even", "roca", "secret", "off", "small", "private"} {
		assert.Contains(t, told[n], `"`+kid+`"`)
		assert.Equal(t, rejected, w.find(kid))
	}
}

// Every fault leaves the last good set as it was, and makes an issuer that was
// never reached unavailable.
func TestFaultsOfAnIssuer(t *testing.T) {
	t.Parallel()
	elsewhere := newIssuer(t)
	elsewhere.publishes("evil")
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	good := asSet(asJWK(&p256().PublicKey, `"kid":"evil"`))
	many := make([]string, 101)
	for n := range many {
		many[n] = asJWK(&p256().PublicKey, `"kid":"evil"`)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 50<<20))
	_, _ = z.Write([]byte(good))
	_ = z.Close()

	for name, fault := range map[string]http.HandlerFunc{
		"K13 500":         answer(500, good),
		"K13 403":         answer(403, good),
		"K09 204":         answer(204, ""),
		"K09 206":         answer(206, good),
		"K09 empty":       answer(200, ""),
		"K09 HTML":        answer(200, "<html>"),
		"K09 an object":   answer(200, "{}"),
		"K09 a list":      answer(200, "["+good+"]"),
		"K09 byte order":  answer(200, "\ufeff"+good),
		"K09 more behind": answer(200, good+good),
		"K09 keys twice":  answer(200, `{"keys":[],`+good[1:]),
		"K09 PEM":         answer(200, inPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&p256().PublicKey)))),
		"K09 single JWK":  answer(200, asJWK(&p256().PublicKey, `"kid":"evil"`)),
		"K11 too many":    answer(200, asSet(many...)),
		"K10 too large":   answer(200, strings.Repeat(" ", 1<<20)+good),
		"K10 gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
		"K18 other host": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"K18 metadata": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		},
		"K18 other scheme": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://"+r.Host, http.StatusFound) },
		"K18 a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"K18 endless redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		},
		"K12 cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write([]byte(good))
		},
		"K12 hung up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"K10 endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		},
		"K10 drips": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
		"K09 other encoding": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			_, _ = w.Write([]byte("\x0b\x02\x80{}\x03"))
		},
		"K10 long header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			_, _ = w.Write([]byte(good))
		},
		"K12 stalled": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.does(fault)
			fresh := watch(t, i.URL+"/x")
			if name == "K12 stalled" || name == "K10 drips" {
				fresh.source.timeout = 50 * time.Millisecond
			}
			require.Equal(t, unavailable, fresh.find("a"), "down at start")
			require.Equal(t, unavailable, fresh.find("evil"))
			i.publishes("a")
			require.Equal(t, unavailable, fresh.find("a"), "not asked again at once")
			fresh.move(firstBackoff)
			require.Equal(t, accepted, fresh.find("a"), "it recovers by itself")

			i.does(fault)
			fresh.move(defaultLifetime)
			require.Equal(t, accepted, fresh.find("a"))
			fresh.settle()
			require.Equal(t, accepted, fresh.find("a"), "the last good set stays")
			require.Equal(t, unavailable, fresh.find("evil"), "it may be a new key, for all we know")
			assert.Equal(t, 2, fresh.logs.FilterMessageSnippet("can't be fetched").Len(), "told once an outage")
			assert.Equal(t, 1, fresh.logs.FilterMessageSnippet("can be fetched again").Len())
		})
	}
	t.Cleanup(func() { assert.Zero(t, elsewhere.hits.Load(), "no redirect to another origin is followed") })
}

func TestK18RedirectsWithinTheOriginAreFollowed(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
	i.does(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.Path) <= maxRedirects {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte(set))
	})
	require.Equal(t, accepted, watch(t, i.URL+"/").find("a"))
}

func TestK13IssuerMayBeDownForADayButNoLonger(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publishes("a")
	w := watch(t, i.URL)
	require.Equal(t, accepted, w.find("a"))
	i.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for range 23 {
		w.move(time.Hour)
		require.Equal(t, accepted, w.find("a"))
		w.settle()
	}
	w.move(time.Hour)
	require.Equal(t, unavailable, w.find("a"))
	i.publishes("a")
	w.move(maxBackoff)
	require.Equal(t, accepted, w.find("a"))
}

func TestK13FailedFetchesAreTriedLessAndLess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after string
		waits []int
	}{
		"by ourselves":       {"", []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}},
		"as the issuer asks": {"60", []int{60, 120, 240, 300}},
		"within bounds":      {"999999", []int{300, 300}},
		"but not by a date":  {"Wed, 21 Oct 2026 07:28:00 GMT", []int{1, 2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.does(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", c.after)
				w.WriteHeader(http.StatusTooManyRequests)
			})
			w := watch(t, i.URL)
			require.Equal(t, unavailable, w.find("a"))
			for n, seconds := range c.waits {
				w.move(time.Duration(seconds)*time.Second - 1)
				require.Equal(t, unavailable, w.find("a"))
				require.EqualValues(t, n+1, i.hits.Load(), "too early")
				w.move(1)
				require.Equal(t, unavailable, w.find("a"))
				require.EqualValues(t, n+2, i.hits.Load(), "after %ds", seconds)
			}
			assert.Equal(t, 1, w.logs.Len(), "told once")
		})
	}
}

func TestK19DiscoveryTakesTheKeysOfThatVeryIssuer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		issuer   string // behind the server's address
		document string // $ stands for the server's address
		want     string
	}{
		"good":              {"", `{"issuer":"$","jwks_uri":"$/keys","id_token_signing_alg_values_supported":["none"]}`, accepted},
		"with a path":       {"/realms/a", `{"issuer":"$/realms/a","jwks_uri":"$/keys"}`, accepted},
		"with a slash":      {"/", `{"issuer":"$/","jwks_uri":"$/keys"}`, accepted},
		"slash too many":    {"/", `{"issuer":"$","jwks_uri":"$/keys"}`, unavailable},
		"slash too few":     {"", `{"issuer":"$/","jwks_uri":"$/keys"}`, unavailable},
		"another issuer":    {"", `{"issuer":"https://evil.example","jwks_uri":"$/keys"}`, unavailable},
		"another realm":     {"/realms/a", `{"issuer":"$/realms/b","jwks_uri":"$/keys"}`, unavailable},
		"no issuer":         {"", `{"jwks_uri":"$/keys"}`, unavailable},
		"issuer twice":      {"", `{"issuer":"$","issuer":"$","jwks_uri":"$/keys"}`, unavailable},
		"other case":        {"", `{"ISSUER":"$","JWKS_URI":"$/keys"}`, unavailable},
		"no keys":           {"", `{"issuer":"$"}`, unavailable},
		"more behind it":    {"", `{"issuer":"$","jwks_uri":"$/keys"}` + strings.Repeat(" ", maxSetBytes) + "x", unavailable},
		"keys elsewhere":    {"", `{"issuer":"$","jwks_uri":"https://169.254.169.254/keys"}`, unavailable},
		"keys over http":    {"", `{"issuer":"$","jwks_uri":"http://192.0.2.1/keys"}`, unavailable},
		"keys in a file":    {"", `{"issuer":"$","jwks_uri":"file:///etc/passwd"}`, unavailable},
		"keys by password":  {"", `{"issuer":"$","jwks_uri":"https://a:b@idp.example/keys"}`, unavailable},
		"keys at a number":  {"", `{"issuer":"$","jwks_uri":1}`, unavailable},
		"keys are here too": {"", `{"issuer":"$","keys":[]}`, unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
			i.does(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case strings.TrimSuffix(c.issuer, "/") + discoveryPath:
					_, _ = w.Write([]byte(strings.ReplaceAll(c.document, "$", i.URL)))
				case "/keys":
					_, _ = w.Write([]byte(set))
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			})
			require.Equal(t, c.want, watch(t, DiscoveryURL(i.URL+c.issuer)).find("a"))
		})
	}
}

func TestK16AddressesThatAreNotSafeAreRefused(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://idp.example.com/keys": true, "http://localhost:8080/keys": true, "http://127.0.0.1/": true, "http://[::1]:1/": true,
		"http://idp.example.com/keys": false, "http://localhost.evil.example/": false, "http://127.0.0.1.evil.example/": false, "http://0.0.0.0/": false,
		"ftp://idp.example.com": false, "file:///etc/passwd": false, "idp.example.com": false, "https://": false, "https://:443": false,
		"https://user:password@idp.example.com": false, "": false, "https://a b": false,
	} {
		_, err := NewRemote(address, zap.NewNop())
		assert.Equal(t, good, err == nil, "%s: %v", address, err)
		if err != nil {
			assert.NotContains(t, err.Error(), "password")
		}
	}
}
