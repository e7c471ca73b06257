package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// csrfSecret is of the form of Django's.
const csrfSecret = "abcdefghijklmnopqrstuvwxyzABCDEF"

func TestOwnCredentialsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff", "--email", "alice@example.com", "--name", "Alice L.")
	token := g.edgeAuth("", "token", "create", "alice", "--name", "ci", "--scope", "read", "--expires", "90d")
	jwt := g.edgeAuth("", "jwt", "create", "alice", "--lifetime", "10m")
	session := g.edgeAuth("", "session", "create", "alice", "--lifetime", "1h")

	for name, credential := range map[string]string{
		"token":   "Authorization: Token " + token,
		"jwt":     "Authorization: Bearer " + jwt,
		"session": "Cookie: theme=dark; __Host-edge_auth=" + session + "; lang=en",
	} {
		a := g.get("/", credential)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", name, a.body)
		got := up.one(t)
		assert.Equal(t, []string{"alice"}, header(got, "Remote-User"), name)
		assert.Equal(t, []string{"staff"}, header(got, "Remote-Groups"), name)
		if name != "token" {
			assert.Equal(t, []string{"Alice L."}, header(got, "Remote-Name"), name)
			assert.Equal(t, []string{"alice@example.com"}, header(got, "Remote-Email"), name)
		}
		assert.Empty(t, header(got, "Authorization"), name)
		for _, secret := range []string{token, jwt, session} {
			assert.NotContains(t, got, secret, "credentials do not travel")
		}
		if name == "session" {
			assert.Equal(t, []string{"theme=dark; lang=en"}, header(got, "Cookie"), "other cookies stay")
		}
	}

	// An unsafe request that another site made with the cookie.
	forged := g.do(http.MethodPost, "/", "x=1", "Cookie: __Host-edge_auth="+session, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusForbidden, forged.status)
	assert.JSONEq(t, `{"detail":"CSRF Failed: Origin checking failed - https://evil.example does not match any trusted origins.","code":"csrf_failed"}`, forged.body)
	assert.Empty(t, up.taken())
	assert.Equal(t, http.StatusOK, g.do(http.MethodPost, "/", "x=1", "Cookie: __Host-edge_auth="+session+"; csrftoken="+csrfSecret, "X-Csrftoken: "+csrfSecret, "Sec-Fetch-Site: same-origin").status)
	up.taken()

	id, _, _ := strings.Cut(strings.Split(g.edgeAuth("", "token", "list", "alice"), "\n")[1], " ")
	g.edgeAuth("", "token", "revoke", id)
	assert.Equal(t, http.StatusUnauthorized, g.get("/", "Authorization: Token "+token).status)
	id, _, _ = strings.Cut(strings.Split(g.edgeAuth("", "session", "list", "alice"), "\n")[1], " ")
	g.edgeAuth("", "session", "end", "alice", id)
	assert.Equal(t, http.StatusUnauthorized, g.get("/", "Cookie: __Host-edge_auth="+session).status)
	assert.Empty(t, up.taken())

	second := g.edgeAuth("", "token", "create", "alice")
	assert.Contains(t, g.edgeAuth("", "user", "list"), "alice@example.com")
	g.edgeAuth("", "user", "remove", "alice")
	assert.Equal(t, http.StatusUnauthorized, g.get("/", "Authorization: Token "+second).status, "a user takes their tokens with them")
	assert.NotContains(t, g.edgeAuth("", "user", "list"), "alice")
}

func TestCommandsRefuseMistakes(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", "http://127.0.0.1:$PORT {\n edge_auth\n}")
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
		_, err := g.command(c.stdin, append([]string{"edge-auth", "--address", g.admin}, c.args...)...)
		require.ErrorContains(t, err, c.want, "%v", c.args)
	}
}

func TestE35PasswordIsNoArgument(t *testing.T) {
	t.Parallel()
	out, err := newGateway(t).command("", "edge-auth", "user", "add", "--help")
	require.NoError(t, err)
	assert.NotContains(t, out, "--password")
}

// jwtIssuer signs tokens of other makers.
type jwtIssuer struct {
	alg  string
	sign func(input []byte) []byte
}

func (i jwtIssuer) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	input := encode([]byte(`{"alg":"`+i.alg+`","typ":"JWT"}`)) + "." + encode(payload)
	return input + "." + encode(i.sign([]byte(input)))
}

func claimsOf(user string) map[string]any {
	return map[string]any{"sub": user, "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://idp.example.com", "aud": "api"}
}

// publicPEM writes a public key as openssl does.
func publicPEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func hs256(secret string) jwtIssuer {
	return jwtIssuer{"HS256", func(input []byte) []byte {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(input)
		return mac.Sum(nil)
	}}
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
	rsaPEM := publicPEM(t, &rsaKey.PublicKey)

	issuers := map[string]jwtIssuer{
		"/HS256": hs256(secret),
		"/RS256": {"RS256", func(input []byte) []byte {
			sum := sha256.Sum256(input)
			signature, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, 5, sum[:]) // crypto.SHA256
			require.NoError(t, err)
			return signature
		}},
		"/ES256": {"ES256", func(input []byte) []byte {
			sum := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, ecKey, sum[:])
			require.NoError(t, err)
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}},
		"/EdDSA": {"EdDSA", func(input []byte) []byte { return ed25519.Sign(edKey, input) }},
	}
	up := startUpstream(t)
	g := newGateway(t, "UPSTREAM", up.addr)
	g.env = append(g.env, "JWT_SECRET="+secret)
	g.write("rs.pem", rsaPEM)
	g.write("es.pem", publicPEM(t, &ecKey.PublicKey))
	g.write("ed.pem", publicPEM(t, edPublic))
	sites := "http://127.0.0.1:$PORT {\n"
	for path, key := range map[string]string{
		"/HS256": "key HS256 {env.JWT_SECRET}", "/RS256": "key RS256 $DIR/rs.pem", "/ES256": "key ES256 $DIR/es.pem", "/EdDSA": "key EdDSA $DIR/ed.pem",
	} {
		sites += fmt.Sprintf("handle %s {\n edge_auth {\n jwt {\n issuer https://idp.example.com\n audience api\n %s\n}\n}\n reverse_proxy UPSTREAM\n}\n", path, key)
	}
	g.start("run", "--config", g.write("Caddyfile", "{\n admin "+g.admin+"\n auto_https off\n}\n"+sites+"}\n"), "--adapter", "caddyfile")
	g.waitReady()

	for path, issuer := range issuers {
		good := issuer.token(t, claimsOf("alice"))
		a := g.get(path, "Authorization: Bearer "+good)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", path, a.body)
		assert.Equal(t, []string{"alice"}, header(up.one(t), "Remote-User"))

		with := func(name string, value any) string {
			claims := claimsOf("alice")
			claims[name] = value
			if value == nil {
				delete(claims, name)
			}
			return issuer.token(t, claims)
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
			"another algorithm":    jwtIssuer{"HS256", hs256(rsaPEM).sign}.token(t, claimsOf("admin")),
			"none":                 jwtIssuer{"none", func([]byte) []byte { return nil }}.token(t, claimsOf("admin")),
			"none, with signature": jwtIssuer{"none", func([]byte) []byte { return []byte("x") }}.token(t, claimsOf("admin")),
		} {
			a := g.get(path, "Authorization: Bearer "+token)
			assert.Equal(t, http.StatusUnauthorized, a.status, "%s, %s", path, name)
			require.Len(t, a.header["Www-Authenticate"], 1)
			assert.Regexp(t, `^Bearer realm="api", error="invalid_token", error_description="Token [^"]+"$`, a.header["Www-Authenticate"][0], "%s, %s", path, name)
			assert.Contains(t, a.body, `"code":"token_not_valid"`)
		}
		assert.Empty(t, up.taken(), path)
	}
}

func TestJWKSFromURLIsFetchedWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	issuer := jwtIssuer{"EdDSA", func(input []byte) []byte { return ed25519.Sign(private, input) }}
	set := `{"keys":[{"kty":"AKP","alg":"ML-DSA-44","kid":"later"},{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration" {
			fmt.Fprintf(w, `{"issuer":"http://%s","jwks_uri":"http://%s/keys"}`, r.Host, r.Host)
			return
		}
		_, _ = bytes.NewBufferString(set).WriteTo(w)
	}))
	defer idp.Close()

	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "IDP", idp.URL)
	claims := claimsOf("alice")
	claims["iss"] = idp.URL
	token := "Authorization: Bearer " + issuer.token(t, claims)
	for _, path := range []string{"/set", "/discovered"} {
		a := g.get(path, token)
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, []string{"alice"}, header(up.one(t), "Remote-User"))
	}
	claims["iss"] = "https://evil.example"
	assert.Equal(t, http.StatusUnauthorized, g.get("/discovered", "Authorization: Bearer "+issuer.token(t, claims)).status)
	assert.Equal(t, http.StatusServiceUnavailable, g.get("/down", token).status, "unknown is not wrong")
	assert.Empty(t, up.taken())
}

func TestBearerTellsOpaqueTokensFromJWTs(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
		}
		jwt
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice")
	for _, credential := range []string{g.edgeAuth("", "token", "create", "alice"), g.edgeAuth("", "jwt", "create", "alice")} {
		assert.Equal(t, http.StatusOK, g.get("/", "Authorization: Bearer "+credential).status)
	}
	refused := g.get("/")
	assert.Equal(t, []string{`Bearer realm="api"`}, refused.header["Www-Authenticate"], "one challenge a scheme")
}

func TestEachSchemeIsChallenged(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token
		jwt
		basic {
			realm here
		}
		session
	}
}`)
	a := g.get("/")
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.Equal(t, []string{"Token", `Bearer realm="api"`, `Basic realm="here"`}, a.header["Www-Authenticate"])
	assert.JSONEq(t, `{"detail":"Authentication credentials were not provided.","code":"not_authenticated"}`, a.body)
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))

	two := g.get("/", "Authorization: Token x", "Authorization: Bearer y")
	assert.Equal(t, http.StatusUnauthorized, two.status)
}
