package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// es256 signs with a key of its own, whose public part is publicPEM of it.
func es256(t testing.TB) (harness.JWTIssuer, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return harness.JWTIssuer{Alg: "ES256", Sign: func(input []byte) []byte {
		sum := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		require.NoError(t, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}}, key
}

// withOtherS is a token with s of its ES256 signature replaced by n - s.
func withOtherS(t testing.TB, token string) string {
	t.Helper()
	dot := strings.LastIndex(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	require.NoError(t, err)
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(signature)
}

func TestTokenInTheQueryIsNeitherLoggedNorForwarded(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	issuer, key := es256(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Write("key.pem", harness.PublicPEM(t, &key.PublicKey))
	config := g.Write("Caddyfile", `{
	admin `+g.Admin+`
	auto_https off
}
http://127.0.0.1:$PORT {
	log
	handle_path /app/* {
		edge_auth {
			jwt {
				key ES256 $DIR/key.pem
				query access_token
				header X-Token
			}
		}
		header +X-Seen {http.request.orig_uri}
		reverse_proxy UPSTREAM {
			header_up X-Orig {http.request.orig_uri}
			header_up X-Query {query}
		}
	}
	handle /rewritten {
		route {
			rewrite * /x?
			edge_auth {
				jwt {
					key ES256 $DIR/key.pem
					query access_token
				}
			}
			reverse_proxy UPSTREAM
		}
	}
	handle /down {
		edge_auth {
			jwt {
				key ES256 $DIR/key.pem
				query access_token
			}
		}
		reverse_proxy 127.0.0.1:1
	}
	handle {
		edge_auth {
			jwt {
				key ES256 $DIR/key.pem
			}
		}
		reverse_proxy UPSTREAM
	}
}`)
	g.Run("run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
	assert.Len(t, g.Log.Lines("tokens are taken from the query"), 3, "warned of at load")

	claims := harness.ClaimsOf("alice")
	claims["canary"] = "canary-of-the-query"
	token := issuer.Token(t, claims)
	signature := token[strings.LastIndex(token, ".")+1:]
	a := g.Get("/app/x%2Fy?a=1&access_token=" + token + "&b=%20+&c")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	assert.Equal(t, []string{"/app/x%2Fy?a=1&b=%20+&c"}, a.Header["X-Seen"], "once, though the request started over")
	assert.Equal(t, "no-referrer", a.Header.Get("Referrer-Policy"))
	got := up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
	assert.True(t, strings.HasPrefix(got, "GET /x%2Fy?a=1&b=%20+&c HTTP/1.1\r\n"), got)
	assert.Equal(t, []string{"/app/x%2Fy?a=1&b=%20+&c"}, harness.HeaderOf(got, "X-Orig"))
	assert.NotContains(t, got, signature)

	posted := g.Do(http.MethodPost, "/app/?access_token="+token, "hello")
	require.Equal(t, http.StatusOK, posted.Status)
	assert.True(t, strings.HasSuffix(up.One(t), "\r\n\r\nhello"), "the body is read once")

	for query, want := range map[string]int{
		"access_token=" + token + "&access_token=" + token: 401,
		"Access_Token=" + token:                            200,
		"access%5ftoken=" + token:                          200,
		"access_token=" + token[:len(token)-4] + "AAAA":    401,
		"access_token=" + token + "%0a":                    401,
		"access_token=%zz":                                 401,
		"access_token=":                                    401,
		"x=access_token=" + "nothing":                      401,
		"token=" + "nothing":                               401,
	} {
		a := g.Get("/app/?" + query)
		assert.Equal(t, want, a.Status, query)
		for _, request := range up.Taken() {
			assert.NotContains(t, request, signature[:20])
			assert.Equal(t, http.StatusOK, want)
		}
	}
	a = g.Get("/app/?access_token="+token, "X-Token: "+token[:20])
	assert.Equal(t, http.StatusUnauthorized, a.Status, "the header decides where there is one")
	a = g.Get("/rewritten?access_token=" + token)
	assert.Equal(t, http.StatusOK, a.Status, a.Body)
	up.One(t)
	a = g.Get("/down?access_token=" + token)
	assert.Equal(t, http.StatusBadGateway, a.Status)
	assert.Equal(t, http.StatusUnauthorized, g.Get("/other?access_token=nothing").Status, "only where it is asked for")

	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines(`"handled request"`)) >= 15 }, "too few access log lines")
	log := g.Log.String()
	assert.NotContains(t, log, signature[:20])
	assert.NotContains(t, log, strings.Split(token, ".")[1][:40])
	assert.Contains(t, log, `"uri":"/app/x%2Fy?a=1&b=%20+&c"`)
	assert.Len(t, g.Log.Lines(`"uri":"/down"`), 2, "error log and access log")
}

func TestTokenInACookieStaysBehindWhateverElseIsSent(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			key HS256 SECRET
			cookie access_token
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "SECRET", strings.Repeat("s", 32))
	issuer := harness.HS256(strings.Repeat("s", 32))
	bearer, cookie := issuer.Token(t, harness.ClaimsOf("alice")), issuer.Token(t, harness.ClaimsOf("bob"))
	for _, cookies := range []string{"access_token=" + cookie + "; theme=dark", "access_token=" + cookie + "; theme=dark; access_token=x"} {
		a := g.Get("/", "Authorization: Bearer "+bearer, "Cookie: "+cookies)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		got := up.One(t)
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
		assert.Equal(t, []string{"theme=dark"}, harness.HeaderOf(got, "Cookie"))
	}
}

// The request starts over with all that an earlier policy has taken out of it.
func TestTokenInTheQueryBehindAnotherPolicy(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
	}
	handle /both {
		edge_auth {
			jwt {
				key HS256 SECRET
				query token
				header X-Token
				id_prefix q:
			}
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t), "SECRET", strings.Repeat("s", 32))
	token := harness.HS256(strings.Repeat("s", 32)).Token(t, harness.ClaimsOf("bob"))
	a := g.Get("/both?token="+token, harness.Alice, "Remote-User: root", "Cookie: theme=dark")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	got := up.One(t)
	assert.Equal(t, []string{"q:bob"}, harness.HeaderOf(got, "Remote-User"))
	assert.Empty(t, harness.HeaderOf(got, "Authorization"))
	assert.Equal(t, []string{"theme=dark"}, harness.HeaderOf(got, "Cookie"))
	assert.Equal(t, http.StatusUnauthorized, g.Get("/both?token="+token, "Remote-User: root").Status)
	assert.Equal(t, http.StatusUnauthorized, g.Get("/both", harness.Alice).Status)
	assert.Empty(t, up.Taken())
}

func TestRevokedJWTIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	issuer, key := es256(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Write("key.pem", harness.PublicPEM(t, &key.PublicKey))
	config := g.Write("Caddyfile", `{
	admin `+g.Admin+`
	auto_https off
}
http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			key ES256 $DIR/key.pem
			issuer https://idp.example.com
			audience api
			check_revoked
		}
		jwt {
			check_revoked
		}
	}
	reverse_proxy UPSTREAM
}`)
	g.Run("run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
	g.EdgeAuth("correct horse\n", "user", "add", "alice")

	send := func(token string) int { return g.Get("/", "Authorization: Bearer "+token).Status }
	with := func(name string, value any) string {
		claims := harness.ClaimsOf("bob")
		claims[name] = value
		return issuer.Token(t, claims)
	}
	named, unnamed, own := with("jti", "t1"), with("iat", time.Now().Unix()), g.EdgeAuth("", "jwt", "create", "alice")
	for _, token := range []string{named, withOtherS(t, named), unnamed, withOtherS(t, unnamed), own} {
		require.Equal(t, http.StatusOK, send(token))
		require.Equal(t, http.StatusOK, send(token), "from memory")
	}
	up.Taken()
	assert.Equal(t, "revoked", g.EdgeAuth(named, "jwt", "revoke"))
	assert.Equal(t, "revoked", g.EdgeAuth(unnamed+"\n", "jwt", "revoke"))
	assert.Equal(t, "revoked", g.EdgeAuth(own, "jwt", "revoke"))
	for _, token := range []string{named, withOtherS(t, named), unnamed, withOtherS(t, unnamed), own} {
		a := g.Get("/", "Authorization: Bearer "+token)
		assert.Equal(t, http.StatusUnauthorized, a.Status)
		assert.Contains(t, a.Body, "Token is blacklisted")
	}
	assert.Empty(t, up.Taken())

	second := with("jti", "t2")
	require.Equal(t, http.StatusOK, send(second))
	g.EdgeAuth("", "jwt", "revoke", "--jti", "t2", "--issuer", "https://idp.example.com")
	assert.Equal(t, http.StatusUnauthorized, send(second))

	third := with("n", 3)
	require.Equal(t, http.StatusOK, send(third))
	assert.Equal(t, "logged out bob", g.EdgeAuth("", "user", "logout", "bob"))
	assert.Equal(t, http.StatusUnauthorized, send(third))
	assert.Equal(t, http.StatusOK, send(with("auth_time", time.Now().Unix()+1)), "logged in since")

	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{}, "no token on standard input"},
		{"abc", []string{}, "not a JWT"},
		{"a.b.c", []string{}, "not a JWT"},
		{"e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1}`)) + ".AAAA", []string{}, "expired already"},
		{"", []string{"--jti", "x", "--lifetime", "soon"}, "such as 8h"},
		{"", []string{third}, "others see what stands on a command line"},
	} {
		_, err := g.Command(c.stdin, append([]string{"edge-auth", "--address", g.Admin, "jwt", "revoke"}, c.args...)...)
		require.ErrorContains(t, err, c.want, "%v", c.args)
	}
}

func TestRevocationThatNobodyAsksForIsTold(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n jwt\n}\n}")
	assert.Contains(t, g.EdgeAuth("", "jwt", "revoke", "--jti", "x"), "no policy of the running config says check_revoked")
}

// An unknown issuer is refused also where nobody need log in, although each of
// two authenticators could leave the token to the other.
func TestSeveralIssuersSideBySide(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	one, oneKey := es256(t)
	two, twoKey := es256(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Write("one.pem", harness.PublicPEM(t, &oneKey.PublicKey))
	g.Write("two.pem", harness.PublicPEM(t, &twoKey.PublicKey))
	config := g.Write("Caddyfile", `{
	admin `+g.Admin+`
	auto_https off
}
http://127.0.0.1:$PORT {
	edge_auth {
		optional
		jwt https://one.example {
			audience api
			key ES256 $DIR/one.pem
			id_prefix one:
		}
		jwt https://two.example {
			audience web
			key ES256 $DIR/two.pem
			user uid
			claim groups roles
			id_prefix two:
		}
		token {
			scheme Bearer
		}
	}
	reverse_proxy UPSTREAM
}`)
	g.Run("run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
	claims := func(issuer, audience string) map[string]any {
		return map[string]any{
			"iss": issuer, "aud": audience, "sub": "alice", "uid": 7, "roles": []string{"staff"}, "exp": time.Now().Add(time.Hour).Unix(),
		}
	}
	for name, c := range map[string]struct {
		token  string
		user   string
		groups []string
	}{
		"first":                    {one.Token(t, claims("https://one.example", "api")), "one:alice", nil},
		"second":                   {two.Token(t, claims("https://two.example", "web")), "two:7", []string{"staff"}},
		"key of the other":         {one.Token(t, claims("https://two.example", "web")), "", nil},
		"other key of the other":   {two.Token(t, claims("https://one.example", "api")), "", nil},
		"audience of the other":    {one.Token(t, claims("https://one.example", "web")), "", nil},
		"unknown issuer":           {one.Token(t, claims("https://three.example", "api")), "", nil},
		"slash":                    {one.Token(t, claims("https://one.example/", "api")), "", nil},
		"garbage":                  {"eyJ.eyJ.x", "", nil},
		"opaque, and nobody knows": {"ea_unknown", "", nil},
	} {
		for range 2 {
			a := g.Get("/", "Authorization: Bearer "+c.token)
			if c.user == "" {
				assert.Equal(t, http.StatusUnauthorized, a.Status, name)
				assert.Empty(t, up.Taken(), name)
				continue
			}
			require.Equal(t, http.StatusOK, a.Status, "%s: %s", name, a.Body)
			got := up.One(t)
			assert.Equal(t, []string{c.user}, harness.HeaderOf(got, "Remote-User"), name)
			assert.Equal(t, c.groups, harness.HeaderOf(got, "Remote-Groups"), name)
		}
	}
	require.Equal(t, http.StatusOK, g.Get("/").Status)
	assert.Empty(t, harness.HeaderOf(up.One(t), "Remote-User"))
}

func TestMetricsTellHowKeySetsFare(t *testing.T) {
	t.Parallel()
	signer, key := es256(t)
	idp := provider(t, &key.PublicKey, "")
	g := harness.Start(t, "metrics", `http://127.0.0.1:$PORT {
	handle /up {
		edge_auth {
			jwt IDP
		}
	}
	handle /down {
		edge_auth {
			jwt {
				jwks http://127.0.0.1:1/keys
			}
		}
	}
}`, "IDP", idp.URL)
	claims := harness.ClaimsOf("alice")
	claims["iss"] = idp.URL
	token := "Authorization: Bearer " + signer.Token(t, claims)
	require.Equal(t, http.StatusOK, g.Get("/up", token).Status)
	require.Equal(t, http.StatusServiceUnavailable, g.Get("/down", token).Status)
	metrics := g.Metrics()
	set := `{key_set="` + idp.URL + `/.well-known/openid-configuration"`
	for _, want := range []string{
		"caddy_edge_auth_key_set_keys" + set + "} 1\n",
		"caddy_edge_auth_key_set_fetches_total" + set + `,outcome="ok"} 1` + "\n",
		"caddy_edge_auth_key_set_fetches_total" + set + `,outcome="failed"} 0` + "\n",
		"caddy_edge_auth_key_set_fetched_timestamp_seconds" + set + "} ",
		`caddy_edge_auth_key_set_keys{key_set="http://127.0.0.1:1/keys"} 0` + "\n",
		`caddy_edge_auth_key_set_fetches_total{key_set="http://127.0.0.1:1/keys",outcome="failed"} 1` + "\n",
	} {
		assert.Contains(t, metrics, want)
	}
	assert.NotContains(t, metrics, `fetched_timestamp_seconds{key_set="http://127.0.0.1:1/keys"}`)
}
