package integration

import (
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// idp is an issuer whose endpoints do as they are told.
type idp struct {
	*httptest.Server

	fetches       atomic.Int64 // of the key set
	configuration atomic.Value // http.HandlerFunc
	keys          atomic.Value // http.HandlerFunc
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	i := preparedIDP(t)
	i.Start()
	return i
}

// preparedIDP is an issuer that nobody can reach yet.
func preparedIDP(t *testing.T) *idp {
	t.Helper()
	i := new(idp)
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.configuration.Load().(http.HandlerFunc)(w, r)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.keys.Load().(http.HandlerFunc)(w, r)
	})
	i.Server = httptest.NewUnstartedServer(mux)
	i.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.configured(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s/keys"}`, i.URL, i.URL)
	})
	t.Cleanup(func() {
		i.CloseClientConnections() // some requests are never answered
		i.Close()
	})
	return i
}

func (i *idp) configured(answer http.HandlerFunc) { i.configuration.Store(answer) }
func (i *idp) does(answer http.HandlerFunc)       { i.keys.Store(answer) }

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func (i *idp) publishes(signers ...idpKey) { i.does(says(setOf(signers...))) }

// dead hangs up on whoever calls, and stalled never answers.
func dead(http.ResponseWriter, *http.Request)        { panic(http.ErrAbortHandler) }
func stalled(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// idpKey is a key of an issuer.
type idpKey struct {
	kid     string
	private ed25519.PrivateKey
}

func newIDPKey(t *testing.T, kid string) idpKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return idpKey{kid, private}
}

func setOf(signers ...idpKey) string {
	jwks := make([]string, len(signers))
	for n, key := range signers {
		jwks[n] = fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"%s","x":"%s"}`, key.kid, base64.RawURLEncoding.EncodeToString(key.private.Public().(ed25519.PublicKey)))
	}
	return `{"keys":[` + strings.Join(jwks, ",") + `]}`
}

// token is a header line with a good token.
func (k idpKey) token(t *testing.T, issuer, user string) string {
	t.Helper()
	claims := harness.ClaimsOf(user)
	claims["iss"] = issuer
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(`{"alg":"EdDSA","kid":"`+k.kid+`"}`)) + "." + encode(payload)
	return "Authorization: Bearer " + input + "." + encode(ed25519.Sign(k.private, []byte(input)))
}

// guarded is a gateway that trusts issuers, and what is behind it. Each test
// asks for users of its own: what was verified once is not verified again.
type guarded struct {
	*harness.Gateway

	t    *testing.T
	up   *harness.Upstream
	user atomic.Int64
}

// guard starts a gateway with one site for all issuers.
func guard(t *testing.T, issuers ...string) *guarded {
	t.Helper()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			issuer ISSUERS
			audience api
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "ISSUERS", strings.Join(issuers, " "))
	return &guarded{Gateway: g, t: t, up: up}
}

// ask sends a new token of a key to a path, and returns its user and the answer.
func (g *guarded) ask(key idpKey, issuer string) (string, harness.Answer) {
	g.t.Helper()
	user := fmt.Sprintf("user-%d", g.user.Add(1))
	return user, g.Get("/", key.token(g.t, issuer, user))
}

// passes demands that a new token reaches the upstream, under its user's name.
func (g *guarded) passes(key idpKey, issuer string) {
	g.t.Helper()
	user, a := g.ask(key, issuer)
	require.Equal(g.t, http.StatusOK, a.Status, a.Body)
	require.Equal(g.t, []string{user}, harness.HeaderOf(g.up.One(g.t), "Remote-User"))
}

// refuses demands that a new token is told to be wrong.
func (g *guarded) refuses(key idpKey, issuer string) {
	g.t.Helper()
	_, a := g.ask(key, issuer)
	g.isRefusal(a)
}

func (g *guarded) isRefusal(a harness.Answer) {
	g.t.Helper()
	require.Equal(g.t, http.StatusUnauthorized, a.Status, a.Body)
	require.Contains(g.t, a.Header.Get("WWW-Authenticate"), `error="invalid_token"`)
	require.Contains(g.t, a.Body, `"code":"token_not_valid"`)
	require.Empty(g.t, g.up.Taken())
}

// cannotTell demands that nobody is told that a new token is wrong.
func (g *guarded) cannotTell(key idpKey, issuer string) {
	g.t.Helper()
	_, a := g.ask(key, issuer)
	g.isUnavailable(a)
}

func (g *guarded) isUnavailable(a harness.Answer) {
	g.t.Helper()
	require.Equal(g.t, http.StatusServiceUnavailable, a.Status, a.Body)
	require.NotEmpty(g.t, a.Header.Get("Retry-After"))
	require.Empty(g.t, a.Header.Get("WWW-Authenticate"))
	require.JSONEq(g.t, `{"detail":"Service temporarily unavailable, try again later.","code":"service_unavailable"}`, a.Body)
	require.Empty(g.t, g.up.Taken())
}

// recovers waits until a new token passes.
func (g *guarded) recovers(key idpKey, issuer string) {
	g.t.Helper()
	harness.Eventually(g.t, 20*time.Second, func() bool {
		_, a := g.ask(key, issuer)
		return a.Status == http.StatusOK
	}, "does not recover")
	require.NotEmpty(g.t, g.up.Taken())
}

func TestK01K03X14KeysOfAnIssuerRotate(t *testing.T) {
	t.Parallel()
	i := newIDP(t)
	old, next := newIDPKey(t, "old"), newIDPKey(t, "next")
	i.publishes(old)
	g := guard(t, i.URL)
	require.Zero(t, i.fetches.Load(), "nothing is fetched before it is needed")
	g.passes(old, i.URL)
	cached := old.token(t, i.URL, "cached")
	require.Equal(t, http.StatusOK, g.Get("/", cached).Status)
	require.Equal(t, http.StatusOK, g.Get("/", cached).Status)
	require.Len(t, g.up.Taken(), 2)
	require.EqualValues(t, 1, i.fetches.Load())

	// The new key is fetched for the first of its tokens.
	i.publishes(next)
	g.passes(next, i.URL)
	require.EqualValues(t, 2, i.fetches.Load())
	g.isRefusal(g.Get("/", cached)) // although it was verified before
	g.refuses(old, i.URL)
	g.passes(next, i.URL)
	require.EqualValues(t, 2, i.fetches.Load(), "the old kid is not looked for again")
}

func TestK03X14KeyTakenBackIsOutWithinTheLifetimeOfTheSet(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes a minute, the shortest lifetime that there is")
	}
	i := newIDP(t)
	a, b := newIDPKey(t, "a"), newIDPKey(t, "b")
	publish := func(key idpKey) {
		i.does(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=1")
			_, _ = io.WriteString(w, setOf(key))
		})
	}
	publish(a)
	g := guard(t, i.URL)
	fetched := time.Now()
	g.passes(a, i.URL)
	cached := a.token(t, i.URL, "cached")
	require.Equal(t, http.StatusOK, g.Get("/", cached).Status)
	require.Len(t, g.up.Taken(), 1)
	publish(b)
	harness.Eventually(t, 70*time.Second, func() bool { return i.fetches.Load() == 2 }, "nobody came by, and it was not refetched")
	assert.InDelta(t, 48, time.Since(fetched).Seconds(), 8)
	harness.Eventually(t, 5*time.Second, func() bool { return g.Get("/", cached).Status == http.StatusUnauthorized }, "a key that was taken back verifies")
	g.up.Taken()
	g.passes(b, i.URL)
	g.isRefusal(g.Get("/", cached))
}

func TestK15IssuerThatDies(t *testing.T) {
	t.Parallel()
	i := newIDP(t)
	key, stranger := newIDPKey(t, "a"), newIDPKey(t, "b")
	i.publishes(key)
	g := guard(t, i.URL)
	g.passes(key, i.URL)
	i.Close()
	for range 20 {
		g.passes(key, i.URL)
		g.cannotTell(stranger, i.URL) // its key may be a new one
	}
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines("key set can't be fetched")) == 1 }, "no log line")
	assert.Len(t, g.Log.Lines("key set can't be fetched"), 1, "one line, however many requests")
}

func TestK12IssuerThatStallsHoldsUpOnlyUnknownKeys(t *testing.T) {
	t.Parallel()
	i := newIDP(t)
	key, stranger := newIDPKey(t, "a"), newIDPKey(t, "b")
	i.publishes(key)
	g := guard(t, i.URL)
	g.passes(key, i.URL)

	i.does(stalled)
	began := time.Now()
	waiting := make(chan harness.Answer, 1)
	unknown := stranger.token(t, i.URL, "mallory")
	go func() {
		a, _ := g.Try(t.Context(), http.MethodGet, "/", "", unknown)
		waiting <- a
	}()
	harness.Eventually(t, 5*time.Second, func() bool { return i.fetches.Load() == 2 }, "it was not asked")
	for range 200 {
		g.passes(key, i.URL)
	}
	select {
	case <-waiting:
		require.Fail(t, "the others were held up, or the unknown key was not looked for")
	default:
	}
	g.isUnavailable(<-waiting)
	assert.Less(t, time.Since(began), 10*time.Second, "a fetch may take 5 s")
	g.passes(key, i.URL)
	i.publishes(key, stranger)
	g.recovers(stranger, i.URL)
}

func TestK14IssuerThatIsDownAtStartAndBackLater(t *testing.T) {
	t.Parallel()
	late, other := preparedIDP(t), newIDP(t)
	address := "127.0.0.1:" + freeport.Take(t)
	key, others := newIDPKey(t, "a"), newIDPKey(t, "b")
	late.publishes(key)
	other.publishes(others)
	g := guard(t, "http://"+address, other.URL)
	for range 5 {
		g.cannotTell(key, "http://"+address)
		g.passes(others, other.URL) // one issuer does not take another down
		g.refuses(key, other.URL)
	}
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	late.Listener.Close()
	late.Listener = listener
	late.Start()
	g.recovers(key, late.URL)
	g.passes(key, late.URL)
	g.refuses(others, late.URL)
}

// Every lie is told to a gateway that knows nothing yet, and to one that knows
// the keys. evil is the key that the liar would like to be trusted.
func TestIssuerThatLies(t *testing.T) {
	t.Parallel()
	key, evil := newIDPKey(t, "a"), newIDPKey(t, "evil")
	elsewhere := newIDP(t)
	elsewhere.publishes(key, evil)
	elsewhere.configured(dead)
	lies := map[string]struct{ configuration, keys http.HandlerFunc }{
		"K19 another issuer":       {configuration: says(`{"issuer":"https://idp.example.com","jwks_uri":"` + elsewhere.URL + `/keys"}`)},
		"K19 no issuer":            {configuration: says(`{"jwks_uri":"` + elsewhere.URL + `/keys"}`)},
		"K09 garbage":              {keys: says("\x00\xff garbage")},
		"K09 HTML":                 {keys: says("<!doctype html><title>Sign in</title>")},
		"K09 a list":               {keys: says("[" + setOf(key, evil) + "]")},
		"K09 no set":               {keys: says("{}")},
		"K09 more behind":          {keys: says(setOf(key, evil) + setOf(evil))},
		"K09 cut short":            {keys: says(setOf(key, evil)[:100])},
		"K13 error with a set":     {keys: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, setOf(key, evil), http.StatusBadGateway) }},
		"K18 redirect elsewhere":   {keys: redirect(elsewhere.URL + "/keys")},
		"K18 configured elsewhere": {configuration: redirect(elsewhere.URL + "/.well-known/openid-configuration")},
		"K18 redirect to a file":   {keys: redirect("file:///etc/passwd")},
		"K18 redirect to metadata": {keys: redirect("http://169.254.169.254/latest/meta-data/")},
		"K18 redirect in circles":  {keys: redirect("/keys")},
		"K10 endless body":         {keys: endless},
		"K10 endless white space":  {keys: func(w http.ResponseWriter, r *http.Request) { repeat(w, r, strings.Repeat(" ", 1<<16)) }},
		"K10 gzip bomb":            {keys: bomb},
		"K10 drips":                {keys: drips},
		"K12 hangs up":             {keys: dead},
		"K12 stalls":               {configuration: stalled},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIDP(t)
			i.publishes(key)
			honest := i.configuration.Load()
			tell := func() {
				if lie.configuration != nil {
					i.configured(lie.configuration)
				}
				if lie.keys != nil {
					i.does(lie.keys)
				}
			}
			tell()
			g := guard(t, i.URL)
			g.cannotTell(key, i.URL)
			g.cannotTell(evil, i.URL)

			i.configuration.Store(honest)
			i.publishes(key)
			g.recovers(key, i.URL)
			tell()
			g.cannotTell(evil, i.URL) // it is looked for, and the lie is no answer
			g.passes(key, i.URL)
			assert.NotContains(t, g.Log.String(), "root:x:0:0")
		})
	}
	t.Cleanup(func() { assert.Zero(t, elsewhere.fetches.Load(), "nobody goes where a liar sends them") })
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func repeat(w io.Writer, r *http.Request, text string) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, `{"keys":[`)
	repeat(w, r, strings.Repeat(`{"kty":"AKP"},`, 1000))
}

func bomb(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	repeat(z, r, strings.Repeat(" ", 1<<20))
}

func drips(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

func TestK04EmptySetIsAnAnswerAndNoFault(t *testing.T) {
	t.Parallel()
	i := newIDP(t)
	key := newIDPKey(t, "a")
	i.publishes()
	g := guard(t, i.URL)
	g.refuses(key, i.URL)
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines("holds no key that can be used")) > 0 }, "no log line")
}

func TestK16K18SetIsNeverFetchedOverHTTPWhereHTTPSIsConfigured(t *testing.T) {
	t.Parallel()
	key, evil := newIDPKey(t, "a"), newIDPKey(t, "evil")
	plain := newIDP(t)
	plain.publishes(key, evil)
	for name, c := range map[string]struct {
		configuration, keys http.HandlerFunc
		honest              bool
	}{
		"baseline":          {honest: true},
		"set redirected":    {keys: redirect(plain.URL + "/keys")},
		"redirected before": {configuration: redirect(plain.URL + "/.well-known/openid-configuration")},
		"untrusted":         {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := preparedIDP(t)
			i.StartTLS()
			i.publishes(key)
			if c.keys != nil {
				i.does(c.keys)
			}
			if c.configuration != nil {
				i.configured(c.configuration)
			}
			up := harness.StartUpstream(t)
			gateway := harness.New(t, "UPSTREAM", up.Addr, "ISSUER", i.URL)
			if name != "untrusted" {
				trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
				gateway.Env = append(gateway.Env, "SSL_CERT_FILE="+gateway.Write("ca.pem", string(trusted)))
			}
			config := gateway.Write("Caddyfile", `{
	admin off
	auto_https off
}
http://127.0.0.1:$PORT {
	edge_auth {
		jwt ISSUER {
			audience api
		}
	}
	reverse_proxy UPSTREAM
}`)
			gateway.Run("run", "--config", config, "--adapter", "caddyfile")
			gateway.WaitReady()
			g := &guarded{Gateway: gateway, t: t, up: up}
			if c.honest {
				g.passes(key, i.URL)
				return
			}
			g.cannotTell(key, i.URL)
			g.cannotTell(evil, i.URL)
		})
	}
	t.Cleanup(func() { assert.Zero(t, plain.fetches.Load()) })
}

func TestK22K31TwoIssuersWithOneKid(t *testing.T) {
	t.Parallel()
	one, two := newIDP(t), newIDP(t)
	ones, twos := newIDPKey(t, "1"), newIDPKey(t, "1")
	one.publishes(ones)
	two.publishes(twos)
	g := guard(t, one.URL, two.URL)
	for range 2 { // the second time, both sets are known
		g.refuses(ones, two.URL)
		g.refuses(twos, one.URL)
		g.passes(ones, one.URL)
		g.passes(twos, two.URL)
	}
	for n := range 200 {
		g.refuses(ones, fmt.Sprintf("%s/%d", one.URL, n))
	}
	require.EqualValues(t, 1, one.fetches.Load(), "strangers make nobody fetch")
	require.EqualValues(t, 1, two.fetches.Load())
}

func TestK30K32FloodOfUnknownKidsFetchesOnceIn30Seconds(t *testing.T) {
	t.Parallel()
	for name, warm := range map[string]bool{"cold": false, "warm": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIDP(t)
			key := newIDPKey(t, "a")
			i.publishes(key)
			g := guard(t, i.URL)
			var known int64
			if warm {
				g.passes(key, i.URL)
				known = 1
			}
			began := time.Now()
			var good sync.WaitGroup
			sent := 0
			if warm {
				sent = 200
			}
			good.Go(func() {
				for range sent {
					_, a := g.ask(key, i.URL)
					assert.Equal(t, http.StatusOK, a.Status, "known keys are out of the flood's reach")
				}
			})
			g.flood(10000, i.URL)
			good.Wait()
			allowed := 1 + int64(time.Since(began)/(30*time.Second))
			if allowed == 1 {
				assert.Equal(t, known+1, i.fetches.Load())
			}
			assert.LessOrEqual(t, i.fetches.Load(), known+allowed)
			passed := g.up.Taken()
			assert.Len(t, passed, sent)
			for _, request := range passed {
				require.Regexp(t, "^user-", harness.HeaderOf(request, "Remote-User")[0])
			}
			t.Logf("10,000 tokens in %v", time.Since(began))

			// The throttle outlives a reload.
			require.NoError(t, g.Reload(g.Write("Caddyfile", "{\n\tadmin "+g.Admin+"\n\tauto_https off\n}\n"+`http://127.0.0.1:$PORT {
	header X-Reloaded yes
	edge_auth {
		jwt ISSUERS {
			audience api
		}
	}
	reverse_proxy UPSTREAM
}`)))
			_, a := g.ask(key, i.URL)
			require.Equal(t, "yes", a.Header.Get("X-Reloaded"))
			g.up.One(t)
			g.flood(100, i.URL)
			assert.LessOrEqual(t, i.fetches.Load(), known+1+int64(time.Since(began)/(30*time.Second)))
			g.passes(key, i.URL)
		})
	}
}

// flood sends tokens with unknown kids over a few connections that stay open.
// All must be refused.
func (g *guarded) flood(tokens int, issuer string) {
	g.t.Helper()
	const connections = 16
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	stranger := newIDPKey(g.t, "none")
	var next, refused atomic.Int64
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			for n := next.Add(1); n <= int64(tokens); n = next.Add(1) {
				stranger := idpKey{fmt.Sprintf("kid-%d", n), stranger.private}
				req, err := http.NewRequest(http.MethodGet, g.URL, nil)
				if err != nil {
					g.t.Error(err)
					return
				}
				name, value, _ := strings.Cut(stranger.token(g.t, issuer, "mallory"), ": ")
				req.Header.Set(name, value)
				resp, err := client.Do(req)
				if err != nil {
					g.t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusUnauthorized {
					refused.Add(1)
				}
			}
		})
	}
	senders.Wait()
	assert.EqualValues(g.t, tokens, refused.Load(), "401 for each of them")
}
