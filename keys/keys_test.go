package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The keys that the tests sign with.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	weak   = sync.OnceValue(func() *rsa.PrivateKey {
		return must(rsa.GenerateKey(rand.Reader, 1024)) //nolint:gosec // that is its point
	})
	p256  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func b64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return data
}

func TestKeysDecideTheAlgorithm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		material any
		alg      string
		fits     []string
	}{
		"RSA":                  {&rsaKey().PublicKey, "", []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
		"RSA for one":          {&rsaKey().PublicKey, "PS384", []string{"PS384"}},
		"P-256":                {&p256().PublicKey, "", []string{"ES256"}},
		"P-384":                {&p384().PublicKey, "", []string{"ES384"}},
		"P-521":                {&p521().PublicKey, "", []string{"ES512"}},
		"Ed25519":              {edKey().Public(), "", []string{"EdDSA"}},
		"secret of 32 bytes":   {make([]byte, 32), "", []string{"HS256"}},
		"secret of 48 bytes":   {make([]byte, 48), "", []string{"HS256", "HS384"}},
		"secret of 64 bytes":   {make([]byte, 64), "", []string{"HS256", "HS384", "HS512"}},
		"long secret for one":  {make([]byte, 99), "HS384", []string{"HS384"}},
		"secret just as short": {make([]byte, 48), "HS384", []string{"HS384"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := NewKey("k", c.alg, c.material)
			require.NoError(t, err)
			var fits []string
			for _, alg := range append(Algorithms(), "none", "", "ES256K", "HS1") {
				if key.Fits(alg) {
					fits = append(fits, alg)
				}
			}
			assert.ElementsMatch(t, c.fits, fits)
		})
	}
}

func TestWeakKeysAreRefusedWithWhatWouldDo(t *testing.T) {
	t.Parallel()
	even := rsaKey().PublicKey
	even.E = 4
	one := rsaKey().PublicKey
	one.E = 1
	three := rsaKey().PublicKey
	three.E = 3
	factor := rsaKey().PublicKey
	factor.N = new(big.Int).Add(factor.N, big.NewInt(1))
	huge := rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 20000), big.NewInt(1)), E: 65537}
	off := ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // a point off the curve can't be had otherwise
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for name, c := range map[string]struct {
		material any
		alg      string
		want     string
	}{
		"short secret":         {make([]byte, 12), "HS256", "HS256 key of 12 bytes; at least 32 are needed"},
		"short for HS384":      {make([]byte, 47), "HS384", "HS384 key of 47 bytes; at least 48 are needed"},
		"short for HS512":      {make([]byte, 10), "HS512", "HS512 key of 10 bytes; at least 64 are needed"},
		"short for any":        {make([]byte, 31), "", "HS256 key of 31 bytes; at least 32 are needed"},
		"empty secret":         {[]byte{}, "HS256", "HS256 key of 0 bytes; at least 32 are needed"},
		"RSA-1024":             {&weak().PublicKey, "RS256", "RSA key of 1024 bits; at least 2048 are needed"},
		"endless RSA":          {&huge, "", "RSA key of 20001 bits; at most 16384 are taken"},
		"even exponent":        {&even, "", "not safe"},
		"exponent of one":      {&one, "", "not safe"},
		"exponent of three":    {&three, "", "an odd exponent from 65537 is needed"},
		"even modulus":         {&factor, "", "not safe"},
		"point off the curve":  {&off, "", "not on its curve"},
		"other curve":          {&p224.PublicKey, "", "curve other than"},
		"none":                 {make([]byte, 32), "none", "algorithm 'none' is never accepted"},
		"NONE":                 {make([]byte, 32), "NONE", "is never accepted"},
		"unknown":              {make([]byte, 32), "HS257", "unknown algorithm 'HS257'; algorithms: RS256"},
		"public key as secret": {&rsaKey().PublicKey, "HS256", "HS256 does not go with this key; it fits RS256"},
		"secret as public key": {make([]byte, 64), "RS256", "RS256 does not go with this key"},
		"other curve's":        {&p384().PublicKey, "ES256", "it fits ES384"},
		"short Ed25519":        {ed25519.PublicKey(make([]byte, 31)), "", "of 31 bytes; 32 are needed"},
		"no key at all":        {nil, "", "can't check signatures"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewKey("", c.alg, c.material)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// RFC 8037, appendix A.4.
func TestEd25519ExampleOfTheRFC(t *testing.T) {
	t.Parallel()
	key, err := NewKey("", "", ed25519.PublicKey(b64(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")))
	require.NoError(t, err)
	input := []byte("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")
	signature := b64(t, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	require.NoError(t, key.Verify("EdDSA", input, signature))
	require.Error(t, key.Verify("EdDSA", append(input, 'x'), signature))
}

func TestSignaturesHaveOneLength(t *testing.T) {
	t.Parallel()
	input := []byte("header.claims")
	for alg, private := range map[string]any{
		"RS256": rsaKey(), "RS384": rsaKey(), "RS512": rsaKey(), "PS256": rsaKey(), "PS384": rsaKey(), "PS512": rsaKey(),
		"ES256": p256(), "ES384": p384(), "ES512": p521(), "EdDSA": edKey(),
		"HS256": make([]byte, 64), "HS384": make([]byte, 64), "HS512": make([]byte, 64),
	} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			material := private
			if signer, ok := private.(crypto.Signer); ok {
				material = signer.Public()
			}
			key, err := NewKey("", "", material)
			require.NoError(t, err)
			good, err := sign(alg, input, private)
			require.NoError(t, err)
			require.NoError(t, key.Verify(alg, input, good), "the baseline")
			for n := range good {
				require.Error(t, key.Verify(alg, input, good[:n]), "cut to %d", n)
			}
			require.Error(t, key.Verify(alg, input, append(slices.Clip(good), 0)))
			require.Error(t, key.Verify(alg, input, append([]byte{0}, good...)))
			require.Error(t, key.Verify(alg, input, make([]byte, len(good))))
			require.Error(t, key.Verify(alg, append(input, 0), good))
			for _, other := range Algorithms() {
				if other != alg {
					require.Error(t, key.Verify(other, input, good), "as %s", other)
				}
			}
		})
	}
}

func TestECDSASignaturesHaveTwoSpellings(t *testing.T) {
	t.Parallel()
	key, err := NewKey("", "", &p256().PublicKey)
	require.NoError(t, err)
	input := []byte("header.claims")
	signature, err := sign("ES256", input, p256())
	require.NoError(t, err)
	require.NoError(t, key.Verify("ES256", input, signature))

	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	require.NoError(t, key.Verify("ES256", input, signature), "n-s is as good as s (RFC 7518 asks for no low s)")

	digest := sha256.Sum256(input)
	der, err := ecdsa.SignASN1(rand.Reader, p256(), digest[:])
	require.NoError(t, err)
	require.Error(t, key.Verify("ES256", input, der), "DER")
	copy(signature[32:], elliptic.P256().Params().N.Bytes())
	require.Error(t, key.Verify("ES256", input, signature), "s = n")
}

func TestPSSSaltIsAsLongAsTheHash(t *testing.T) {
	t.Parallel()
	key, err := NewKey("", "", &rsaKey().PublicKey)
	require.NoError(t, err)
	input := []byte("header.claims")
	digest := sha256.Sum256(input)
	for length, good := range map[int]bool{32: true, 20: false, 31: false, 33: false, 64: false, rsa.PSSSaltLengthAuto: false} {
		signature, err := rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: length})
		require.NoError(t, err)
		assert.Equal(t, good, key.Verify("PS256", input, signature) == nil, "salt of %d bytes", length)
	}
}

func TestAtMostTwoKeysAreTried(t *testing.T) {
	t.Parallel()
	named := func(id string) *Key { return must(NewKey(id, "HS256", []byte(strings.Repeat(id+"k", 32)))) }
	none := func() *Key { return must(NewKey("", "HS256", []byte(strings.Repeat("k", 32)))) }
	for name, c := range map[string]struct {
		set  Set
		kid  string
		want int // keys; 0: ErrNoKey
	}{
		"by id":                      {Static{named("a"), named("b"), named("c")}, "b", 1},
		"unknown id":                 {Static{named("a"), named("b")}, "z", 0},
		"id in other case":           {Static{named("a")}, "A", 0},
		"no id, two fit":             {Static{named("a"), named("b")}, "", 2},
		"no id, three fit":           {Static{named("a"), named("b"), named("c")}, "", 0},
		"two of one id":              {Static{named("a"), named("a")}, "a", 2},
		"three of one id":            {Static{named("a"), named("a"), named("a")}, "a", 0},
		"unnamed key, any id":        {Static{none()}, "z", 1},
		"unnamed beside named":       {Static{none(), named("a")}, "a", 1},
		"three unnamed":              {Static{none(), none(), none()}, "z", 0},
		"union":                      {Union{Static{none()}, Static{none()}}, "z", 2},
		"union of three":             {Union{Static{none()}, Static{none()}, Static{none()}}, "", 0},
		"union prefers the very key": {Union{Static{none()}, Static{none()}, Static{named("a")}}, "a", 1},
		"empty":                      {Static{}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := c.set.Find(t.Context(), c.kid, "HS256")
			if c.want == 0 {
				require.ErrorIs(t, err, ErrNoKey)
			} else {
				require.NoError(t, err)
			}
			assert.Len(t, found, c.want)
			_, err = c.set.Find(t.Context(), c.kid, "RS256")
			require.ErrorIs(t, err, ErrNoKey, "the algorithm must fit")
		})
	}
}

func TestUnionIsUnknownWhileAPartIs(t *testing.T) {
	t.Parallel()
	_, err := Union{Static{}, new(Ring)}.Find(t.Context(), "", "HS256")
	require.ErrorIs(t, err, ErrNoSigner)
	require.NotErrorIs(t, err, ErrNoKey)
}
