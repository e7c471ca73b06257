package keys

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	require.NoError(t, err)
	return data
}

func TestEd25519KeysOfSmallOrderAreRefusedHoweverTheyAreSpelt(t *testing.T) {
	t.Parallel()
	// R is the base point, s is one: the equation holds for whatever was signed.
	signature := unhex(t, "5866666666666666666666666666666666666666666666666666666666666666"+"0100000000000000000000000000000000000000000000000000000000000000")
	neutral := ed25519.PublicKey(unhex(t, "0100000000000000000000000000000000000000000000000000000000000000"))
	require.True(t, ed25519.Verify(neutral, []byte("anything"), signature), "the baseline: everybody can sign")

	for name, y := range map[string]string{
		"order 1":                "0100000000000000000000000000000000000000000000000000000000000000",
		"order 2":                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                "0000000000000000000000000000000000000000000000000000000000000000",
		"order 8":                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, the other":     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 4, not canonical": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 1, not canonical": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, sign := range []byte{0, 0x80} {
			key := ed25519.PublicKey(unhex(t, y))
			key[31] |= sign
			_, err := NewKey("", "", key)
			require.ErrorContains(t, err, "small order", "%s, sign %x", name, sign)
			_, err = Read([]byte(asJWK(key, "")), "")
			require.ErrorContains(t, err, "small order", "%s, sign %x", name, sign)
		}
	}
}

func TestEd25519KeysThatAreNoPointsAreRefused(t *testing.T) {
	t.Parallel()
	points := 0
	for n := range 256 {
		y := make([]byte, 32)
		y[0], y[1] = byte(n), 1
		if _, err := NewKey("", "", ed25519.PublicKey(y)); err == nil {
			points++
		} else {
			require.ErrorContains(t, err, "not on its curve")
		}
	}
	assert.InDelta(t, 128, points, 40, "every second y is that of a point")
	for range 100 {
		public, _, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		_, err = NewKey("", "", public)
		require.NoError(t, err)
	}
}

func TestROCAKeysAreRefused(t *testing.T) {
	t.Parallel()
	_, err := NewKey("", "", roca())
	require.ErrorContains(t, err, "ROCA")
	_, err = NewKey("", "", &rsaKey().PublicKey)
	require.NoError(t, err)
}

// roca makes a key as those chips did: its primes are k·M + (65537^a mod M), M
// the product of the first primes.
var roca = sync.OnceValue(func() *rsa.PublicKey {
	m := big.NewInt(1)
	for p := int64(2); p <= 701; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			m.Mul(m, big.NewInt(p))
		}
	}
	prime := func(a int64) *big.Int {
		p := new(big.Int).Exp(big.NewInt(65537), big.NewInt(a), m)
		p.Add(p, new(big.Int).Lsh(m, uint(1024-m.BitLen())))
		for !p.ProbablyPrime(10) {
			p.Add(p, m)
		}
		return p
	}
	return &rsa.PublicKey{N: new(big.Int).Mul(prime(1234), prime(98765)), E: 65537}
})
