package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// The keys that the tests sign with, by crypto alone.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	// otherKey is one that nobody here trusts, unless a test says so.
	otherKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
	secret   = strings.Repeat("0123456789abcdef", 4)
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// keyFor returns what signs, and what verifies.
func keyFor(alg string) (private any, public crypto.PublicKey) {
	switch alg {
	case "ES256":
		return p256(), p256().Public()
	case "ES384":
		return p384(), p384().Public()
	case "ES512":
		return p521(), p521().Public()
	case "EdDSA":
		return edKey(), edKey().Public()
	case "HS256", "HS384", "HS512":
		return []byte(secret), nil
	}
	return rsaKey(), rsaKey().Public()
}

func hashOf(alg string) crypto.Hash {
	switch alg[2:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	return crypto.SHA256
}

// signatureOf signs as RFC 7518 says.
func signatureOf(alg string, input []byte, key any) []byte {
	if alg == "EdDSA" {
		return ed25519.Sign(key.(ed25519.PrivateKey), input)
	}
	hash := hashOf(alg)
	if strings.HasPrefix(alg, "HS") {
		mac := hmac.New(hash.New, key.([]byte))
		mac.Write(input)
		return mac.Sum(nil)
	}
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch alg[:2] {
	case "RS":
		return must(rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), hash, digest))
	case "PS":
		return must(rsa.SignPSS(rand.Reader, key.(*rsa.PrivateKey), hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	}
	private := key.(*ecdsa.PrivateKey)
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		panic(err)
	}
	size := (private.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// compact joins and signs a header and claims as they stand.
func compact(alg, header, claims string, key any) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	return input + "." + encode(signatureOf(alg, []byte(input), key))
}

// now is the time of all tests.
var now = time.Unix(1_800_000_000, 0)

type object = map[string]any

// claimsWith returns good claims, changed. nil takes a claim out.
func claimsWith(changes object) object {
	claims := object{
		"sub": "alice", "exp": now.Unix() + 300, "iat": now.Unix() - 10, "nbf": now.Unix() - 10, "iss": "https://idp.example.com", "aud": "api",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// token makes one with a plain header and good claims, changed.
func token(alg string, changes object) string {
	private, _ := keyFor(alg)
	return compact(alg, `{"alg":"`+alg+`","typ":"JWT"}`, string(must(json.Marshal(claimsWith(changes)))), private)
}

// tokenOf makes one of claims as they stand.
func tokenOf(claims string) string {
	return compact("HS256", `{"alg":"HS256"}`, claims, []byte(secret))
}

func load(t testing.TB, config string) (*Authenticator, error) {
	t.Helper()
	a := new(Authenticator)
	if err := guesttest.Load(t, guesttest.NewHost(), a, config); err != nil {
		return nil, err
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	a.now = func() time.Time { return now }
	return a, nil
}

func ready(t testing.TB, config string) *Authenticator {
	t.Helper()
	a, err := load(t, config)
	require.NoError(t, err)
	return a
}

// withSecret accepts HS256 and has more options.
func withSecret(t testing.TB, options ...string) *Authenticator {
	t.Helper()
	return ready(t, "jwt {\n key HS256 "+secret+"\n"+strings.Join(options, "\n")+"\n}")
}

// keyFile writes the public key for alg to a file.
func keyFile(t testing.TB, alg string) string {
	t.Helper()
	_, public := keyFor(alg)
	path := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(path, publicPEM(public), 0o600))
	return path
}

func publicPEM(public crypto.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})
}

// ask sends a token as a bearer.
func ask(t testing.TB, a *Authenticator, token string) (*identity.Identity, error) {
	t.Helper()
	return guesttest.Ask(t, a, "Authorization: Bearer "+token)
}

// refusal is the rejection that err must be.
func refusal(t testing.TB, err error) *authenticators.RejectedError {
	t.Helper()
	rejected, ok := errors.AsType[*authenticators.RejectedError](err)
	require.True(t, ok, "%v is no rejection", err)
	return rejected
}
