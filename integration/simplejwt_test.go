package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

type simpleSettings map[string]any

// simpleSecret is long enough for HS512.
var simpleSecret = strings.Repeat("0123456789abcdef", 4)

// startSimpleJWT runs a real djangorestframework-simplejwt, and returns its URL.
func startSimpleJWT(t testing.TB, settings simpleSettings) string {
	t.Helper()
	return startPython(t, "/me/", "simplejwt/site.py", t.TempDir(), string(must(json.Marshal(settings))))
}

// obtain logs alice in at a Django, and returns the tokens that it gives her.
func obtain(t testing.TB, url string) map[string]string {
	t.Helper()
	resp, err := harness.Client.Post(url, "application/json", strings.NewReader(`{"username":"alice","password":"wonderland"}`))
	require.NoError(t, err)
	return tokensIn(t, resp)
}

func tokensIn(t testing.TB, resp *http.Response) map[string]string {
	t.Helper()
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err := body.ReadFrom(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, body.String())
	var tokens map[string]string
	require.NoError(t, json.Unmarshal(body.Bytes(), &tokens), body.String())
	return tokens
}

func TestJ77TokensOfRealSimpleJWTAreAccepted(t *testing.T) {
	t.Parallel()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		settings simpleSettings
		jwt      string // the gateway's options
		header   string
		user     string
	}{
		"as it comes": {simpleSettings{"SIGNING_KEY": simpleSecret}, "key HS256 " + simpleSecret, "Authorization: Bearer ", "1"},
		"RS256 for an audience": {
			simpleSettings{"ALGORITHM": "RS256", "SIGNING_KEY": privatePEM(t, rsaKey), "VERIFYING_KEY": harness.PublicPEM(t, &rsaKey.PublicKey), "AUDIENCE": "api", "ISSUER": "https://idp.example.com"},
			"key RS256 $DIR/rsa.pem\n issuer https://idp.example.com\n audience api", "Authorization: Bearer ", "1",
		},
		"ES256": {
			simpleSettings{"ALGORITHM": "ES256", "SIGNING_KEY": privatePEM(t, ecKey), "VERIFYING_KEY": harness.PublicPEM(t, &ecKey.PublicKey)},
			"key ES256 $DIR/ec.pem", "Authorization: Bearer ", "1",
		},
		"every claim by another name": {
			simpleSettings{
				"ALGORITHM": "HS512", "SIGNING_KEY": simpleSecret, "USER_ID_CLAIM": "sub", "USER_ID_FIELD": "username", "TOKEN_TYPE_CLAIM": "typ", "JTI_CLAIM": "tid",
				"AUTH_HEADER_TYPES": []string{"JWT", "Bearer"}, "AUTH_HEADER_NAME": "HTTP_X_ACCESS_TOKEN",
			},
			"key HS512 " + simpleSecret + "\n user sub\n token_type_claim typ\n jti_claim tid\n header X-Access-Token JWT Bearer", "X-Access-Token: JWT ", "alice",
		},
		"no claims but the user": {
			simpleSettings{"SIGNING_KEY": simpleSecret, "TOKEN_TYPE_CLAIM": nil, "JTI_CLAIM": nil},
			"key HS256 " + simpleSecret + "\n token_type_claim off\n jti_claim off", "Authorization: Bearer ", "1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			django := startSimpleJWT(t, c.settings)
			up := harness.StartUpstream(t)
			g := harness.New(t, "UPSTREAM", up.Addr)
			g.Write("rsa.pem", harness.PublicPEM(t, &rsaKey.PublicKey))
			g.Write("ec.pem", harness.PublicPEM(t, &ecKey.PublicKey))
			g.Serve("", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			preset simplejwt
			`+c.jwt+`
		}
	}
	reverse_proxy UPSTREAM
}`)
			tokens := obtain(t, django+"/api/token/")
			resp, err := harness.Client.Post(django+"/api/token/refresh/", "application/json", strings.NewReader(`{"refresh":"`+tokens["refresh"]+`"}`))
			require.NoError(t, err)
			for _, access := range []string{tokens["access"], tokensIn(t, resp)["access"]} {
				if strings.Count(string(decoded(t, strings.Split(access, ".")[1])), `"null"`) > 1 {
					assert.Equal(t, http.StatusUnauthorized, g.Get("/", c.header+access).Status, "SimpleJWT 5.2 refreshes to tokens with a member twice")
					continue
				}
				a := g.Get("/", c.header+access)
				require.Equal(t, http.StatusOK, a.Status, a.Body)
				got := up.One(t)
				assert.Equal(t, []string{c.user}, harness.HeaderOf(got, "Remote-User"))
				assert.NotContains(t, got, access)
			}
			for _, wrong := range []string{tokens["access"] + "x", tokens["access"][1:], ""} {
				assert.Equal(t, http.StatusUnauthorized, g.Get("/", c.header+wrong).Status)
			}
			if kind, set := c.settings["TOKEN_TYPE_CLAIM"]; !set || kind != nil {
				a := g.Get("/", c.header+tokens["refresh"])
				assert.Equal(t, http.StatusUnauthorized, a.Status)
				assert.Contains(t, a.Body, "Token has wrong type")
			}
			assert.Empty(t, up.Taken())
		})
	}
}

func TestJ63SlidingTokenOfRealSimpleJWTIsRefusedUnlessAskedFor(t *testing.T) {
	t.Parallel()
	django := startSimpleJWT(t, simpleSettings{"SIGNING_KEY": simpleSecret, "AUTH_TOKEN_CLASSES": []string{"rest_framework_simplejwt.tokens.SlidingToken"}})
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth /access* {
		jwt {
			preset simplejwt
			key HS256 SECRET
		}
	}
	edge_auth /sliding* {
		jwt {
			preset simplejwt
			key HS256 SECRET
			require_claim token_type sliding
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "SECRET", simpleSecret)
	bearer := "Authorization: Bearer " + obtain(t, django+"/api/token/sliding/")["token"]
	a := g.Get("/access", bearer)
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	assert.Contains(t, a.Body, "Token has wrong type")
	assert.Empty(t, up.Taken())
	require.Equal(t, http.StatusOK, g.Get("/sliding", bearer).Status)
	assert.Equal(t, []string{"1"}, harness.HeaderOf(up.One(t), "Remote-User"))
}

// TestR42RealSimpleJWTAcceptsOurTokens has the gateway sign with a key that a
// Django knows, whole or in part.
func TestR42RealSimpleJWTAcceptsOurTokens(t *testing.T) {
	t.Parallel()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		settings simpleSettings
		key      string // of the gateway
	}{
		"HS256": {simpleSettings{"SIGNING_KEY": simpleSecret}, `{"kty":"oct","k":"` + b64(simpleSecret) + `"}`},
		"HS512": {simpleSettings{"ALGORITHM": "HS512", "SIGNING_KEY": simpleSecret}, `{"kty":"oct","alg":"HS512","k":"` + b64(simpleSecret) + `"}`},
		"RS256": {simpleSettings{"ALGORITHM": "RS256", "VERIFYING_KEY": harness.PublicPEM(t, &rsaKey.PublicKey)}, privatePEM(t, rsaKey)},
		"ES256": {simpleSettings{"ALGORITHM": "ES256", "VERIFYING_KEY": harness.PublicPEM(t, &ecKey.PublicKey)}, privatePEM(t, ecKey)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.settings["USER_ID_FIELD"] = "username"
			django := startSimpleJWT(t, c.settings)
			g := harness.New(t)
			g.Write("key", c.key)
			g.Serve("edge_auth {\n signing_key $DIR/key\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer
	edge_auth {
		jwt
	}
	respond {http.auth.user.id}
}`)
			g.EdgeAuth("wonderland\n", "user", "add", "alice")
			made := "Authorization: Bearer " + g.EdgeAuth("", "jwt", "create", "alice")
			a := g.Get("/", made)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			assert.Equal(t, "alice", a.Body)
			pair := pairOf(t, g.PostJSON("/api/token/", wonderland))
			status, body := fetch(t, django+"/me/", made)
			assert.Equal(t, http.StatusOK, status, body)
			ours := "Authorization: Bearer " + pair["access"]
			for path, want := range map[string]string{"/me/": `{"id":"1","name":"alice"}`, "/me-from-token/": `{"id":"alice","name":""}`} {
				status, body := fetch(t, django+path, ours)
				assert.Equal(t, http.StatusOK, status, body)
				assert.JSONEq(t, want, body)
				status, _ = fetch(t, django+path, ours[:len(ours)-4]+"AAAA")
				assert.Equal(t, http.StatusUnauthorized, status, "the baseline: it does check")
			}
			if c.settings["SIGNING_KEY"] == nil {
				return // that Django signs nothing
			}
			theirs := obtain(t, django+"/api/token/")
			second := pairOf(t, g.PostJSON("/api/token/refresh/", `{"refresh":"`+theirs["refresh"]+`"}`))
			status, body = fetch(t, django+"/me/", "Authorization: Bearer "+second["access"])
			assert.Equal(t, http.StatusOK, status, body)
			assert.Equal(t, http.StatusOK, g.Get("/", "Authorization: Bearer "+second["access"]).Status, "a login at Django goes on here")
		})
	}
}

// fetch asks for a URL with one header.
func fetch(t testing.TB, url, header string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	name, value, _ := strings.Cut(header, ": ")
	req.Header.Set(name, value)
	resp, err := harness.Client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, body.String()
}
