package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// csrfSecret is of the form of Django's.
const csrfSecret = "abcdefghijklmnopqrstuvwxyzABCDEF"

func TestOwnCredentialsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth
	handle /basic {
		edge_auth {
			basic
		}
		reverse_proxy UPSTREAM
	}
	handle {
		reverse_proxy UPSTREAM
	}
}
http://127.0.0.1:$PORT2 {
	edge_auth {
		basic
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff", "--email", "alice@example.com", "--name", "Alice L.")
	token := g.EdgeAuth("", "token", "create", "alice", "--name", "ci", "--scope", "read", "--expires", "90d")
	jwt := g.EdgeAuth("", "jwt", "create", "alice", "--lifetime", "10m")
	session := g.EdgeAuth("", "session", "create", "alice", "--lifetime", "1h")

	for name, credential := range map[string]string{
		"token":   "Authorization: Token " + token,
		"jwt":     "Authorization: Bearer " + jwt,
		"session": "Cookie: theme=dark; __Host-edge_auth=" + session + "; lang=en",
	} {
		a := g.Get("/", credential)
		require.Equal(t, http.StatusOK, a.Status, "%s: %s", name, a.Body)
		got := up.One(t)
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"), name)
		assert.Equal(t, []string{"staff"}, harness.HeaderOf(got, "Remote-Groups"), name)
		if name != "token" {
			assert.Equal(t, []string{"Alice L."}, harness.HeaderOf(got, "Remote-Name"), name)
			assert.Equal(t, []string{"alice@example.com"}, harness.HeaderOf(got, "Remote-Email"), name)
		}
		assert.Empty(t, harness.HeaderOf(got, "Authorization"), name)
		for _, secret := range []string{token, jwt, session} {
			assert.NotContains(t, got, secret, "credentials do not travel")
		}
		if name == "session" {
			assert.Equal(t, []string{"theme=dark; lang=en"}, harness.HeaderOf(got, "Cookie"), "other cookies stay")
		}
	}

	// An unsafe request that another site made with the cookie.
	forged := g.Do(http.MethodPost, "/", "x=1", "Cookie: __Host-edge_auth="+session, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusForbidden, forged.Status)
	assert.JSONEq(t, `{"detail":"CSRF Failed: Origin checking failed - https://evil.example does not match any trusted origins.","code":"csrf_failed"}`, forged.Body)
	assert.Empty(t, up.Taken())
	assert.Equal(t, http.StatusOK, g.Do(http.MethodPost, "/", "x=1", "Cookie: __Host-edge_auth="+session+"; csrftoken="+csrfSecret, "X-Csrftoken: "+csrfSecret, "Sec-Fetch-Site: same-origin").Status)
	up.Taken()

	id, _, _ := strings.Cut(strings.Split(g.EdgeAuth("", "token", "list", "alice"), "\n")[1], " ")
	g.EdgeAuth("", "token", "revoke", id)
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Authorization: Token "+token).Status)
	id, _, _ = strings.Cut(strings.Split(g.EdgeAuth("", "session", "list", "alice"), "\n")[1], " ")
	g.EdgeAuth("", "session", "end", "alice", id)
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Cookie: __Host-edge_auth="+session).Status)
	assert.Empty(t, up.Taken())

	second := g.EdgeAuth("", "token", "create", "alice")
	assert.Contains(t, g.EdgeAuth("", "user", "list"), "alice@example.com")
	g.EdgeAuth("", "user", "remove", "alice")
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Authorization: Token "+second).Status, "a user takes their tokens with them")
	assert.NotContains(t, g.EdgeAuth("", "user", "list"), "alice")
}

func TestCommandsRefuseMistakes(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth\n}")
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"short\n", []string{"user", "add", "alice"}, "8 to 1024"},
		{"", []string{"user", "add", "alice"}, "no password"},
		{"correct horse\n", []string{"user", "add", "42"}, "primary key of another system"},
		{"correct horse\n", []string{"user", "add", "a:b"}, "leave out"},
		{"", []string{"token", "create", "nobody"}, "user add nobody"},
		{"", []string{"token", "create", "nobody", "--expires", "soon"}, "such as 8h or 90d"},
		{"", []string{"token", "revoke", "0123"}, "no such record"},
		{"", []string{"user", "remove", "nobody"}, "no such record"},
	} {
		_, err := g.Command(c.stdin, append([]string{"edge-auth", "--address", g.Admin}, c.args...)...)
		require.ErrorContains(t, err, c.want, "%v", c.args)
	}
}

func TestE35PasswordIsNoArgument(t *testing.T) {
	t.Parallel()
	out, err := harness.New(t).Command("", "edge-auth", "user", "add", "--help")
	require.NoError(t, err)
	assert.NotContains(t, out, "--password")
}

func TestJWTsOfOtherIssuersByAlgorithm(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	secret := strings.Repeat("s3cret! ", 5)[:39]
	rsaPEM := harness.PublicPEM(t, &rsaKey.PublicKey)

	issuers := map[string]harness.JWTIssuer{
		"/HS256": harness.HS256(secret),
		"/RS256": {Alg: "RS256", Sign: func(input []byte) []byte {
			sum := sha256.Sum256(input)
			signature, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, 5, sum[:]) // crypto.SHA256
			require.NoError(t, err)
			return signature
		}},
		"/ES256": {Alg: "ES256", Sign: func(input []byte) []byte {
			sum := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, ecKey, sum[:])
			require.NoError(t, err)
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}},
		"/EdDSA": {Alg: "EdDSA", Sign: func(input []byte) []byte { return ed25519.Sign(edKey, input) }},
	}
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Env = append(g.Env, "JWT_SECRET="+secret)
	g.Write("rs.pem", rsaPEM)
	g.Write("es.pem", harness.PublicPEM(t, &ecKey.PublicKey))
	g.Write("ed.pem", harness.PublicPEM(t, edPublic))
	sites := "http://127.0.0.1:$PORT {\n"
	for path, key := range map[string]string{
		"/HS256": "key HS256 {env.JWT_SECRET}", "/RS256": "key RS256 $DIR/rs.pem", "/ES256": "key ES256 $DIR/es.pem", "/EdDSA": "key EdDSA $DIR/ed.pem",
	} {
		sites += fmt.Sprintf("handle %s {\n edge_auth {\n jwt {\n issuer https://idp.example.com\n audience api\n %s\n}\n}\n reverse_proxy UPSTREAM\n}\n", path, key)
	}
	g.Run("run", "--config", g.Write("Caddyfile", "{\n admin "+g.Admin+"\n auto_https off\n}\n"+sites+"}\n"), "--adapter", "caddyfile")
	g.WaitReady()

	for path, issuer := range issuers {
		good := issuer.Token(t, harness.ClaimsOf("alice"))
		a := g.Get(path, "Authorization: Bearer "+good)
		require.Equal(t, http.StatusOK, a.Status, "%s: %s", path, a.Body)
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(up.One(t), "Remote-User"))

		with := func(name string, value any) string {
			claims := harness.ClaimsOf("alice")
			claims[name] = value
			if value == nil {
				delete(claims, name)
			}
			return issuer.Token(t, claims)
		}
		for name, token := range map[string]string{
			"expired":              with("exp", time.Now().Unix()-1),
			"never expires":        with("exp", nil),
			"exp zero":             with("exp", 0),
			"not yet":              with("nbf", time.Now().Unix()+60),
			"another issuer":       with("iss", "https://evil.example"),
			"another audience":     with("aud", "web"),
			"no audience":          with("aud", nil),
			"nobody":               with("sub", nil),
			"refresh":              with("token_type", "refresh"),
			"padded":               good + "=",
			"changed":              good[:len(good)-6] + "AAAAAA",
			"unsigned":             good[:strings.LastIndex(good, ".")+1],
			"another algorithm":    harness.JWTIssuer{Alg: "HS256", Sign: harness.HS256(rsaPEM).Sign}.Token(t, harness.ClaimsOf("admin")),
			"none":                 harness.JWTIssuer{Alg: "none", Sign: func([]byte) []byte { return nil }}.Token(t, harness.ClaimsOf("admin")),
			"none, with signature": harness.JWTIssuer{Alg: "none", Sign: func([]byte) []byte { return []byte("x") }}.Token(t, harness.ClaimsOf("admin")),
		} {
			a := g.Get(path, "Authorization: Bearer "+token)
			assert.Equal(t, http.StatusUnauthorized, a.Status, "%s, %s", path, name)
			require.Len(t, a.Header["Www-Authenticate"], 1)
			assert.Regexp(t, `^Bearer realm="api", error="invalid_token", error_description="Token [^"]+"$`, a.Header["Www-Authenticate"][0], "%s, %s", path, name)
			assert.Contains(t, a.Body, `"code":"token_not_valid"`)
		}
		assert.Empty(t, up.Taken(), path)
	}
}

func TestJWKSFromURLIsFetchedWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	issuer := harness.JWTIssuer{Alg: "EdDSA", Sign: func(input []byte) []byte { return ed25519.Sign(private, input) }}
	set := `{"keys":[{"kty":"AKP","alg":"ML-DSA-44","kid":"later"},{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration" {
			fmt.Fprintf(w, `{"issuer":"http://%s","jwks_uri":"http://%s/keys"}`, r.Host, r.Host)
			return
		}
		_, _ = bytes.NewBufferString(set).WriteTo(w)
	}))
	defer idp.Close()

	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	handle /set {
		edge_auth {
			jwt {
				jwks IDP/keys
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /discovered {
		edge_auth {
			jwt IDP
		}
		reverse_proxy UPSTREAM
	}
	handle /down {
		edge_auth {
			jwt {
				jwks http://127.0.0.1:1/keys
			}
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr, "IDP", idp.URL)
	claims := harness.ClaimsOf("alice")
	claims["iss"] = idp.URL
	token := "Authorization: Bearer " + issuer.Token(t, claims)
	for _, path := range []string{"/set", "/discovered"} {
		a := g.Get(path, token)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(up.One(t), "Remote-User"))
	}
	claims["iss"] = "https://evil.example"
	assert.Equal(t, http.StatusUnauthorized, g.Get("/discovered", "Authorization: Bearer "+issuer.Token(t, claims)).Status)
	assert.Equal(t, http.StatusServiceUnavailable, g.Get("/down", token).Status, "unknown is not wrong")
	assert.Empty(t, up.Taken())
}

func TestBearerTellsOpaqueTokensFromJWTs(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
		}
		jwt
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	for _, credential := range []string{g.EdgeAuth("", "token", "create", "alice"), g.EdgeAuth("", "jwt", "create", "alice")} {
		assert.Equal(t, http.StatusOK, g.Get("/", "Authorization: Bearer "+credential).Status)
	}
	refused := g.Get("/")
	assert.Equal(t, []string{`Bearer realm="api"`}, refused.Header["Www-Authenticate"], "one challenge a scheme")
}

func TestEachSchemeIsChallenged(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token
		jwt
		basic {
			realm here
		}
		session
	}
}`)
	a := g.Get("/")
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	assert.Equal(t, []string{"Token", `Bearer realm="api"`, `Basic realm="here"`}, a.Header["Www-Authenticate"])
	assert.JSONEq(t, `{"detail":"Authentication credentials were not provided.","code":"not_authenticated"}`, a.Body)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))

	two := g.Get("/", "Authorization: Token x", "Authorization: Bearer y")
	assert.Equal(t, http.StatusUnauthorized, two.Status)
}
