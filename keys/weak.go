package keys

import (
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// minRSAExponent is the least that FIPS 186-5, appendix A.1.1, allows: padding
// that is checked with less care than due lets signatures be made up for 3.
const minRSAExponent = 65537

// checkRSA refuses keys that others than the owner can sign with, and those
// that cost too much to check.
func checkRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("RSA key of %d bits; at least %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("RSA key of %d bits; at most %d are taken", bits, maxRSABits)
	case k.E < minRSAExponent || k.E > math.MaxInt32 || k.E%2 == 0 || k.N.Bit(0) == 0:
		return fmt.Errorf("RSA key with an exponent or modulus that is not safe; an odd exponent from %d is needed", minRSAExponent)
	case isROCA(k.N):
		return errors.New("RSA key of a chip that makes guessable ones (ROCA, CVE-2017-15361): replace it")
	}
	return nil
}

// isROCA reports whether a modulus is of the kind that Infineon's chips made
// (CVE-2017-15361): its primes, and so their product, are powers of 65537
// modulo every small prime. Of other keys, one in 200 million is so by chance.
func isROCA(n *big.Int) bool {
	for p := int64(3); p <= 167; p += 2 {
		modulus := big.NewInt(p)
		if modulus.ProbablyPrime(0) && !isPower(new(big.Int).Mod(n, modulus).Int64(), p) {
			return false
		}
	}
	return true
}

// isPower reports whether n is a power of 65537 modulo p.
func isPower(n, p int64) bool {
	for power := int64(1); ; {
		if power == n {
			return true
		}
		if power = power * 65537 % p; power == 1 {
			return false
		}
	}
}

// The curve of Ed25519, -x² + y² = 1 + d·x²·y² modulo p (RFC 8032, section 5.1).
var (
	edP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edD = new(big.Int).Mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), edP)), edP)
)

// checkEd25519 refuses what is no point of the curve, and the eight points of
// small order, however they are spelt: with one of these as key, a signature can
// be made that fits without knowing a secret.
func checkEd25519(k ed25519.PublicKey) error {
	if len(k) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key of %d bytes; %d are needed", len(k), ed25519.PublicKeySize)
	}
	encoded := slices.Clone(k)
	encoded[31] &= 0x7f // the highest bit is the sign of x
	slices.Reverse(encoded)
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(a, b), edP) }
	one := big.NewInt(1)
	y := new(big.Int).Mod(new(big.Int).SetBytes(encoded), edP)
	y2 := mul(y, y)
	u := new(big.Int).Sub(y2, one)           // y² - 1
	v := new(big.Int).Add(mul(edD, y2), one) // d·y² + 1, which is never 0; x² = u/v
	w := new(big.Int).Add(mul(v, y2), u)     // d·y⁴ + 2·y² - 1
	switch {
	case big.Jacobi(mul(u, v), edP) < 0:
		return errors.New("the key's point is not on its curve")
	case mul(mul(y, u), w).Sign() == 0: // y is 0 for order 4, ±1 for 1 and 2; w is 0 for order 8, where x² = -y²
		return errors.New("Ed25519 key of small order: anybody could sign with it")
	}
	return nil
}
