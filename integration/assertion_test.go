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
)

// assertionIn returns the claims of the assertion in a recorded request, after
// its signature was checked with the one key that the gateway publishes.
func assertionIn(t *testing.T, g *gateway, request, name string) map[string]any {
	t.Helper()
	values := header(request, name)
	require.Len(t, values, 1)
	parts := strings.Split(values[0], ".")
	require.Len(t, parts, 3)
	var set struct {
		Keys []struct{ X, Kid, Alg string }
	}
	require.NoError(t, json.Unmarshal([]byte(g.get("/.well-known/jwks.json").body), &set))
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
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr)
	g.edgeAuth("wonderland\n", "user", "add", "alice", "--group", "staff,editors", "--name", "Alice L.", "--email", "alice@example.com")
	bearer := "Authorization: Bearer " + pairOf(t, g.postJSON("/api/token/", wonderland))["access"]

	before := float64(time.Now().Unix())
	require.Equal(t, http.StatusOK, g.do(http.MethodPut, "/x", "", bearer, "X-Edge-Auth-Assertion: forged", "x-edge!auth!assertion: forged").status)
	got := up.one(t)
	assert.NotContains(t, got, "forged")
	claims := assertionIn(t, g, got, "X-Edge-Auth-Assertion")
	assert.Equal(t, "edge_auth", claims["iss"])
	assert.Equal(t, "alice", claims["sub"])
	assert.Equal(t, []any{"app"}, claims["aud"])
	assert.Equal(t, "PUT", claims["htm"])
	assert.Equal(t, strings.TrimPrefix(g.url, "http://"), claims["host"])
	assert.Equal(t, []any{"staff", "editors"}, claims["groups"])
	assert.Equal(t, "Alice L.", claims["name"])
	assert.Equal(t, "alice@example.com", claims["email"])
	assert.InDelta(t, before, claims["iat"], 5)
	assert.InDelta(t, before, claims["auth_time"], 60)
	assert.InDelta(t, claims["iat"], claims["exp"].(float64)-60, 0)
	first := claims["jti"]
	assert.NotEmpty(t, first)

	require.Equal(t, http.StatusOK, g.get("/x", bearer).status)
	assert.NotEqual(t, first, assertionIn(t, g, up.one(t), "X-Edge-Auth-Assertion")["jti"], "each is another one")

	require.Equal(t, http.StatusOK, g.get("/short", bearer, "X!Who: forged").status)
	got = up.one(t)
	assert.Empty(t, header(got, "Remote-User"))
	assert.Empty(t, header(got, "X-Edge-Auth-Assertion"))
	assert.NotContains(t, got, "forged")
	claims = assertionIn(t, g, got, "X-Who")
	assert.Equal(t, "https://gateway.example.com", claims["iss"])
	assert.Equal(t, []any{"app.example.com", "app"}, claims["aud"])
	assert.InDelta(t, claims["iat"], claims["exp"].(float64)-5, 0)

	require.Equal(t, http.StatusOK, g.get("/x", "X-Edge-Auth-Assertion: forged", "X-Edge!Auth-Assertion: forged", "X-Who: forged", "X!Who: forged").status)
	got = up.one(t)
	assert.Empty(t, header(got, "X-Edge-Auth-Assertion"), "nobody is nobody")
	assert.NotContains(t, got, "forged")
}

func TestForgedAssertionIsStrippedWhereNoPolicyMakesOne(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", "http://127.0.0.1:$PORT {\n edge_auth off\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.addr)
	require.Equal(t, http.StatusOK, g.get("/", "X-Edge-Auth-Assertion: forged", "X.Edge_Auth!Assertion: forged").status)
	assert.NotContains(t, up.one(t), "forged")
}

// An upstream that was sent an assertion must not be able to log in with it.
func TestAssertionIsNoCredential(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth {
		jwt
		assertion {
			audience app
		}
	}
	respond "{http.auth.user.id} {http.request.header.X-Edge-Auth-Assertion}"
}`)
	g.edgeAuth("wonderland\n", "user", "add", "alice")
	made := g.edgeAuth("", "jwt", "create", "alice")
	a := g.get("/", "Authorization: Bearer "+made)
	require.Equal(t, http.StatusOK, a.status, a.body)
	who, assertion, _ := strings.Cut(a.body, " ")
	require.Equal(t, "alice", who)
	require.Equal(t, 2, strings.Count(assertion, "."))

	a = g.get("/", "Authorization: Bearer "+assertion)
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.Contains(t, a.body, "token_not_valid")
	assert.Equal(t, http.StatusUnauthorized, g.get("/", "Cookie: __Host-access_token="+assertion).status)
	require.Equal(t, http.StatusOK, g.postJSON("/api/token/verify/", `{"token":"`+made+`"}`).status, "the baseline")
	assert.Equal(t, http.StatusUnauthorized, g.postJSON("/api/token/verify/", `{"token":"`+assertion+`"}`).status)
	assert.Equal(t, http.StatusUnauthorized, g.postJSON("/api/token/refresh/", `{"refresh":"`+assertion+`"}`).status)
}

func TestNobodyIsForwardedWhileThereIsNoKeyToSignWith(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "storage file_system /dev/null/nowhere", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	a := g.get("/", alice)
	assert.Equal(t, http.StatusServiceUnavailable, a.status)
	assert.Equal(t, "2", a.header.Get("Retry-After"))
	assert.NotContains(t, a.body, "key")
	assert.Empty(t, up.taken())
	assert.Equal(t, http.StatusUnauthorized, g.get("/", basicHeader("wrong")).status)

	g.url = g.vars.Replace("http://127.0.0.1:$PORT2")
	g.get("/", alice)
	assert.Empty(t, header(up.one(t), "Remote-User"), "nor is the upstream of an error page told anything")
}

func TestAssertionSignedWithASharedSecretIsWarnedAbout(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "BASIC", basicAlice(t))
	g.write("secret.jwk", `{"kty":"oct","k":"`+b64(strings.Repeat("k", 32))+`"}`)
	g.serve("edge_auth {\n signing_key $DIR/secret.jwk\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		assertion {
			audience app
		}
	}
}`)
	assert.Len(t, g.log.lines("an upstream that can verify them can make them too"), 1)
	assert.NotContains(t, g.log.String(), strings.Repeat("k", 32))
}

func TestAssertionIsMadeAnewByALaterPolicy(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	eventually(t, 10*time.Second, func() bool { return g.get("/.well-known/jwks.json").status == http.StatusOK }, "no key")
	require.Equal(t, http.StatusOK, g.get("/both", alice).status)
	assert.Equal(t, []any{"second"}, assertionIn(t, g, up.one(t), "X-Edge-Auth-Assertion")["aud"])
	require.Equal(t, http.StatusOK, g.get("/", alice).status)
	assert.Empty(t, header(up.one(t), "X-Edge-Auth-Assertion"), "the later policy says what the upstream is told")
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
			g := newGateway(t)
			config := g.write("caddy.json", `{"admin":{"disabled":true},"apps":{"http":{"servers":{"a":{"listen":["127.0.0.1:$PORT"],"routes":[{"handle":[{"handler":"edge_auth",
"policy":{"authenticators":[{"authenticator":"token","header":"X-API-Key"}],`+c.policy+`}}]}]}}}}}`)
			_, err := g.command("", "validate", "--config", config)
			require.ErrorContains(t, err, c.want)
		})
	}
}
