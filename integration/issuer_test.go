package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

const asJSON = "Content-Type: application/json"

// pairOf is what an answer of the token endpoints holds.
func pairOf(t testing.TB, a harness.Answer) map[string]string {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var pair map[string]string
	require.NoError(t, json.Unmarshal([]byte(a.Body), &pair), a.Body)
	return pair
}

const wonderland = `{"username":"alice","password":"wonderland"}`

func TestIssuedTokensOpenWhatEdgeAuthGuards(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("wonderland\n", "user", "add", "alice", "--group", "staff", "--email", "alice@example.com", "--pk", "7")

	pair := pairOf(t, g.PostJSON("/api/token/", wonderland))
	require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Bearer "+pair["access"]).Status)
	got := up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
	assert.Equal(t, []string{"staff"}, harness.HeaderOf(got, "Remote-Groups"))
	assert.Equal(t, []string{"alice@example.com"}, harness.HeaderOf(got, "Remote-Email"))
	assert.Contains(t, string(decoded(t, strings.Split(pair["access"], ".")[1])), `"user_id":"7"`)
	for _, wrong := range []string{pair["refresh"], pair["access"] + "x"} {
		assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Authorization: Bearer "+wrong).Status)
	}
	token := pairOf(t, g.Do(http.MethodPost, "/api-token-auth/", "username=alice&password=wonderland", "Content-Type: application/x-www-form-urlencoded"))["token"]
	require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Token "+token).Status)
	up.One(t)

	second := pairOf(t, g.PostJSON("/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`))
	assert.Equal(t, http.StatusOK, g.PostJSON("/api/token/verify/", `{"token":"`+second["access"]+`"}`).Status)
	assert.Equal(t, http.StatusOK, g.PostJSON("/api/token/blacklist/", `{"refresh":"`+second["refresh"]+`"}`).Status)
	a := g.PostJSON("/api/token/refresh/", `{"refresh":"`+second["refresh"]+`"}`)
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	assert.JSONEq(t, `{"detail":"Token is blacklisted","code":"token_not_valid"}`, a.Body)
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	assert.Empty(t, up.Taken(), "endpoints are not forwarded")

	third := pairOf(t, g.PostJSON("/api/token/", wonderland))
	g.EdgeAuth("", "user", "logout", "alice")
	assert.Equal(t, http.StatusUnauthorized, g.PostJSON("/api/token/refresh/", `{"refresh":"`+third["refresh"]+`"}`).Status, "logged out everywhere")
	log := g.Log.String()
	for _, secret := range []string{"wonderland", pair["refresh"][:60], token} {
		assert.NotContains(t, log, secret)
	}
}

func TestIssuerBelowAPath(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer /other/* {
		token /other/token/
		jwks /keys
	}
	handle_path /auth/* {
		edge_auth_issuer {
			jwt
			session
			deliver cookie
		}
	}
}`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	assert.Contains(t, g.PostJSON("/other/token/", wonderland).Body, `{"token":"ea_`)
	assert.NotContains(t, g.Get("/keys").Body, "keys", "not what the matcher takes")
	a := g.PostJSON("/auth/api/token/", wonderland)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	assert.Contains(t, strings.Join(a.Header.Values("Set-Cookie"), "\n"), "; Path=/auth/api/token/;")
	assert.Equal(t, "/auth/login/?next=%2Fauth%2Faccount%2F", g.Get("/auth/account/").Header.Get("Location"))
	assert.Equal(t, "/auth/login/?out=1", g.Do(http.MethodPost, "/auth/logout/", "").Header.Get("Location"))
}

// TestR12R20OneLoginOnTwoGateways refreshes on both at once, and then plays the thief.
func TestR12R20OneLoginOnTwoGateways(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	key := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(key, []byte(privatePEM(t, harness.NewEd25519(t))), 0o600))
	gateways := make([]*harness.Gateway, 2)
	for n := range gateways {
		gateways[n] = harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n signing_key "+key+"\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		login_rate 3 1m
	}
}`)
	}
	gateways[0].EdgeAuth("wonderland\n", "user", "add", "alice")
	first := pairOf(t, gateways[0].PostJSON("/api/token/", wonderland))

	pairs := make([]map[string]string, 50)
	var all sync.WaitGroup
	for n := range pairs {
		all.Go(func() {
			a, err := gateways[n%2].Try(t.Context(), http.MethodPost, "/api/token/refresh/", `{"refresh":"`+first["refresh"]+`"}`, asJSON)
			if assert.NoError(t, err) && assert.Equal(t, http.StatusOK, a.Status, a.Body) {
				assert.NoError(t, json.Unmarshal([]byte(a.Body), &pairs[n]))
			}
		})
	}
	all.Wait()
	for _, pair := range pairs {
		require.Equal(t, pairs[0], pair, "one family, and nobody is logged out")
	}
	second := pairOf(t, gateways[1].PostJSON("/api/token/refresh/", `{"refresh":"`+pairs[0]["refresh"]+`"}`))

	a := gateways[0].PostJSON("/api/token/refresh/", `{"refresh":"`+pairs[0]["refresh"]+`"}`, "User-Agent: thief")
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	harness.Eventually(t, 5*time.Second, func() bool { return len(gateways[0].Log.Lines(`"event":"token_reused"`)) == 1 }, "theft is not told")
	for _, g := range gateways {
		a = g.PostJSON("/api/token/refresh/", `{"refresh":"`+second["refresh"]+`"}`)
		assert.Equal(t, http.StatusUnauthorized, a.Status, "the owner is logged out too, and logs in anew")
		assert.Contains(t, a.Body, "Token is blacklisted")
	}

	for n := range 5 {
		a = gateways[n%2].PostJSON("/api/token/", `{"username":"alice","password":"wrong"}`)
		want := http.StatusUnauthorized
		if n >= 3 {
			want = http.StatusTooManyRequests
		}
		assert.Equal(t, want, a.Status, "one count for both")
	}
}

// npmClient makes the client's folder with its packages, once for all tests.
var npmClient = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(harness.Scratch, "npmclient")
	if err := os.CopyFS(dir, os.DirFS("npmclient")); err != nil {
		return "", err
	}
	install := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--prefix", dir)
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm, which ./test.sh installs: %w\n%s", err, out)
	}
	return dir, nil
})

// runNode runs a script of the client's folder, and returns what it prints.
func runNode(t testing.TB, env []string, args ...string) []byte {
	t.Helper()
	dir, err := npmClient()
	require.NoError(t, err)
	node := exec.Command("node", args...)
	node.Dir, node.Env = dir, append(os.Environ(), env...)
	var errs strings.Builder
	node.Stderr = &errs
	out, err := node.Output()
	require.NoError(t, err, errs.String())
	return out
}

func TestStockClientOfSimpleJWTNeedsNoChange(t *testing.T) {
	t.Parallel()
	for delivery, body := range map[string][]string{
		"body":   {"access", "refresh"},
		"cookie": {"access_expiration", "refresh_expiration"},
	} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			g := harness.New(t, "DELIVERY", delivery)
			url := g.ServeTLS("", `
	edge_auth_issuer {
		jwt
		access_lifetime 3s
		deliver DELIVERY
	}
	edge_auth
	respond {http.auth.user.id}
`)
			g.EdgeAuth("wonderland\n", "user", "add", "alice")
			root := filepath.Join(g.Dir, "data/caddy/pki/authorities/local/root.crt")
			out := runNode(t, []string{"NODE_EXTRA_CA_CERTS=" + root}, "client.js", url, delivery)
			var met struct {
				Refreshes, LoggedOut int
				Statuses             map[string]int
				Wrong, User          string
				Body, Cookies        []string
			}
			require.NoError(t, json.Unmarshal(out, &met), string(out))
			assert.Equal(t, "No active account found with the given credentials", met.Wrong)
			assert.Equal(t, "alice", met.User)
			assert.Equal(t, body, met.Body)
			assert.GreaterOrEqual(t, met.Refreshes, 2)
			assert.Len(t, met.Statuses, 1, "never refused: %v", met.Statuses)
			assert.Positive(t, met.Statuses["200"])
			assert.Equal(t, http.StatusUnauthorized, met.LoggedOut)
			assert.Empty(t, met.Cookies, "none is left")
			assert.Empty(t, g.Log.Lines("token_reused"))
		})
	}
}

// TestLoginAndAccountInABrowser is a person with Chromium, without JavaScript.
// SCREENSHOTS names a folder to look at what it saw.
func TestLoginAndAccountInABrowser(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	g := harness.New(t)
	german := g.Write("de.json", `{"log_in": "Anmelden", "username": "Name", "password": "Passwort"}`)
	url := g.ServeTLS("", `
	edge_auth_issuer {
		session {
			title "Looking Glass"
			language de `+german+`
		}
	}
	edge_auth {
		session
		token
		login_url /login/
	}
	respond "hello {http.auth.user.id}"
`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice", "--name", "Alice Liddell", "--email", "alice@example.com", "--group", "staff")
	var met map[string]any
	out := runNode(t, nil, "browser.js", url, folder)
	require.NoError(t, json.Unmarshal(out, &met), string(out))
	token, _ := met["token"].(string)
	delete(met, "token")
	assert.Regexp(t, "^ea_", token)
	assert.Equal(t, map[string]any{
		"ledTo":         "/login/?next=%2Fapp%2Fpage%3Fa%3D1",
		"wrong":         "User name and password do not belong together.",
		"keptName":      "alice",
		"backAt":        "/app/page?a=1",
		"page":          "hello alice",
		"tokens":        1.0,
		"weak":          "This password will not do: it is too short or too long, holds your user name, or is known to thieves.",
		"after":         "/account/",
		"loggedOut":     "You are logged out.",
		"ledAgain":      "/login/?next=%2Fapp%2Fpage",
		"recovery":      10.0,
		"asked":         "Second factor",
		"letIn":         "/app/page",
		"cookies":       []any{"__Host-edge_auth HttpOnly Secure Lax", "__Host-edge_auth_redirects HttpOnly Secure Lax", "csrftoken false Secure Lax"},
		"heading 320":   "Anmelden",
		"heading 1280":  "Log in",
		"overflow 320":  false,
		"overflow 1280": false,
	}, met)
}

// TestPasskeyInABrowser logs in with Chromium's virtual authenticator. It stands
// at http://localhost, which browsers trust: with a certificate that they do not
// know they offer no passkeys.
func TestPasskeyInABrowser(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	g := harness.Start(t, "", `http://localhost:$PORT {
	edge_auth_issuer {
		session {
			passkeys localhost
		}
		jwt
	}
	edge_auth {
		session
		login_url /login/
		require claim amr mfa
	}
	respond "hello {http.auth.user.id}"
}`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	var met map[string]any
	out := runNode(t, nil, "passkey.js", strings.Replace(g.URL, "127.0.0.1", "localhost", 1), folder)
	require.NoError(t, json.Unmarshal(out, &met), string(out))
	assert.Equal(t, map[string]any{
		"made":    []any{[]any{"localhost", true}},
		"page":    "hello alice",
		"claims":  map[string]any{"sub": "alice", "amr": []any{"pop", "user", "mfa"}, "again": "Token is blacklisted"},
		"removed": "The passkey will not do.",
		"errors":  []any{},
	}, met)
}
