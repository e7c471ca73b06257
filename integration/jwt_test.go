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
)

// es256 signs with a key of its own, whose public part is publicPEM of it.
func es256(t testing.TB) (jwtIssuer, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return jwtIssuer{"ES256", func(input []byte) []byte {
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
	up := startUpstream(t)
	issuer, key := es256(t)
	g := newGateway(t, "UPSTREAM", up.addr)
	g.write("key.pem", publicPEM(t, &key.PublicKey))
	config := g.write("Caddyfile", `{
	admin `+g.admin+`
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
	g.start("run", "--config", config, "--adapter", "caddyfile")
	g.waitReady()
	assert.Len(t, g.log.lines("tokens are taken from the query"), 3, "warned of at load")

	claims := claimsOf("alice")
	claims["canary"] = "canary-of-the-query"
	token := issuer.token(t, claims)
	signature := token[strings.LastIndex(token, ".")+1:]
	a := g.get("/app/x%2Fy?a=1&access_token=" + token + "&b=%20+&c")
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, []string{"/app/x%2Fy?a=1&b=%20+&c"}, a.header["X-Seen"], "once, though the request started over")
	assert.Equal(t, "no-referrer", a.header.Get("Referrer-Policy"))
	got := up.one(t)
	assert.Equal(t, []string{"alice"}, header(got, "Remote-User"))
	assert.True(t, strings.HasPrefix(got, "GET /x%2Fy?a=1&b=%20+&c HTTP/1.1\r\n"), got)
	assert.Equal(t, []string{"/app/x%2Fy?a=1&b=%20+&c"}, header(got, "X-Orig"))
	assert.NotContains(t, got, signature)

	posted := g.do(http.MethodPost, "/app/?access_token="+token, "hello")
	require.Equal(t, http.StatusOK, posted.status)
	assert.True(t, strings.HasSuffix(up.one(t), "\r\n\r\nhello"), "the body is read once")

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
		a := g.get("/app/?" + query)
		assert.Equal(t, want, a.status, query)
		for _, request := range up.taken() {
			assert.NotContains(t, request, signature[:20])
			assert.Equal(t, http.StatusOK, want)
		}
	}
	a = g.get("/app/?access_token="+token, "X-Token: "+token[:20])
	assert.Equal(t, http.StatusUnauthorized, a.status, "the header decides where there is one")
	a = g.get("/rewritten?access_token=" + token)
	assert.Equal(t, http.StatusOK, a.status, a.body)
	up.one(t)
	a = g.get("/down?access_token=" + token)
	assert.Equal(t, http.StatusBadGateway, a.status)
	assert.Equal(t, http.StatusUnauthorized, g.get("/other?access_token=nothing").status, "only where it is asked for")

	eventually(t, 5*time.Second, func() bool { return len(g.log.lines(`"handled request"`)) >= 15 }, "too few access log lines")
	log := g.log.String()
	assert.NotContains(t, log, signature[:20])
	assert.NotContains(t, log, strings.Split(token, ".")[1][:40])
	assert.Contains(t, log, `"uri":"/app/x%2Fy?a=1&b=%20+&c"`)
	assert.Len(t, g.log.lines(`"uri":"/down"`), 2, "error log and access log")
}

func TestTokenInACookieStaysBehindWhateverElseIsSent(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			key HS256 SECRET
			cookie access_token
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "SECRET", strings.Repeat("s", 32))
	issuer := hs256(strings.Repeat("s", 32))
	bearer, cookie := issuer.token(t, claimsOf("alice")), issuer.token(t, claimsOf("bob"))
	for _, cookies := range []string{"access_token=" + cookie + "; theme=dark", "access_token=" + cookie + "; theme=dark; access_token=x"} {
		a := g.get("/", "Authorization: Bearer "+bearer, "Cookie: "+cookies)
		require.Equal(t, http.StatusOK, a.status, a.body)
		got := up.one(t)
		assert.Equal(t, []string{"alice"}, header(got, "Remote-User"))
		assert.Equal(t, []string{"theme=dark"}, header(got, "Cookie"))
	}
}

// The request starts over with all that an earlier policy has taken out of it.
func TestTokenInTheQueryBehindAnotherPolicy(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t), "SECRET", strings.Repeat("s", 32))
	token := hs256(strings.Repeat("s", 32)).token(t, claimsOf("bob"))
	a := g.get("/both?token="+token, alice, "Remote-User: root", "Cookie: theme=dark")
	require.Equal(t, http.StatusOK, a.status, a.body)
	got := up.one(t)
	assert.Equal(t, []string{"q:bob"}, header(got, "Remote-User"))
	assert.Empty(t, header(got, "Authorization"))
	assert.Equal(t, []string{"theme=dark"}, header(got, "Cookie"))
	assert.Equal(t, http.StatusUnauthorized, g.get("/both?token="+token, "Remote-User: root").status)
	assert.Equal(t, http.StatusUnauthorized, g.get("/both", alice).status)
	assert.Empty(t, up.taken())
}

func TestRevokedJWTIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	issuer, key := es256(t)
	g := newGateway(t, "UPSTREAM", up.addr)
	g.write("key.pem", publicPEM(t, &key.PublicKey))
	config := g.write("Caddyfile", `{
	admin `+g.admin+`
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
	g.start("run", "--config", config, "--adapter", "caddyfile")
	g.waitReady()
	g.edgeAuth("correct horse\n", "user", "add", "alice")

	send := func(token string) int { return g.get("/", "Authorization: Bearer "+token).status }
	with := func(name string, value any) string {
		claims := claimsOf("bob")
		claims[name] = value
		return issuer.token(t, claims)
	}
	named, unnamed, own := with("jti", "t1"), with("iat", time.Now().Unix()), g.edgeAuth("", "jwt", "create", "alice")
	for _, token := range []string{named, withOtherS(t, named), unnamed, withOtherS(t, unnamed), own} {
		require.Equal(t, http.StatusOK, send(token))
		require.Equal(t, http.StatusOK, send(token), "from memory")
	}
	up.taken()
	assert.Equal(t, "revoked", g.edgeAuth(named, "jwt", "revoke"))
	assert.Equal(t, "revoked", g.edgeAuth(unnamed+"\n", "jwt", "revoke"))
	assert.Equal(t, "revoked", g.edgeAuth(own, "jwt", "revoke"))
	for _, token := range []string{named, withOtherS(t, named), unnamed, withOtherS(t, unnamed), own} {
		a := g.get("/", "Authorization: Bearer "+token)
		assert.Equal(t, http.StatusUnauthorized, a.status)
		assert.Contains(t, a.body, "Token is blacklisted")
	}
	assert.Empty(t, up.taken())

	second := with("jti", "t2")
	require.Equal(t, http.StatusOK, send(second))
	g.edgeAuth("", "jwt", "revoke", "--jti", "t2", "--issuer", "https://idp.example.com")
	assert.Equal(t, http.StatusUnauthorized, send(second))

	third := with("n", 3)
	require.Equal(t, http.StatusOK, send(third))
	assert.Equal(t, "logged out bob", g.edgeAuth("", "user", "logout", "bob"))
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
		_, err := g.command(c.stdin, append([]string{"edge-auth", "--address", g.admin, "jwt", "revoke"}, c.args...)...)
		require.ErrorContains(t, err, c.want, "%v", c.args)
	}
}

func TestRevocationThatNobodyAsksForIsTold(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n jwt\n}\n}")
	assert.Contains(t, g.edgeAuth("", "jwt", "revoke", "--jti", "x"), "no policy of the running config says check_revoked")
}

// An unknown issuer is refused also where nobody need log in, although each of
// two authenticators could leave the token to the other.
func TestSeveralIssuersSideBySide(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	one, oneKey := es256(t)
	two, twoKey := es256(t)
	g := newGateway(t, "UPSTREAM", up.addr)
	g.write("one.pem", publicPEM(t, &oneKey.PublicKey))
	g.write("two.pem", publicPEM(t, &twoKey.PublicKey))
	config := g.write("Caddyfile", `{
	admin `+g.admin+`
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
	g.start("run", "--config", config, "--adapter", "caddyfile")
	g.waitReady()
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
		"first":                    {one.token(t, claims("https://one.example", "api")), "one:alice", nil},
		"second":                   {two.token(t, claims("https://two.example", "web")), "two:7", []string{"staff"}},
		"key of the other":         {one.token(t, claims("https://two.example", "web")), "", nil},
		"other key of the other":   {two.token(t, claims("https://one.example", "api")), "", nil},
		"audience of the other":    {one.token(t, claims("https://one.example", "web")), "", nil},
		"unknown issuer":           {one.token(t, claims("https://three.example", "api")), "", nil},
		"slash":                    {one.token(t, claims("https://one.example/", "api")), "", nil},
		"garbage":                  {"eyJ.eyJ.x", "", nil},
		"opaque, and nobody knows": {"ea_unknown", "", nil},
	} {
		for range 2 {
			a := g.get("/", "Authorization: Bearer "+c.token)
			if c.user == "" {
				assert.Equal(t, http.StatusUnauthorized, a.status, name)
				assert.Empty(t, up.taken(), name)
				continue
			}
			require.Equal(t, http.StatusOK, a.status, "%s: %s", name, a.body)
			got := up.one(t)
			assert.Equal(t, []string{c.user}, header(got, "Remote-User"), name)
			assert.Equal(t, c.groups, header(got, "Remote-Groups"), name)
		}
	}
	require.Equal(t, http.StatusOK, g.get("/").status)
	assert.Empty(t, header(up.one(t), "Remote-User"))
}

func TestMetricsTellHowKeySetsFare(t *testing.T) {
	t.Parallel()
	signer, key := es256(t)
	idp := provider(t, &key.PublicKey, "")
	g := startGateway(t, "metrics", `http://127.0.0.1:$PORT {
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
	claims := claimsOf("alice")
	claims["iss"] = idp.URL
	token := "Authorization: Bearer " + signer.token(t, claims)
	require.Equal(t, http.StatusOK, g.get("/up", token).status)
	require.Equal(t, http.StatusServiceUnavailable, g.get("/down", token).status)
	metrics := g.metrics()
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
