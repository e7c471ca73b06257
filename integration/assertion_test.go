package integration

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// assertionIn returns the claims of the assertion in a recorded request, after
// its signature was checked with the one key that the gateway publishes.
func assertionIn(t *testing.T, g *harness.Gateway, request, name string) map[string]any {
	t.Helper()
	values := harness.HeaderOf(request, name)
	require.Len(t, values, 1)
	parts := strings.Split(values[0], ".")
	require.Len(t, parts, 3)
	var set struct {
		Keys []struct{ X, Kid, Alg string }
	}
	require.NoError(t, json.Unmarshal([]byte(g.Get("/.well-known/jwks.json").Body), &set))
	require.Len(t, set.Keys, 1)
	assert.JSONEq(t, `{"alg":"`+set.Keys[0].Alg+`","kid":"`+set.Keys[0].Kid+`","typ":"edge-auth+jwt"}`, string(decoded(t, parts[0])))
	public, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	require.NoError(t, err)
	require.True(t, ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), decoded(t, parts[2])))
	var claims map[string]any
	require.NoError(t, json.Unmarshal(decoded(t, parts[1]), &claims))
	return claims
}

func TestAssertionTellsTheUpstreamWhoIsCalling(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	handle /short* {
		edge_auth {
			jwt
			identity_headers none
			assertion x-who {
				audience app.example.com app
				lifetime 5s
				issuer https://gateway.example.com
			}
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			jwt
			optional
			assertion {
				audience app
			}
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("wonderland\n", "user", "add", "alice", "--group", "staff,editors", "--name", "Alice L.", "--email", "alice@example.com")
	bearer := "Authorization: Bearer " + pairOf(t, g.PostJSON("/api/token/", wonderland))["access"]

	before := float64(time.Now().Unix())
	require.Equal(t, http.StatusOK, g.Do(http.MethodPut, "/x", "", bearer, "X-Edge-Auth-Assertion: forged", "x-edge!auth!assertion: forged").Status)
	got := up.One(t)
	assert.NotContains(t, got, "forged")
	claims := assertionIn(t, g, got, "X-Edge-Auth-Assertion")
	assert.Equal(t, "edge_auth", claims["iss"])
	assert.Equal(t, "alice", claims["sub"])
	assert.Equal(t, []any{"app"}, claims["aud"])
	assert.Equal(t, "PUT", claims["htm"])
	assert.Equal(t, strings.TrimPrefix(g.URL, "http://"), claims["host"])
	assert.Equal(t, []any{"staff", "editors"}, claims["groups"])
	assert.Equal(t, "Alice L.", claims["name"])
	assert.Equal(t, "alice@example.com", claims["email"])
	assert.InDelta(t, before, claims["iat"], 5)
	assert.InDelta(t, before, claims["auth_time"], 60)
	assert.InDelta(t, claims["iat"], claims["exp"].(float64)-60, 0)
	first := claims["jti"]
	assert.NotEmpty(t, first)

	require.Equal(t, http.StatusOK, g.Get("/x", bearer).Status)
	assert.NotEqual(t, first, assertionIn(t, g, up.One(t), "X-Edge-Auth-Assertion")["jti"], "each is another one")

	require.Equal(t, http.StatusOK, g.Get("/short", bearer, "X!Who: forged").Status)
	got = up.One(t)
	assert.Empty(t, harness.HeaderOf(got, "Remote-User"))
	assert.Empty(t, harness.HeaderOf(got, "X-Edge-Auth-Assertion"))
	assert.NotContains(t, got, "forged")
	claims = assertionIn(t, g, got, "X-Who")
	assert.Equal(t, "https://gateway.example.com", claims["iss"])
	assert.Equal(t, []any{"app.example.com", "app"}, claims["aud"])
	assert.InDelta(t, claims["iat"], claims["exp"].(float64)-5, 0)

	require.Equal(t, http.StatusOK, g.Get("/x", "X-Edge-Auth-Assertion: forged", "X-Edge!Auth-Assertion: forged", "X-Who: forged", "X!Who: forged").Status)
	got = up.One(t)
	assert.Empty(t, harness.HeaderOf(got, "X-Edge-Auth-Assertion"), "nobody is nobody")
	assert.NotContains(t, got, "forged")
}

func TestForgedAssertionIsStrippedWhereNoPolicyMakesOne(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth off\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	require.Equal(t, http.StatusOK, g.Get("/", "X-Edge-Auth-Assertion: forged", "X.Edge_Auth!Assertion: forged").Status)
	assert.NotContains(t, up.One(t), "forged")
}

// An upstream that was sent an assertion must not be able to log in with it.
func TestAssertionIsNoCredential(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth {
		jwt
		assertion {
			audience app
		}
	}
	respond "{http.auth.user.id} {http.request.header.X-Edge-Auth-Assertion}"
}`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	made := g.EdgeAuth("", "jwt", "create", "alice")
	a := g.Get("/", "Authorization: Bearer "+made)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	who, assertion, _ := strings.Cut(a.Body, " ")
	require.Equal(t, "alice", who)
	require.Equal(t, 2, strings.Count(assertion, "."))

	a = g.Get("/", "Authorization: Bearer "+assertion)
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	assert.Contains(t, a.Body, "token_not_valid")
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Cookie: __Host-access_token="+assertion).Status)
	require.Equal(t, http.StatusOK, g.PostJSON("/api/token/verify/", `{"token":"`+made+`"}`).Status, "the baseline")
	assert.Equal(t, http.StatusUnauthorized, g.PostJSON("/api/token/verify/", `{"token":"`+assertion+`"}`).Status)
	assert.Equal(t, http.StatusUnauthorized, g.PostJSON("/api/token/refresh/", `{"refresh":"`+assertion+`"}`).Status)
}

func TestNobodyIsForwardedWhileThereIsNoKeyToSignWith(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "storage file_system /dev/null/nowhere", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		assertion {
			audience app
		}
	}
	reverse_proxy UPSTREAM
}
http://127.0.0.1:$PORT2 {
	edge_auth {
		BASIC
		assertion {
			audience app
		}
	}
	reverse_proxy 127.0.0.1:1
	handle_errors {
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	a := g.Get("/", harness.Alice)
	assert.Equal(t, http.StatusServiceUnavailable, a.Status)
	assert.Equal(t, "2", a.Header.Get("Retry-After"))
	assert.NotContains(t, a.Body, "key")
	assert.Empty(t, up.Taken())
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", harness.BasicHeader("wrong")).Status)

	g.URL = g.Vars.Replace("http://127.0.0.1:$PORT2")
	g.Get("/", harness.Alice)
	assert.Empty(t, harness.HeaderOf(up.One(t), "Remote-User"), "nor is the upstream of an error page told anything")
}

func TestAssertionSignedWithASharedSecretIsWarnedAbout(t *testing.T) {
	t.Parallel()
	g := harness.New(t, "BASIC", harness.BasicAlice(t))
	g.Write("secret.jwk", `{"kty":"oct","k":"`+b64(strings.Repeat("k", 32))+`"}`)
	g.Serve("edge_auth {\n signing_key $DIR/secret.jwk\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		assertion {
			audience app
		}
	}
}`)
	assert.Len(t, g.Log.Lines("an upstream that can verify them can make them too"), 1)
	assert.NotContains(t, g.Log.String(), strings.Repeat("k", 32))
}

func TestAssertionIsMadeAnewByALaterPolicy(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth {
		BASIC
		assertion {
			audience first
		}
	}
	handle /both* {
		edge_auth {
			BASIC
			assertion {
				audience second
			}
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	harness.Eventually(t, 10*time.Second, func() bool { return g.Get("/.well-known/jwks.json").Status == http.StatusOK }, "no key")
	require.Equal(t, http.StatusOK, g.Get("/both", harness.Alice).Status)
	assert.Equal(t, []any{"second"}, assertionIn(t, g, up.One(t), "X-Edge-Auth-Assertion")["aud"])
	require.Equal(t, http.StatusOK, g.Get("/", harness.Alice).Status)
	assert.Empty(t, harness.HeaderOf(up.One(t), "X-Edge-Auth-Assertion"), "the later policy says what the upstream is told")
}

// A config in JSON meets no adapter, and is refused by the same sentences.
func TestForwardingThatCantBeMeantIsRefusedInJSONToo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ policy, want string }{
		"assertion without audience":    {`"assertion":{}`, "'audience <name>' is needed"},
		"assertion for nobody":          {`"assertion":{"audience":[""]}`, "'audience <name>' is needed"},
		"assertion that holds long":     {`"assertion":{"audience":["app"],"lifetime":"61s"}`, "1s to 60s are possible"},
		"assertion that holds not":      {`"assertion":{"audience":["app"],"lifetime":"1ms"}`, "1s to 60s are possible"},
		"assertion in a header of HTTP": {`"assertion":{"audience":["app"],"header":"Cookie"}`, "HTTP gives it another meaning"},
		"header of a credential":        {`"identity_header":[{"name":"x-api-key","value":"x"}]`, "'token' reads its credential from that header"},
		"separator":                     {`"groups_separator":","`, "unknown word ','"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := harness.New(t)
			config := g.Write("caddy.json", `{"admin":{"disabled":true},"apps":{"http":{"servers":{"a":{"listen":["127.0.0.1:$PORT"],"routes":[{"handle":[{"handler":"edge_auth",
"policy":{"authenticators":[{"authenticator":"token","header":"X-API-Key"}],`+c.policy+`}}]}]}}}}}`)
			_, err := g.Command("", "validate", "--config", config)
			require.ErrorContains(t, err, c.want)
		})
	}
}
