package attacks

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// One address of keys that two issuers share is fetched once, and is two scopes.
func TestK23SharedKeySetIsFetchedOnceAndScopedTwice(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	private := harness.NewEd25519(t)
	var fetches atomic.Int64
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"%s"}]}`, enc(string(private.Public().(ed25519.PublicKey))))
	}))
	t.Cleanup(keys.Close)
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	site := func(path string) string {
		return "handle /" + path + " {\n edge_auth {\n jwt {\n issuer https://" + path + ".example.com\n audience api\n jwks " + keys.URL + "\n }\n }\n reverse_proxy UPSTREAM\n}\n"
	}
	g.ServeTLS("", site("a")+site("b"))
	of := func(issuer string) string {
		input := enc(`{"alg":"EdDSA","kid":"1"}`) + "." + enc(strings.Replace(claimsWith(""), "idp", issuer, 1))
		return "Authorization: Bearer " + input + "." + enc(string(ed25519.Sign(private, []byte(input))))
	}
	byEachDoor(t, g, up, func(e entry) {
		for path, other := range map[string]string{"a": "b", "b": "a"} {
			e.refused(401, e.send("GET", "/"+path, "", of(other)))
			require.Equal(e.t, 200, e.send("GET", "/"+path, "", of(path)).Status)
			assert.Len(e.t, e.up.Taken(), 1)
		}
	})
	assert.EqualValues(t, 1, fetches.Load())
}

// A new signing key takes over while tokens of the old one are still taken; once the
// old one is gone, they are not. Public keys are shown, and nothing private.
func TestK35K36SigningKeysRotate(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	seeds := map[string]string{"old": strings.Repeat("A", 43), "new": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}
	for name, seed := range seeds {
		public := ed25519.NewKeyFromSeed([]byte(dec(t, seed))).Public().(ed25519.PublicKey)
		g.Write(name+".jwk", fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"%s","x":"%s","d":"%s"}`, name, enc(string(public)), seed))
	}
	g.Write("shared.jwk", `{"kty":"oct","alg":"HS256","kid":"shared","k":"`+strings.Repeat("c2VjcmV0", 8)+`"}`)
	config := func(keys string) (global, site string) {
		return "edge_auth {\n signing_key " + keys + "\n}", "edge_auth_issuer {\n jwt\n jwks\n}\nedge_auth\nreverse_proxy UPSTREAM"
	}
	reload := func(keys string) {
		global, site := config(keys)
		require.NoError(t, g.Reload(g.Write("Caddyfile", "{\n admin "+g.Admin+"\n auto_https disable_redirects\n skip_install_trust\n"+global+"\n}\nhttps://localhost:$PORT {\n tls internal\n"+site+"\n}")))
	}
	g.ServeTLS(config("$DIR/old.jwk $DIR/shared.jwk"))
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	byEachDoor(t, g, up, func(e entry) {
		kids := func(want ...string) {
			e.t.Helper()
			a := e.send("GET", "/.well-known/jwks.json", "")
			require.Equal(e.t, 200, a.Status)
			var set struct{ Keys []map[string]any }
			require.NoError(e.t, json.Unmarshal([]byte(a.Body), &set))
			kids := make([]string, 0, len(set.Keys))
			for _, key := range set.Keys {
				kids = append(kids, key["kid"].(string))
				assert.Equal(e.t, "EdDSA", key["alg"])
				assert.Equal(e.t, "sig", key["use"])
				for _, private := range []string{"d", "k", "p", "q"} {
					assert.NotContains(e.t, key, private)
				}
			}
			assert.Equal(e.t, want, kids)
			head := e.send("HEAD", "/.well-known/jwks.json", "")
			assert.Equal(e.t, 200, head.Status)
			assert.Empty(e.t, head.Body)
			e.refused(405, e.send("POST", "/.well-known/jwks.json", "{}", asJSON))
			e.refused(401, e.send("GET", "/.well-known/jwks.json/old", ""))
		}
		reload("$DIR/old.jwk $DIR/shared.jwk")
		kids("old")
		before := e.pair(e.post("/api/token/", aliceLogsIn))
		e.passes("Authorization: Bearer " + before["access"])

		reload("$DIR/new.jwk $DIR/old.jwk")
		kids("new", "old")
		e.passes("Authorization: Bearer " + before["access"])
		after := e.pair(e.refresh(before["refresh"]))
		e.passes("Authorization: Bearer " + after["access"])

		reload("$DIR/new.jwk")
		kids("new")
		e.passes("Authorization: Bearer " + after["access"])
		e.refused(401, e.send("GET", "/", "", "Authorization: Bearer "+before["access"]))
		e.refused(401, e.refresh(before["refresh"]))
		e.pair(e.refresh(after["refresh"]))
	})
	for _, seed := range seeds {
		assert.NotContains(t, g.Log.String(), seed)
	}
}

func dec(t testing.TB, text string) string {
	t.Helper()
	data, err := encoding.DecodeString(text)
	require.NoError(t, err)
	return string(data)
}

var goroutines = regexp.MustCompile(`goroutine profile: total (\d+)`)

// running is how many goroutines the gateway has.
func running(t testing.TB, g *harness.Gateway) int {
	t.Helper()
	resp, err := harness.Client.Get("http://" + g.Admin + "/debug/pprof/goroutine?debug=1")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	found := goroutines.FindSubmatch(text)
	require.NotNil(t, found, string(text))
	number, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return number
}

// Reloads leave no refresher, fetch or connection of a key set behind.
func TestK34ReloadsLeaveNoRefresherBehind(t *testing.T) {
	t.Parallel()
	private := harness.NewEd25519(t)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"%s"}]}`, enc(string(private.Public().(ed25519.PublicKey))))
	}))
	t.Cleanup(keys.Close)
	g := harness.New(t)
	site := func(n int) string { // another address each time: nothing is taken over
		return fmt.Sprintf("http://127.0.0.1:$PORT {\n edge_auth {\n jwt {\n issuer https://idp.example.com\n audience api\n jwks %s/%d\n }\n }\n respond ok\n}", keys.URL, n)
	}
	g.Serve("", site(0))
	input := enc(`{"alg":"EdDSA","kid":"1"}`) + "." + enc(claimsWith(""))
	token := "Authorization: Bearer " + input + "." + enc(string(ed25519.Sign(private, []byte(input))))
	require.Equal(t, 200, g.Get("/", token).Status)
	g.EdgeAuth("", "keys")
	before := running(t, g)
	reload := func(n int) {
		require.NoError(t, g.Reload(g.Write("Caddyfile", "{\n admin "+g.Admin+"\n auto_https off\n}\n"+site(n))))
		require.Equal(t, 200, g.Get("/", token).Status)
	}
	all := min(rounds(t, 10), 100)
	for n := range all {
		reload(n + 1)
	}
	harness.Eventually(t, 20*time.Second, func() bool { return running(t, g) < before+all/2 }, "goroutines: %d before, and now %d", before, running(t, g))
}
