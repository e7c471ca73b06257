package integration

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// verifiers start the examples in docs/verifiers as people would.
var verifiers = map[string]func(t *testing.T) []string{
	"Go": func(t *testing.T) []string {
		t.Helper()
		binary := filepath.Join(t.TempDir(), "verify")
		out, err := exec.Command("go", "build", "-o", binary, "../docs/verifiers/verify.go").CombinedOutput()
		require.NoError(t, err, "%s", out)
		return []string{binary}
	},
	"Python": func(*testing.T) []string { return []string{"/usr/bin/python3", "../docs/verifiers/verify.py"} },
	"Node": func(t *testing.T) []string {
		t.Helper()
		dir, err := npmClient()
		require.NoError(t, err)
		script, err := os.ReadFile("../docs/verifiers/verify.mjs")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(dir+"/verify.mjs", script, 0o600))
		return []string{"node", dir + "/verify.mjs"}
	},
}

// asserted asks for a path with an assertion, past the gateway.
func asserted(t *testing.T, method, address, host, assertion string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/", nil)
	require.NoError(t, err)
	req.Host = host
	if assertion != "" {
		req.Header.Set("X-Edge-Auth-Assertion", assertion)
	}
	resp, err := harness.Client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// TestP70VerifiersOfTheDocsLetNobodyInButByTheGateway starts each as an upstream
// behind a gateway whose key the test knows, so that it can sign what is wrong in
// one thing alone.
func TestP70VerifiersOfTheDocsLetNobodyInButByTheGateway(t *testing.T) {
	t.Parallel()
	for name, command := range verifiers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			public, private, err := ed25519.GenerateKey(nil)
			require.NoError(t, err)
			verifier := freeport.Take(t)
			g := harness.New(t, "VERIFIER", "127.0.0.1:"+verifier, "BASIC", harness.BasicAlice(t))
			g.Write("key.pem", privatePEM(t, private))
			startSite(t, verifier, "/", append(command(t), verifier, g.URL+"/.well-known/jwks.json", "app")...)
			verifier = "127.0.0.1:" + verifier
			g.Serve("edge_auth {\n signing_key $DIR/key.pem\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth {
		BASIC
		assertion {
			audience app
		}
	}
	handle /shown {
		respond {http.request.header.X-Edge-Auth-Assertion}
	}
	reverse_proxy VERIFIER
}`)
			a := g.Get("/", harness.Alice)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			assert.Equal(t, "alice", a.Body)
			assert.Equal(t, http.StatusOK, g.Do(http.MethodPost, "/", "x", harness.Alice).Status)

			// The baseline: past the gateway, a right assertion is all that it takes.
			host := strings.TrimPrefix(g.URL, "http://")
			valid := g.Get("/shown", harness.Alice).Body
			status, body := asserted(t, http.MethodGet, verifier, host, valid)
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "alice", body)

			var claims map[string]any
			require.NoError(t, json.Unmarshal(decoded(t, strings.Split(valid, ".")[1]), &claims))
			head := string(decoded(t, strings.Split(valid, ".")[0]))
			sign := func(head string, claims map[string]any, key ed25519.PrivateKey) string {
				return jws(head, string(must(json.Marshal(claims))), signEd(key))
			}
			status, _ = asserted(t, http.MethodGet, verifier, host, sign(head, claims, private))
			require.Equal(t, http.StatusOK, status, "what the test signs is as good")
			changed := func(claim string, value any) string {
				changed := maps.Clone(claims)
				if changed[claim] = value; value == nil {
					delete(changed, claim)
				}
				return sign(head, changed, private)
			}
			_, stranger, err := ed25519.GenerateKey(nil)
			require.NoError(t, err)
			g.EdgeAuth("wonderland\n", "user", "add", "alice")
			for what, assertion := range map[string]string{
				"none":                      "",
				"not a JWT":                 "alice",
				"another key":               sign(head, claims, stranger),
				"another's signature":       valid[:strings.LastIndex(valid, ".")] + sign(head, claims, stranger)[strings.LastIndex(sign(head, claims, stranger), "."):],
				"changed after it was made": strings.Split(valid, ".")[0] + "." + b64(strings.Replace(string(decoded(t, strings.Split(valid, ".")[1])), "alice", "admin", 1)) + "." + strings.Split(valid, ".")[2],
				"alg none":                  jws(strings.Replace(head, "EdDSA", "none", 1), string(must(json.Marshal(claims))), func([]byte) []byte { return nil }),
				"public key as a secret":    jws(strings.Replace(head, "EdDSA", "HS256", 1), string(must(json.Marshal(claims))), signHMAC("HS256", public)),
				"an access token of ours":   g.EdgeAuth("", "jwt", "create", "alice"),
				"typ JWT":                   sign(strings.Replace(head, "edge-auth+jwt", "JWT", 1), claims, private),
				"expired":                   changed("exp", time.Now().Unix()-30),
				"without exp":               changed("exp", nil),
				"wrong audience":            changed("aud", []string{"other"}),
				"without audience":          changed("aud", nil),
				"other issuer":              changed("iss", "https://idp.example.com"),
				"other host":                changed("host", "other.example.com"),
				"without host":              changed("host", nil),
				"other method":              changed("htm", "POST"),
				"without method":            changed("htm", nil),
				"without subject":           changed("sub", nil),
			} {
				status, body := asserted(t, http.MethodGet, verifier, host, assertion)
				assert.Equal(t, http.StatusUnauthorized, status, "%s: %s", what, body)
			}
			status, _ = asserted(t, http.MethodDelete, verifier, host, valid)
			assert.Equal(t, http.StatusUnauthorized, status, "sent again with another method")
			status, _ = asserted(t, http.MethodGet, verifier, "other.example.com", valid)
			assert.Equal(t, http.StatusUnauthorized, status, "sent again to another host")
		})
	}
}
