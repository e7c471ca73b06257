package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// asJWK gives a key as a JWK with more members, which are JSON without braces.
func asJWK(public any, more string) string {
	encode := base64.RawURLEncoding.EncodeToString
	form := ""
	switch k := public.(type) {
	case *rsa.PublicKey:
		form = fmt.Sprintf(`"kty":"RSA","n":"%s","e":"%s"`, encode(k.N.Bytes()), encode(big.NewInt(int64(k.E)).Bytes()))
	case *ecdsa.PublicKey:
		point := must(k.Bytes())
		half := len(point) / 2
		form = fmt.Sprintf(`"kty":"EC","crv":"%s","x":"%s","y":"%s"`, k.Params().Name, encode(point[1:1+half]), encode(point[1+half:]))
	case ed25519.PublicKey:
		form = fmt.Sprintf(`"kty":"OKP","crv":"Ed25519","x":"%s"`, encode(k))
	case []byte:
		form = fmt.Sprintf(`"kty":"oct","k":"%s"`, encode(k))
	}
	if more != "" {
		more = "," + more
	}
	return "{" + form + more + "}"
}

func asSet(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func TestPublicKeysAreReadFromAllForms(t *testing.T) {
	t.Parallel()
	certificate := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, &p256().PublicKey, p256()))
	pkix := inPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)))
	for name, c := range map[string]struct {
		text string
		alg  string
		ids  []string
	}{
		"PKIX":             {pkix, "RS256", []string{""}},
		"PKIX with CRLF":   {strings.ReplaceAll(pkix, "\n", "\r\n"), "RS256", []string{""}},
		"PKCS #1":          {inPEM("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)), "PS512", []string{""}},
		"certificate":      {inPEM("CERTIFICATE", certificate), "ES256", []string{""}},
		"two":              {pkix + "\n" + pkix, "RS256", []string{"", ""}},
		"Ed25519":          {inPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(edKey().Public()))), "EdDSA", []string{""}},
		"JWK":              {asJWK(&p384().PublicKey, `"kid":"a"`), "ES384", []string{"a"}},
		"JWK of RSA":       {"\n " + asJWK(&rsaKey().PublicKey, `"kid":"a","use":"sig","alg":"RS256"`), "RS256", []string{"a"}},
		"JWK of Ed25519":   {asJWK(edKey().Public(), ""), "EdDSA", []string{""}},
		"JWK with key_ops": {asJWK(&p521().PublicKey, `"key_ops":["sign","verify"]`), "ES512", []string{""}},
		"with a bad x5c":   {asJWK(&p256().PublicKey, `"kid":"a","x5c":["?"],"x5t":1`), "ES256", []string{"a"}},
		"JWK Set":          {asSet(asJWK(&p256().PublicKey, `"kid":"a"`), asJWK(&p256().PublicKey, `"kid":"b"`)), "ES256", []string{"a", "b"}},
		"Keycloak's set": {
			asSet(asJWK(&rsaKey().PublicKey, `"kid":"e","use":"enc","alg":"RSA-OAEP"`), asJWK(&rsaKey().PublicKey, `"kid":"s","use":"sig","alg":"RS256"`)),
			"",
			[]string{"s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loaded, err := Read([]byte(c.text), c.alg)
			require.NoError(t, err)
			var ids []string
			for _, key := range loaded.Keys {
				ids = append(ids, key.ID)
				assert.False(t, key.Secret())
				if c.alg != "" {
					assert.Equal(t, []string{c.alg}, key.algorithms)
				}
			}
			assert.Equal(t, c.ids, ids)
		})
	}
}

func TestKeysThatWillNotDoAreRefused(t *testing.T) {
	t.Parallel()
	private := asJWK(edKey().Public(), `"d":"`+base64.RawURLEncoding.EncodeToString(edKey().Seed())+`"`)
	secret := bytes.Repeat([]byte("k"), 64)
	many := make([]string, 101)
	for i := range many {
		many[i] = asJWK(&p256().PublicKey, fmt.Sprintf(`"kid":"%d"`, i))
	}
	for name, c := range map[string]struct {
		text, alg, want string
	}{
		"PKCS #8":             {inPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey()))), "EdDSA", "a private key: it signs"},
		"SEC 1":               {inPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256()))), "ES256", "give the public one"},
		"PKCS #1":             {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), "RS256", "a private key"},
		"private JWK":         {private, "EdDSA", "a private key"},
		"private JWK in set":  {asSet(asJWK(&p256().PublicKey, ""), private), "", "a private key"},
		"weak RSA":            {inPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&weak().PublicKey))), "RS256", "RSA key of 1024 bits; at least 2048"},
		"other PEM":           {inPEM("OPENSSH PRIVATE KEY", nil), "RS256", "PEM block 'OPENSSH PRIVATE KEY'; a public key or a certificate"},
		"broken PEM":          {"-----BEGIN PUBLIC KEY-----\n!!!", "RS256", "no key in PEM"},
		"rubbish in PEM":      {inPEM("PUBLIC KEY", []byte("x")), "RS256", "asn1"},
		"text":                {"hello", "RS256", "neither PEM nor a JWK"},
		"nothing":             {"", "RS256", "neither PEM nor a JWK"},
		"JSON of another":     {`{"a":1}`, "", "neither a JWK nor a JWK Set"},
		"keys no list":        {`{"keys":{}}`, "", "neither a JWK nor a JWK Set"},
		"empty set":           {`{"keys":[]}`, "", "the key set is empty"},
		"not strictly JSON":   {`{"keys":[]} x`, "", "not JSON"},
		"member twice":        {`{"keys":[],"keys":[]}`, "", "stands twice"},
		"unknown kty":         {`{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`, "", "not a JWK that can be read"},
		"for encryption":      {asJWK(&rsaKey().PublicKey, `"use":"enc"`), "", "its use is 'enc', not 'sig'"},
		"key_ops":             {asJWK(&rsaKey().PublicKey, `"key_ops":["encrypt"]`), "", "key_ops do not hold 'verify'"},
		"no key_ops":          {asJWK(&rsaKey().PublicKey, `"key_ops":[]`), "", "key_ops do not hold 'verify'"},
		"another alg":         {asJWK(&rsaKey().PublicKey, `"alg":"PS256"`), "RS256", "it is for PS256, not RS256"},
		"alg of another key":  {asJWK(&rsaKey().PublicKey, `"alg":"ES256"`), "", "ES256 does not go with this key"},
		"alg none":            {asJWK(secret, `"alg":"none"`), "", "never accepted"},
		"public key as HS256": {asJWK(&rsaKey().PublicKey, ""), "HS256", "HS256 does not go with this key"},
		"mixed":               {asSet(asJWK(secret, ""), asJWK(&p256().PublicKey, "")), "", "take it apart"},
		"X25519":              {fmt.Sprintf(`{"kty":"OKP","crv":"X25519","x":"%s"}`, base64.RawURLEncoding.EncodeToString(must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey().Bytes())), "", "can't check signatures"},
		"too many":            {asSet(many...), "", "key set of 101 keys; at most 100 are read"},
		"too large":           {asSet(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`), "", "more than 1048576 bytes"},
		"kid no text":         {asJWK(&p256().PublicKey, `"kid":1`), "", "not a JWK"},
		"not an object":       {asSet(`1`), "", "key 1 of the set: not a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Read([]byte(c.text), c.alg)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestK05UnknownKeysOfASetAreSkippedAndNamed(t *testing.T) {
	t.Parallel()
	loaded, err := Read([]byte(asSet(
		`{"kty":"AKP","alg":"ML-DSA-44","kid":"new","pub":"AA"}`, `{"kty":"EC","crv":"P-9","x":"AA","y":"AA"}`,
		asJWK(&rsaKey().PublicKey, `"kid":"x","alg":"XS9"`), asJWK(&p256().PublicKey, `"kid":"good"`), `{}`, `null`,
	)), "")
	require.NoError(t, err)
	require.Len(t, loaded.Keys, 1)
	assert.Equal(t, "good", loaded.Keys[0].ID)
	require.Len(t, loaded.Skipped, 5)
	require.ErrorContains(t, loaded.Skipped[0], `key "new": `)
	require.ErrorContains(t, loaded.Skipped[1], `key 2 of the set: `)
}

func TestK06KeysThatShareAnID(t *testing.T) {
	t.Parallel()
	var jwks [3]string
	var signers [3]*ecdsa.PrivateKey
	for n := range jwks {
		signers[n] = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		jwks[n] = asJWK(&signers[n].PublicKey, `"kid":"a"`)
	}
	for name, c := range map[string]struct {
		set     string
		found   map[string]int // by algorithm
		skipped int
	}{
		"one key twice":          {asSet(jwks[0], jwks[0]), map[string]int{"ES256": 1}, 0},
		"one key many times":     {asSet(jwks[0], jwks[0], jwks[0], jwks[0]), map[string]int{"ES256": 1}, 0},
		"two keys":               {asSet(jwks[0], jwks[1]), map[string]int{"ES256": 2}, 0},
		"two keys, one twice":    {asSet(jwks[0], jwks[1], jwks[0]), map[string]int{"ES256": 2}, 0},
		"three keys":             {asSet(jwks[0], jwks[1], jwks[2]), map[string]int{"ES256": 0}, 1},
		"keys of other types":    {asSet(jwks[0], asJWK(&rsaKey().PublicKey, `"kid":"a"`), asJWK(edKey().Public(), `"kid":"a"`)), map[string]int{"ES256": 1, "RS256": 1, "EdDSA": 1}, 0},
		"one key, two ways":      {asSet(asJWK(&rsaKey().PublicKey, `"kid":"a","alg":"RS256"`), asJWK(&rsaKey().PublicKey, `"kid":"a","alg":"PS256"`)), map[string]int{"RS256": 1, "PS256": 1, "RS512": 0}, 0},
		"many that have no id":   {strings.ReplaceAll(asSet(jwks[:]...), `"kid":"a"`, `"use":"sig"`), map[string]int{"ES256": 0}, 1},
		"three types, one of it": {asSet(jwks[0], jwks[1], jwks[2], asJWK(edKey().Public(), `"kid":"a"`)), map[string]int{"ES256": 0, "EdDSA": 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.says(c.set)
			w := watch(t, i.URL)
			for alg, want := range c.found {
				found, err := w.Find(t.Context(), "a", alg)
				if want == 0 {
					require.ErrorIs(t, err, ErrNoKey)
				}
				assert.Len(t, found, want, alg)
			}
			warnings := w.logs.FilterMessage("key of a set is not used").All()
			require.Len(t, warnings, c.skipped, "never one of them silently")
			for _, entry := range warnings {
				assert.Contains(t, entry.ContextMap()["error"], "3 would, and at most 2 are tried")
			}
		})
	}
}

func TestSecretsAreReadFromFilesAsTheyStand(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", 32)
	pkix := inPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)))
	for name, c := range map[string]struct{ text, want string }{
		"as it is":             {secret, secret},
		"editor's line break":  {secret + "\n", secret},
		"Windows' line break":  {secret + "\r\n", secret},
		"two line breaks":      {secret + "\n\n", secret + "\n"},
		"blanks count":         {" " + secret + " ", " " + secret + " "},
		"JWK":                  {asJWK([]byte(secret), `"alg":"HS256"`), secret},
		"line break too short": {secret[:31] + "\n", ""},
		"public key":           {pkix, ""},
		"public key, indented": {" " + pkix, ""},
		"public JWK":           {asJWK(&rsaKey().PublicKey, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loaded, err := ReadSecret([]byte(c.text), "HS256")
			if c.want == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Len(t, loaded.Keys, 1)
			assert.Equal(t, []byte(c.want), loaded.Keys[0].material)
			assert.True(t, loaded.Keys[0].Secret())
		})
	}
}

func FuzzKeySetNeverHoldsAnUnsafeKey(f *testing.F) {
	for _, seed := range []string{
		asSet(asJWK(&p256().PublicKey, `"kid":"a"`), asJWK(&rsaKey().PublicKey, `"alg":"RS256"`), asJWK(edKey().Public(), "")),
		asSet(asJWK(make([]byte, 64), "")), asJWK(&p521().PublicKey, ""), asJWK(&weak().PublicKey, ""), asSet(`{"kty":"AKP"}`, `null`, `[]`),
		`{"keys":[{"kty":"RSA","n":"","e":""}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""}]}`, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":""}]}`,
		`{"keys":null}`, `{"kty":1}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		loaded, err := parseSet(data, "", false)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatal("took what is no JSON")
		}
		for _, key := range loaded.Keys {
			if key.Secret() {
				t.Fatal("took a secret from a stranger")
			}
			if _, err := fittingAlgorithms(key.material); err != nil || len(key.algorithms) == 0 {
				t.Fatal(err)
			}
			for _, alg := range key.algorithms {
				if key.Verify(alg, []byte("x"), make([]byte, signatureSize(key.material, alg))) == nil {
					t.Fatal("a signature of zeros fits")
				}
			}
		}
	})
}
