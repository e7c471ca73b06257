package integration

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

const (
	issuerA = "https://a.example.com"
	issuerB = "https://b.example.com"

	rowSecret = "an HS256 secret of forty characters, ok."
)

// rowKeys are the keys of the issuers, by kid, and those of an attacker.
type rowKeys struct {
	rsa, any *rsa.PrivateKey // RS256 only, and whatever an RSA key can do
	es       *ecdsa.PrivateKey
	ed       ed25519.PrivateKey
	es384    *ecdsa.PrivateKey
	b        *ecdsa.PrivateKey // issuer B's, of the same kid as es
	own      ed25519.PrivateKey
	mallory  *ecdsa.PrivateKey
	fresh    []*ecdsa.PrivateKey // without a kid
	weak     map[string]rawRSA   // that no gateway should use
}

func newRowKeys(t testing.TB) *rowKeys {
	t.Helper()
	ec := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		return key
	}
	ed := func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		return key
	}
	rsaKey := func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		return key
	}
	k := &rowKeys{
		rsa: rsaKey(), any: rsaKey(), es: ec(elliptic.P256()), ed: ed(), es384: ec(elliptic.P384()), b: ec(elliptic.P256()),
		own: ed(), mallory: ec(elliptic.P256()), fresh: []*ecdsa.PrivateKey{ec(elliptic.P256()), ec(elliptic.P256()), ec(elliptic.P256())},
	}
	k.weak = map[string]rawRSA{
		"rsa1024": newRawRSA(t, 1024, 65537),
		"e1":      {n: k.rsa.N, e: 1, d: big.NewInt(1)},
		"e2":      {n: k.rsa.N, e: 2, d: big.NewInt(1)},
		"e3":      newRawRSA(t, 2048, 3),
		"roca":    newROCA(t),
	}
	return k
}

// setA is issuer A's key set: good keys, and some that nobody should use.
func (k *rowKeys) setA(t testing.TB) string {
	t.Helper()
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	x, _ := pointOf(&k.es.PublicKey)
	_, y := pointOf(&k.b.PublicKey)
	list := []string{
		jwkRSA("rs", `,"alg":"RS256","use":"sig"`, k.rsa.N, 65537),
		jwkRSA("any", ``, k.any.N, 65537),
		jwkEC("es", `,"alg":"ES256"`, &k.es.PublicKey),
		jwkEd("ed", `,"alg":"EdDSA"`, k.ed),
		jwkEC("es384", ``, &k.es384.PublicKey),
		jwkEC("es384 for ES256", `,"alg":"ES256"`, &k.es384.PublicKey),
		jwkEC("enc", `,"use":"enc"`, &k.es.PublicKey),
		jwkEC("ops", `,"key_ops":["encrypt"]`, &k.es.PublicKey),
		fmt.Sprintf(`{"kid":"off","kty":"EC","crv":"P-256","x":"%s","y":"%s"}`, b64(x), b64(y)),
		fmt.Sprintf(`{"kid":"x25519","kty":"OKP","crv":"X25519","x":"%s"}`, b64(x25519.PublicKey().Bytes())),
		`{"kid":"later","kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`,
	}
	return `{"keys":[` + strings.Join(list, ",") + `]}`
}

// setWeak are the weak keys, and a good one.
func (k *rowKeys) setWeak() string {
	set := `{"keys":[` + jwkRSA("rs", ``, k.rsa.N, 65537)
	for kid, key := range k.weak {
		set += "," + jwkRSA(kid, ``, key.n, key.e)
	}
	return set + `]}`
}

func jwkRSA(kid, more string, n *big.Int, e int64) string {
	return fmt.Sprintf(`{"kid":"%s","kty":"RSA","n":"%s","e":"%s"%s}`, kid, b64(n.Bytes()), b64(big.NewInt(e).Bytes()), more)
}

// jwkEC writes a key, without a kid if that is empty.
func jwkEC(kid, more string, key *ecdsa.PublicKey) string {
	if kid != "" {
		more += `,"kid":"` + kid + `"`
	}
	x, y := pointOf(key)
	return fmt.Sprintf(`{"kty":"EC","crv":"%s","x":"%s","y":"%s"%s}`, key.Params().Name, b64(x), b64(y), more)
}

// pointOf is where a key is on its curve.
func pointOf(key *ecdsa.PublicKey) (x, y []byte) {
	point := must(key.Bytes())[1:]
	return point[:len(point)/2], point[len(point)/2:]
}

func jwkEd(kid, more string, key ed25519.PrivateKey) string {
	return fmt.Sprintf(`{"kid":"%s","kty":"OKP","crv":"Ed25519","x":"%s"%s}`, kid, b64(key.Public().(ed25519.PublicKey)), more)
}

func signRSA(key *rsa.PrivateKey) signer {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, 5, sum[:]) // crypto.SHA256
		return must(signature, err)
	}
}

func signEC(key *ecdsa.PrivateKey) signer {
	return func(input []byte) []byte { return joinRS(hashAndSign(key, input)) }
}

func hashAndSign(key *ecdsa.PrivateKey, input []byte) (r, s *big.Int, size int) {
	size = (key.Params().BitSize + 7) / 8
	sum := sha256.Sum256(input)
	digest := sum[:]
	if size == 48 {
		long := sha512.Sum384(input)
		digest = long[:]
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	must(r, err)
	return r, s, size
}

// joinRS is r and s in as many bytes each (RFC 7518, section 3.4).
func joinRS(r, s *big.Int, size int) []byte {
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

func signEd(key ed25519.PrivateKey) signer {
	return func(input []byte) []byte { return ed25519.Sign(key, input) }
}

// gives is a signature that is not made, but given.
func gives(signature []byte) signer { return func([]byte) []byte { return signature } }

// must is for what can only fail where the system is broken.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// The usual headers of issuer A's tokens.
const (
	headRS = `{"alg":"RS256","kid":"rs","typ":"JWT"}`
	headES = `{"alg":"ES256","kid":"es","typ":"JWT"}`
	headEd = `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`
	headHS = `{"alg":"HS256","typ":"JWT"}`
)

// ed is a good token of issuer A but for changes of its claims.
func (r *jwtRows) ed(changes ...string) string {
	return jws(headEd, rowClaims(changes...), signEd(r.keys.ed))
}

// hs is one that is signed with the shared secret.
func (r *jwtRows) hs(changes ...string) string {
	return jws(headHS, rowClaims(changes...), harness.HS256(rowSecret).Sign)
}

// byOwn is one that our own key signed.
func (r *jwtRows) byOwn(changes ...string) string {
	return jws(`{"alg":"EdDSA","typ":"JWT"}`, rowClaims(append([]string{"iss", "", "aud", ""}, changes...)...), signEd(r.keys.own))
}

// rowIssuer serves the key sets, and counts what is asked of it.
type rowIssuer struct {
	*httptest.Server

	mu    sync.Mutex // guards asked
	asked map[string]int
}

func startIssuer(t testing.TB, sets map[string]string) *rowIssuer {
	t.Helper()
	idp := &rowIssuer{asked: make(map[string]int)}
	idp.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		idp.mu.Lock()
		idp.asked[r.URL.Path]++
		idp.mu.Unlock()
		set, ok := sets[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, set)
	}))
	t.Cleanup(idp.Close)
	return idp
}

func (i *rowIssuer) times(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// rowPolicies are the policies by name; each stands at the path of its name.
var rowPolicies = map[string]string{
	"a":        "jwt A {\n audience api\n jwks IDP/a\n}",
	"rs":       "jwt A {\n audience api\n jwks IDP/a\n algorithms RS256\n}",
	"es":       "jwt A {\n audience api\n key ES256 $DIR/es.pem\n}",
	"pem":      "jwt A {\n audience api\n key RS256 $DIR/rs.pem\n key ES256 $DIR/es.pem\n key EdDSA $DIR/ed.pem\n}",
	"rfc":      "jwt joe {\n key HS256 {file.$DIR/rfc7515.jwk}\n}",
	"open":     "jwt A {\n jwks IDP/a\n}",
	"leeway":   "jwt A {\n audience api\n jwks IDP/a\n leeway 10s\n}",
	"typ":      "jwt A {\n audience api\n jwks IDP/a\n typ at+jwt\n}",
	"life":     "jwt A {\n audience api\n jwks IDP/a\n max_lifetime 2h\n}",
	"big":      "jwt A {\n audience api\n jwks IDP/a\n max_size 1MB\n}",
	"nested":   "jwt A {\n audience api\n jwks IDP/a\n user person.ids.0\n}",
	"ids":      "jwt A {\n audience api\n jwks IDP/a\n require_claim at_hash\n}",
	"fresh":    "jwt A {\n audience api\n jwks IDP/fresh\n}",
	"weak":     "jwt A {\n audience api\n jwks IDP/weak\n}",
	"one":      "jwt A {\n audience api\n jwks IDP/one\n}",
	"two":      "jwt A {\n audience api\n jwks IDP/a\n}\n jwt B {\n audience api\n jwks IDP/b\n}\n jwt {\n issuer hs\n audience api\n key HS256 {env.ROW_SECRET}\n}",
	"b":        "jwt B {\n audience api\n jwks IDP/b\n}",
	"revoked":  "jwt A {\n audience api\n jwks IDP/a\n check_revoked\n}",
	"hs":       "jwt A {\n audience api\n key HS256 {env.ROW_SECRET}\n}",
	"simple":   "jwt {\n preset simplejwt\n key HS256 {env.ROW_SECRET}\n}",
	"cookie":   "jwt A {\n audience api\n jwks IDP/a\n cookie access_token\n}",
	"own":      "jwt",
	"optional": "jwt A {\n audience api\n jwks IDP/a\n}\n optional",
}

func startRows(t testing.TB) *jwtRows {
	t.Helper()
	keys := newRowKeys(t)
	fresh := make([]string, len(keys.fresh))
	for i, key := range keys.fresh {
		fresh[i] = jwkEC("", "", &key.PublicKey)
	}
	idp := startIssuer(t, map[string]string{
		"/a":     keys.setA(t),
		"/weak":  keys.setWeak(),
		"/b":     `{"keys":[` + jwkEC("es", "", &keys.b.PublicKey) + `]}`,
		"/fresh": `{"keys":[` + strings.Join(fresh, ",") + `]}`,
		"/one":   `{"keys":[` + fresh[0] + `]}`,
	})
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "IDP", idp.URL, "jwt A", "jwt "+issuerA, "jwt B", "jwt "+issuerB)
	g.Env = append(g.Env, "ROW_SECRET="+rowSecret)
	g.Write("rs.pem", harness.PublicPEM(t, &keys.rsa.PublicKey))
	g.Write("es.pem", harness.PublicPEM(t, &keys.es.PublicKey))
	g.Write("ed.pem", harness.PublicPEM(t, keys.ed.Public()))
	g.Write("own.pem", privatePEM(t, keys.own))
	g.Write("rfc7515.jwk", rfc7515Key)
	var policies, sites strings.Builder
	for name, body := range rowPolicies {
		fmt.Fprintf(&policies, "policy %s {\n %s\n}\n", name, body)
		fmt.Fprintf(&sites, "handle /%s {\n edge_auth %s\n reverse_proxy UPSTREAM\n}\n", name, name)
	}
	g.Run("run", "--adapter", "caddyfile", "--config", g.Write("Caddyfile",
		"{\n admin "+g.Admin+"\n auto_https off\n debug\n servers {\n max_header_size 1MB\n}\n edge_auth {\n signing_key $DIR/own.pem\n "+policies.String()+"}\n}\n"+
			"http://127.0.0.1:$PORT http://api:$PORT {\n"+sites.String()+"}\n"))
	g.WaitReady()
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	return &jwtRows{Gateway: g, up: up, keys: keys, idp: idp, line: newWire(t, g), sent: make(map[string]bool), started: time.Now()}
}

func privatePEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// RFC 7515, appendix A.1: a token that ended in 2011, and its key. The JSON of
// both holds line breaks, which count.
const (
	rfc7515Key   = `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`
	rfc7515Token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." +
		"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
		"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// decoded is a part of a token, decoded.
func decoded(t testing.TB, part string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	return data
}
