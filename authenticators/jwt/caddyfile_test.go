package jwt

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

func TestCaddyfileGivesTheConfig(t *testing.T) {
	t.Parallel()
	a := new(Authenticator)
	require.NoError(t, a.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`jwt https://idp.example.com {
		issuer https://b.example https://c.example
		audience api
		audience web app
		key HS256 {env.JWT_SECRET}
		key HS256 `+secret+`
		algorithms HS256
		leeway 10s
		header X-Token JWT Bearer
		cookie access
		query token
		typ at+jwt JWT
		max_lifetime 1h
		token_type_claim kind
		jti_claim off
		check_revoked
		require_claim token_type access sliding
		require_claim tenant
		user user_id
		claim groups realm_access.roles
		preset simplejwt
		id_prefix idp:
		max_size 4KB
		csrf {
			trusted_origins https://app.example.com
		}
	}`)))
	got, err := json.Marshal(a)
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"issuer": ["https://idp.example.com", "https://b.example", "https://c.example"], "audience": ["api", "web", "app"],
		"keys": [{"algorithm": "HS256", "value": "{env.JWT_SECRET}"}, {"algorithm": "HS256", "value": "`+secret+`"}],
		"algorithms": ["HS256"], "leeway": 10000000000, "header": "X-Token", "scheme": ["JWT", "Bearer"], "cookie": "access",
		"query": "token", "typ": ["at+jwt", "JWT"], "max_lifetime": 3600000000000, "token_type_claim": "kind", "jti_claim": "off", "check_revoked": true,
		"require_claims": [{"path": "token_type", "values": ["access", "sliding"]}, {"path": "tenant"}], "user": "user_id",
		"claims": [{"name": "groups", "path": "realm_access.roles"}], "preset": "simplejwt", "id_prefix": "idp:", "max_size": "4KB",
		"csrf": {"trusted_origins": ["https://app.example.com"]}
	}`, string(got))
}

func TestMistakesAreToldAtLoad(t *testing.T) {
	t.Parallel()
	key := "key HS256 " + secret
	for config, want := range map[string]string{
		"jwt a b":                                        "wrong argument count",
		"jwt {\n foo\n}":                                 "unknown jwt option 'foo'; jwt options: algorithms, audience, check_revoked, claim, cookie, csrf, header, id_prefix, issuer, jti_claim, jwks, key, leeway, max_lifetime, max_size, preset, query, require_claim, token_type_claim, typ, user",
		"jwt {\n algorithm RS256\n}":                     "did you mean 'algorithms'?",
		"jwt {\n algorithms none\n}":                     "algorithm 'none' is never accepted",
		"jwt {\n algorithms RS1\n}":                      "unknown algorithm 'RS1'",
		"jwt {\n algorithms HS256 RS256\n}":              "give each a 'jwt' of its own",
		"jwt {\n algorithms HS256\n}":                    "HS256 needs a secret",
		"jwt {\n key HS256\n}":                           "wrong argument count",
		"jwt {\n key HS256 a b\n}":                       "wrong argument count",
		"jwt {\n key HS256 short\n}":                     "HS256 key of 5 bytes; at least 32 are needed, at Testfile:2",
		"jwt {\n key HS512 " + secret[:63] + "\n}":       "HS512 key of 63 bytes; at least 64 are needed",
		"jwt {\n key none x\n}":                          "algorithm 'none' is never accepted",
		"jwt {\n key RS256 text\n}":                      "neither PEM nor a JWK",
		"jwt {\n key RS256 ./none.pem\n}":                "key file ./none.pem: no such file",
		"jwt {\n key HS256 /" + secret + "\n}":           "it looks like the name of a file",
		"jwt {\n key HS256 {env.EDGE_AUTH_TEST_NONE}\n}": "{env.EDGE_AUTH_TEST_NONE} is empty",
		"jwt {\n key HS256 `" + string(publicPEM(rsaKey().Public())) + "`\n}":   "a public key is no secret",
		"jwt {\n " + key + "\n key RS256 {env.X}\n}":                            "a shared secret (HS…) and public keys",
		"jwt {\n " + key + "\n algorithms HS384\n}":                             "a key for HS256, which is none of 'algorithms HS384'",
		"jwt {\n " + key + "\n " + key + "\n " + key + "\n}":                    "more than 2 HS256 keys without an id",
		"jwt {\n " + key + "\n jwks https://a.example\n}":                       "both 'key' and 'jwks'",
		"jwt {\n jwks http://a.example/keys\n}":                                 "https is needed",
		"jwt {\n jwks https://a:b@a.example/keys\n}":                            "without a user name",
		"jwt {\n jwks https://a.example\n jwks https://b.example\n}":            "stands twice",
		"jwt {\n jwks ./none.jwks\n}":                                           "no such file",
		"jwt http://idp.example.com":                                            "https is needed",
		"jwt idp":                                                               "an address such as https://idp.example.com",
		"jwt https://idp.example.com?x":                                         "without ? and #",
		"jwt {\n issuer\n}":                                                     "wrong argument count",
		"jwt {\n audience \"\"\n}":                                              "is empty",
		"jwt {\n leeway -1h\n}":                                                 "leeway of -1h0m0s; 0s to 5m0s would do",
		"jwt {\n leeway 24h\n}":                                                 "0s to 5m0s would do",
		"jwt {\n leeway soon\n}":                                                "a duration such as 10s",
		"jwt {\n leeway 1s\n leeway 2s\n}":                                      "stands twice",
		"jwt {\n header A-B\n header C-D\n}":                                    "stands twice",
		"jwt {\n header \"A B\"\n}":                                             "a name such as X-Token",
		"jwt {\n header Cookie\n}":                                              "a name such as X-Token",
		"jwt {\n header Authorization \"a b\"\n}":                               "one word is needed",
		"jwt {\n header\n}":                                                     "wrong argument count",
		"jwt {\n header X-A\n header X-B\n}":                                    "header stands twice",
		"jwt {\n header Authorization JWT a=b\n}":                               "one word is needed",
		"jwt {\n query a&b\n}":                                                  "a plain name such as access_token",
		"jwt {\n typ\n}":                                                        "wrong argument count",
		"jwt {\n typ \"at jwt\"\n}":                                             "a value such as at+jwt",
		"jwt {\n max_lifetime never\n}":                                         "a duration such as",
		"jwt {\n check_revoked now\n}":                                          "wrong argument count",
		"jwt {\n jti_claim tid\n}":                                              "add 'preset simplejwt'",
		"jwt {\n preset keycloack\n}":                                           "did you mean 'keycloak'?",
		"jwt {\n preset keycloak\n}":                                            "needs an 'issuer', such as https://keycloak.example.com/realms/main",
		"jwt https://t.eu.auth0.com {\n preset auth0\n audience api\n}":         "ends in a slash",
		"jwt https://t.eu.auth0.com/ {\n preset auth0\n}":                       "needs an 'audience'",
		"jwt {\n preset google\n}":                                              "needs an 'audience'",
		"jwt https://login.example.com/t/v2.0 {\n preset entra\n}":              "needs an 'audience'",
		"jwt https://team.cloudflareaccess.com {\n preset cloudflare_access\n}": "needs an 'audience'",
		"jwt {\n preset cognito\n}":                                             "needs an 'issuer'",
		"jwt {\n cookie \"a b\"\n}":                                             "a name such as access_token",
		"jwt https://idp.example.com {\n csrf off\n}":                           "add 'cookie <name>'",
		"jwt {\n jwks {env.KEYS}\n}":                                            "a placeholder is not taken here",
		"jwt {\n cookie a\n csrf on\n}":                                         "wrong argument count",
		"jwt {\n cookie a\n csrf off\n csrf off\n}":                             "stands twice",
		"jwt {\n cookie a\n csrf {\n trusted_origins app.example.com\n}\n}":     "https://app.example.com",
		"jwt {\n user a..b\n}":                                                  "a name is empty",
		"jwt {\n user a\n user b\n}":                                            "stands twice",
		"jwt {\n claim groups\n}":                                               "wrong argument count",
		"jwt {\n claim groups a\n claim groups b\n}":                            "mapped twice",
		"jwt {\n require_claim\n}":                                              "wrong argument count",
		"jwt {\n require_claim a..b\n}":                                         "a name is empty",
		"jwt {\n preset simplejtw\n}":                                           "did you mean 'simplejwt'?",
		"jwt {\n preset simplejwt\n}":                                           "needs the 'key' that Django signs with",
		"jwt {\n preset simplejwt\n jwks https://a.example\n}":                  "add 'algorithms RS256'",
		"jwt {\n max_size 1TB\n}":                                               "256B to 1MB would do",
		"jwt {\n max_size -1\n}":                                                "256B to 1MB would do",
	} {
		t.Run(strings.ReplaceAll(config[:min(len(config), 60)], "\n", ";"), func(t *testing.T) {
			t.Parallel()
			_, err := load(t, config)
			require.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), secret)
		})
	}
}

func TestSecretFromTheEnvironmentIsNeverAFile(t *testing.T) {
	value := "/etc/" + secret + ".key" // as base64 may well look
	t.Setenv("EDGE_AUTH_TEST_SECRET", value)
	a := ready(t, "jwt {\n key HS256 {env.EDGE_AUTH_TEST_SECRET}\n}")
	_, err := ask(t, a, compact("HS256", `{"alg":"HS256"}`, string(must(json.Marshal(claimsWith(nil)))), []byte(value)))
	require.NoError(t, err)
	config, err := json.Marshal(a)
	require.NoError(t, err)
	assert.NotContains(t, string(config), secret)
}

func TestKeyFileMayBeNamedByAPlaceholder(t *testing.T) {
	t.Setenv("EDGE_AUTH_TEST_DIR", filepath.Dir(keyFile(t, "ES256")))
	a := ready(t, "jwt {\n key ES256 {env.EDGE_AUTH_TEST_DIR}/key.pem\n}")
	_, err := ask(t, a, token("ES256", nil))
	require.NoError(t, err)
}

func TestSecretInAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	_, err := ask(t, ready(t, "jwt {\n key HS256 "+path+"\n}"), token("HS256", nil))
	require.NoError(t, err)
}

func TestIssuerWithoutAudienceIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for config, lines := range map[string]int{
		"jwt https://idp.example.com":                     1,
		"jwt https://idp.example.com {\n audience api\n}": 0,
		"jwt {\n key HS256 " + secret + "\n}":             0,
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		ready(t, config).Warn(zap.New(core))
		assert.Equal(t, lines, logs.Len(), config)
	}
}

// Two issuers that use the same kid, each with its own key.
func TestTokenIsCheckedWithTheKeysOfItsOwnIssuer(t *testing.T) {
	t.Parallel()
	var hits [2]atomic.Int64
	serve := func(n int, x, y []byte) *httptest.Server {
		server := httptest.NewUnstartedServer(nil)
		server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				hits[n].Add(1)
				_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"%s","y":"%s"}]}`, encode(x), encode(y))
				return
			}
			_, _ = fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s/keys"}`, server.URL, server.URL)
		})
		server.Start()
		t.Cleanup(server.Close)
		return server
	}
	point := must(p256().PublicKey.Bytes())
	other := must(otherKey().PublicKey.Bytes())
	one, two := serve(0, point[1:33], point[33:]), serve(1, other[1:33], other[33:])
	a := ready(t, "jwt "+one.URL+" "+"{\n issuer "+two.URL+"\n}")
	signed := func(issuer any, key any) string {
		return compact("ES256", `{"alg":"ES256","kid":"1"}`, string(must(json.Marshal(claimsWith(object{"iss": issuer})))), key)
	}
	for _, stranger := range []any{"https://evil.example", one.URL + "/", "", nil, []string{one.URL}} {
		_, err := ask(t, a, signed(stranger, p256()))
		refusal(t, err)
	}
	require.Zero(t, hits[0].Load()+hits[1].Load(), "strangers make nobody fetch")
	for n := range 200 {
		_, err := ask(t, a, signed(fmt.Sprintf("%s/%d", one.URL, n), p256()))
		refusal(t, err)
	}
	require.Zero(t, hits[0].Load()+hits[1].Load())

	_, err := ask(t, a, signed(one.URL, p256()))
	require.NoError(t, err)
	_, err = ask(t, a, signed(two.URL, otherKey()))
	require.NoError(t, err)
	_, err = ask(t, a, signed(one.URL, otherKey()))
	refusal(t, err)
	_, err = ask(t, a, signed(two.URL, p256()))
	refusal(t, err)
	assert.EqualValues(t, 1, hits[0].Load())
	assert.EqualValues(t, 1, hits[1].Load())
}

func TestIssuerThatIsDownIsNoRejection(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	a := ready(t, "jwt "+server.URL)
	_, err := ask(t, a, token("RS256", object{"iss": server.URL}))
	require.ErrorContains(t, err, "404")
	_, rejected := asRejection(err)
	require.False(t, rejected)
	_, err = ask(t, a, token("RS256", object{"iss": "https://other.example"}))
	refusal(t, err)
	_, err = ask(t, a, compact("HS256", `{"alg":"none"}`, `{"iss":"`+server.URL+`"}`, []byte(secret)))
	refusal(t, err)
}

var _ guesttest.Guest = (*Authenticator)(nil)
