package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/certmagic"
)

// check verifies a compact JWS with what a set finds, as a verifier would.
func check(t *testing.T, set Set, kid, alg, token string) error {
	t.Helper()
	found, err := set.Find(t.Context(), kid, alg)
	if err != nil {
		return err
	}
	dot := strings.LastIndexByte(token, '.')
	for _, key := range found {
		if key.Verify(alg, []byte(token[:dot]), b64(t, token[dot+1:])) == nil {
			return nil
		}
	}
	return errSignature
}

func TestRingVerifiesWhatItSigns(t *testing.T) {
	t.Parallel()
	for name, private := range map[string]crypto.Signer{"EdDSA": edKey(), "ES256": p256(), "ES384": p384(), "ES512": p521(), "RS256": rsaKey()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, err := NewSigner(private)
			require.NoError(t, err)
			data, err := signer.MarshalPEM()
			require.NoError(t, err)
			again, err := LoadSigner(data)
			require.NoError(t, err)
			assert.Equal(t, signer.ID, again.ID, "the id is made of the key alone")

			token, err := NewRing(signer).Sign([]byte(`{"sub":"alice"}`), "at+jwt")
			require.NoError(t, err)
			parts := strings.Split(token, ".")
			require.Len(t, parts, 3)
			assert.JSONEq(t, `{"alg":"`+name+`","kid":"`+signer.ID+`","typ":"at+jwt"}`, string(b64(t, parts[0])))
			assert.JSONEq(t, `{"sub":"alice"}`, string(b64(t, parts[1])))
			require.NoError(t, check(t, NewRing(again), signer.ID, name, token))
			require.NoError(t, check(t, NewRing(again), "", name, token))
			require.ErrorIs(t, check(t, NewRing(again), "other", name, token), ErrNoKey)
			require.ErrorIs(t, check(t, NewRing(again), signer.ID, "HS256", token), ErrNoKey)
		})
	}
}

func TestK36FirstOfTheRingSignsAndAllVerify(t *testing.T) {
	t.Parallel()
	older, newer := must(GenerateSigner()), must(GenerateSigner())
	ring := new(Ring)
	_, err := ring.Find(t.Context(), "", "EdDSA")
	require.ErrorIs(t, err, ErrNoSigner)
	require.NotErrorIs(t, err, ErrNoKey, "an unfilled ring can't tell")
	_, err = ring.Sign(nil, "JWT")
	require.ErrorIs(t, err, ErrNoSigner)

	ring.Set(older)
	old, err := ring.Sign([]byte("{}"), "JWT")
	require.NoError(t, err)
	ring.Set(newer, older)
	fresh, err := ring.Sign([]byte("{}"), "JWT")
	require.NoError(t, err)
	require.NoError(t, check(t, ring, older.ID, "EdDSA", old))
	require.NoError(t, check(t, ring, newer.ID, "EdDSA", fresh))
	require.Error(t, check(t, ring, newer.ID, "EdDSA", old))
	ring.Set(newer)
	require.ErrorIs(t, check(t, ring, older.ID, "EdDSA", old), ErrNoKey, "a key taken out verifies no more")
	ring.Set()
	require.ErrorIs(t, check(t, ring, newer.ID, "EdDSA", fresh), ErrNoSigner)
}

// RFC 7638, section 3.1, and RFC 8037, appendix A.3.
func TestThumbprintsAreThoseOfTheRFCs(t *testing.T) {
	t.Parallel()
	modulus := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
		"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	for want, key := range map[string]crypto.PublicKey{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": &rsa.PublicKey{N: new(big.Int).SetBytes(b64(t, modulus)), E: 65537},
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": ed25519.PublicKey(b64(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
	} {
		got, err := thumbprint(key)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func TestSignersAreReadFromAllForms(t *testing.T) {
	t.Parallel()
	d := base64.RawURLEncoding.EncodeToString(must(p256().Bytes()))
	sec1 := inPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256())))
	stranger := must(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Bytes())
	for name, c := range map[string]struct{ text, want string }{
		"PKCS #8":                {inPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey()))), ""},
		"PKCS #1":                {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), ""},
		"SEC 1":                  {sec1, ""},
		"SEC 1 with parameters":  {inPEM("EC PARAMETERS", []byte("x")) + sec1, ""},
		"JWK":                    {asJWK(&p256().PublicKey, `"d":"`+d+`"`), ""},
		"JWK of Ed25519":         {asJWK(edKey().Public(), `"d":"`+base64.RawURLEncoding.EncodeToString(edKey().Seed())+`"`), ""},
		"JWK of two keys":        {asJWK(&p256().PublicKey, `"d":"`+base64.RawURLEncoding.EncodeToString(stranger)+`"`), "does not sign"},
		"public JWK":             {asJWK(&p256().PublicKey, ""), "not a private key"},
		"short secret":           {asJWK(make([]byte, 31), ""), "at least 32 are needed"},
		"secret for RS256":       {asJWK(make([]byte, 64), `"alg":"RS256"`), "does not go with this key"},
		"for encryption":         {asJWK(make([]byte, 64), `"use":"enc"`), "its use is 'enc'"},
		"to verify only":         {asJWK(make([]byte, 64), `"key_ops":["verify"]`), "do not hold 'sign'"},
		"public PEM":             {inPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(edKey().Public()))), "a private key is needed"},
		"with passphrase":        {inPEM("ENCRYPTED PRIVATE KEY", nil), "passphrase"},
		"weak RSA":               {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak())), "RSA key of 1024 bits; at least 2048 are needed"},
		"text":                   {"secret", "neither a key in PEM nor a JWK"},
		"parameters and no more": {inPEM("EC PARAMETERS", nil), "neither a key in PEM nor a JWK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, err := LoadSigner([]byte(c.text))
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			assert.Len(t, signer.ID, 43)
		})
	}
}

func TestJWKSaysHowItSigns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ jwk, header string }{
		"secret":           {asJWK(make([]byte, 64), ""), `{"alg":"HS256","typ":"JWT"}`},
		"secret for HS512": {asJWK(make([]byte, 64), `"alg":"HS512","kid":"a","use":"sig","key_ops":["sign","verify"]`), `{"alg":"HS512","kid":"a","typ":"JWT"}`},
		"RSA for PS384":    {rsaJWK(`"alg":"PS384","kid":"b"`), `{"alg":"PS384","kid":"b","typ":"JWT"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ring := NewRing(must(LoadSigner([]byte(c.jwk))))
			token, err := ring.Sign([]byte("{}"), "JWT")
			require.NoError(t, err)
			header := b64(t, token[:strings.IndexByte(token, '.')])
			require.JSONEq(t, c.header, string(header))
			var h struct{ Alg, Kid string }
			require.NoError(t, json.Unmarshal(header, &h))
			require.NoError(t, check(t, ring, h.Kid, h.Alg, token))
			require.ErrorIs(t, check(t, ring, h.Kid, "HS384", token), ErrNoKey, "one algorithm")
		})
	}
}

// rsaJWK is the private key as a JWK.
func rsaJWK(members string) string {
	key := rsaKey()
	encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	numbers := map[string]*big.Int{"d": key.D, "p": key.Primes[0], "q": key.Primes[1], "dp": key.Precomputed.Dp, "dq": key.Precomputed.Dq, "qi": key.Precomputed.Qinv}
	for name, n := range numbers {
		members += `,"` + name + `":"` + encode(n) + `"`
	}
	return asJWK(&key.PublicKey, members)
}

func TestClusterEndsUpWithOneKey(t *testing.T) {
	t.Parallel()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	ids := make([]string, 4)
	var members sync.WaitGroup
	for i := range ids {
		members.Go(func() {
			signer, err := LoadOrGenerate(t.Context(), storage, "edge_auth/key.pem")
			if assert.NoError(t, err) {
				ids[i] = signer.ID
			}
		})
	}
	members.Wait()
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
	}
	require.NoError(t, storage.Store(t.Context(), "edge_auth/key.pem", []byte("rubbish")))
	_, err := LoadOrGenerate(t.Context(), storage, "edge_auth/key.pem")
	require.Error(t, err, "a broken key is not overwritten: all tokens would end")
}

// readOnly is a storage that takes nothing.
type readOnly struct{ certmagic.FileStorage }

var errReadOnly = errors.New("read only")

func (*readOnly) Store(context.Context, string, []byte) error { return errReadOnly }

func TestKeyThatCantBeKeptIsNotUsed(t *testing.T) {
	t.Parallel()
	_, err := LoadOrGenerate(t.Context(), &readOnly{certmagic.FileStorage{Path: t.TempDir()}}, "key.pem")
	require.ErrorIs(t, err, errReadOnly)
}
