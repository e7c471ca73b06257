package harness

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// Alice is the caller whose credential is right: a basic one, so that a test
// needs no store.
const Alice = "Authorization: Basic YWxpY2U6d29uZGVybGFuZA=="

// BasicAlice is an authenticator that knows alice.
func BasicAlice(t testing.TB) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("wonderland"), bcrypt.MinCost)
	require.NoError(t, err)
	return "basic {\n alice " + string(hash) + "\n }"
}

// BasicHeader is alice's header with a password.
func BasicHeader(password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+password))
}

// JWTIssuer signs tokens of other makers.
type JWTIssuer struct {
	Alg  string
	Sign func(input []byte) []byte
}

func (i JWTIssuer) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	input := encode([]byte(`{"alg":"`+i.Alg+`","typ":"JWT"}`)) + "." + encode(payload)
	return input + "." + encode(i.Sign([]byte(input)))
}

func ClaimsOf(user string) map[string]any {
	return map[string]any{"sub": user, "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://idp.example.com", "aud": "api"}
}

// PublicPEM writes a public key as openssl does.
func PublicPEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func HS256(secret string) JWTIssuer {
	return JWTIssuer{"HS256", func(input []byte) []byte {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(input)
		return mac.Sum(nil)
	}}
}

func NewEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return private
}
