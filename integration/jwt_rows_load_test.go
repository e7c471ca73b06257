package integration

import (
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// TestJWTRowsAtLoad is rows J20, J44 and J76: what can't be meant, or is not
// safe, is told before anybody could send a token.
func TestJWTRowsAtLoad(t *testing.T) {
	t.Parallel()
	g := harness.New(t)
	keys := newRowKeys(t)
	weak, err := os.ReadFile("testdata/rsa1024.pem")
	require.NoError(t, err)
	public := harness.PublicPEM(t, &keys.rsa.PublicKey)
	block, _ := pem.Decode([]byte(public))
	require.NotNil(t, block)
	for name, text := range map[string]string{
		"rs.pem": public, "es.pem": harness.PublicPEM(t, &keys.es.PublicKey), "ed.pem": harness.PublicPEM(t, keys.ed.Public()), "crlf.pem": strings.ReplaceAll(public, "\n", "\r\n"),
		"own.pem": privatePEM(t, keys.own), "rsa-private.pem": privatePEM(t, keys.rsa), "rsa1024.pem": string(weak), "short.key": "only thirty-one characters long\n",
		"rs.key": public, "rs.jwk": jwkRSA("", "", keys.rsa.N, 65537), "private.jwk": strings.Replace(jwkEd("x", "", keys.own), "{", `{"d":"`+b64(keys.own.Seed())+`",`, 1),
		"e1.jwk": jwkRSA("x", "", keys.rsa.N, 1), "e2.jwk": jwkRSA("x", "", keys.rsa.N, 2), "e3.jwk": jwkRSA("x", "", keys.weak["e3"].n, 3),
		"roca.jwk": jwkRSA("x", "", keys.weak["roca"].n, 65537), "enc.jwk": jwkEC("x", `,"use":"enc"`, &keys.es.PublicKey), "empty.jwks": `{"keys":[]}`,
		"public.jwks": `{"keys":[` + jwkEC("x", "", &keys.es.PublicKey) + `]}`,
		"both.jwks":   `{"keys":[` + jwkEC("x", "", &keys.es.PublicKey) + `,{"kty":"oct","kid":"y","k":"` + b64(rowSecret) + `"}]}`,
	} {
		g.Write(name, text)
	}
	g.Env = append(g.Env, "ROW_PEM="+public, "ROW_SHORT="+rowSecret[:31], "ROW_SECRET="+rowSecret)

	for _, row := range []struct{ name, options, want string }{
		{"J20 HS256 with an RSA key in PEM", "key HS256 $DIR/rs.pem", "a public key is no secret"},
		{"J20 HS384 with an RSA key in PEM", "key HS384 $DIR/rs.pem", "a public key is no secret"},
		{"J20 HS512 with an RSA key in PEM", "key HS512 $DIR/rs.pem", "a public key is no secret"},
		{"J20 HS256 with CR LF", "key HS256 $DIR/crlf.pem", "a public key is no secret"},
		{"J20 HS256 with PEM from the environment", "key HS256 {env.ROW_PEM}", "a public key is no secret"},
		{"J20 HS256 with PEM by a placeholder", "key HS256 {file.$DIR/rs.key}", "a public key is no secret"},
		{"J20 HS256 with a JWK that is public", "key HS256 $DIR/rs.jwk", "HS256"},
		{"J20 HS256 with a set of public keys", "key HS256 $DIR/public.jwks", "HS256 does not go with this key"},
		{"J21 HS256 with an EC key", "key HS256 $DIR/es.pem", "a public key is no secret"},
		{"J21 HS256 with an Ed25519 key", "key HS256 $DIR/ed.pem", "a public key is no secret"},
		{"J25 RS256 with an EC key", "key RS256 $DIR/es.pem", "RS256 does not go with this key; it fits ES256"},
		{"J34 RSA of 1,024 bits", "key RS256 $DIR/rsa1024.pem", "RSA key of 1024 bits; at least 2048 are needed"},
		{"J34 e=1", "jwks $DIR/e1.jwk", "not safe"},
		{"J34 e=2", "jwks $DIR/e2.jwk", "not safe"},
		{"J34 e=3", "jwks $DIR/e3.jwk", "not safe"},
		{"J34 ROCA", "jwks $DIR/roca.jwk", "ROCA"},
		{"J34 for encryption", "jwks $DIR/enc.jwk", "its use is 'enc', not 'sig'"},
		{"J44 leeway below zero", "leeway -1h", "0s to 5m0s would do"},
		{"J44 leeway of a day", "leeway 24h", "0s to 5m0s would do"},
		{"J44 max_lifetime below zero", "max_lifetime -1h", "max_lifetime"},
		{"J76 HS256 key of 31 bytes", "key HS256 $DIR/short.key", "HS256 key of 31 bytes; at least 32 are needed"},
		{"J76 HS256 key of 31 bytes from the environment", "key HS256 {env.ROW_SHORT}", "HS256 key of 31 bytes; at least 32 are needed"},
		{"J76 HS256 key from nowhere", "key HS256 {env.ROW_NONE}", "ROW_NONE"},
		{"J76 HS512 key of 40 bytes", "key HS512 {env.ROW_SECRET}", "at least 64 are needed"},
		{"J76 none", "key none $DIR/rs.pem", "algorithm 'none' is never accepted"},
		{"J76 None", "algorithms RS256 None\n jwks $DIR/rs.jwk", "algorithm 'none' is never accepted"},
		{"J76 an algorithm that there is not", "key RS128 $DIR/rs.pem", "unknown algorithm 'RS128'"},
		{"J76 an RSA key that is private", "key RS256 $DIR/rsa-private.pem", "a private key"},
		{"J76 an Ed25519 key that is private", "key EdDSA $DIR/own.pem", "a private key"},
		{"J76 a JWK that is private", "jwks $DIR/private.jwk", "a private key"},
		{"J76 a secret and public keys", "key HS256 {env.ROW_SECRET}\n key RS256 $DIR/rs.pem", "give each a 'jwt' of its own"},
		{"J76 a secret and public keys in one set", "jwks $DIR/both.jwks", "take it apart"},
		{"J76 algorithms of both", "algorithms HS256 RS256\n jwks $DIR/rs.jwk", "give each a 'jwt' of its own"},
		{"J76 a set without keys", "jwks $DIR/empty.jwks", "the key set is empty"},
		{"good: RS256 with an RSA key", "key RS256 $DIR/rs.pem\n leeway 5m", ""},
		{"good: HS256 with a secret", "key HS256 {env.ROW_SECRET}\n max_lifetime 1h", ""},
	} {
		config := g.Write("Caddyfile", "http://127.0.0.1:$PORT {\n edge_auth {\n jwt "+issuerA+" {\n audience api\n "+row.options+"\n}\n}\n}\n")
		_, err := g.Command("", "validate", "--config", config, "--adapter", "caddyfile")
		if row.want == "" {
			require.NoError(t, err, row.name)
			continue
		}
		if assert.ErrorContains(t, err, row.want, row.name) {
			assert.NotContains(t, err.Error(), rowSecret[:31], row.name)
			assert.NotContains(t, err.Error(), "BEGIN", row.name)
		}
	}

	// The same secret and public keys may be those of one issuer only apart.
	config := g.Write("Caddyfile", "http://127.0.0.1:$PORT {\n edge_auth {\n jwt "+issuerA+" {\n key HS256 {env.ROW_SECRET}\n}\n jwt "+issuerA+" {\n key RS256 $DIR/rs.pem\n}\n}\n}\n")
	out, err := g.Command("", "validate", "--config", config, "--adapter", "caddyfile")
	assert.Error(t, err, "J76 a secret and public keys for one issuer, in two blocks: %s", out)
}
