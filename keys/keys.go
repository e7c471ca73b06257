// Package keys holds the keys that JWTs are checked and signed with: static
// ones, those in files, those an issuer publishes, and our own.
//
// A key decides which algorithms it is for, never a token. What can't be used
// safely, such as a short key, is refused when it is read.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Key is a key that checks signatures.
type Key struct {
	// ID is the kid; empty where the source names none.
	ID string

	serial     uint64
	algorithms []string // those it may be used with
	material   any      // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or []byte
}

// The sizes that keys may have (RFC 7518, sections 3.2 and 3.3). The greatest
// bounds what checking one signature costs.
const (
	minSecret  = 32 // bytes
	minRSABits = 2048
	maxRSABits = 16384
)

// Algorithms lists the algorithms that some key may be used with.
func Algorithms() []string {
	return []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
	}
}

// CheckAlgorithm says what is wrong with an algorithm's name, if anything.
func CheckAlgorithm(alg string) error {
	switch {
	case strings.EqualFold(alg, "none"):
		return errors.New("algorithm 'none' is never accepted: anybody could write such a token")
	case !slices.Contains(Algorithms(), alg):
		return fmt.Errorf("unknown algorithm '%s'; algorithms: %s", alg, strings.Join(Algorithms(), ", "))
	}
	return nil
}

// NewKey makes a key of its material: a public key, or the bytes of an HMAC
// secret. alg limits it to one algorithm; empty: all that fit.
func NewKey(id, alg string, material any) (*Key, error) {
	if alg != "" {
		if err := CheckAlgorithm(alg); err != nil {
			return nil, err
		}
	}
	if secret, ok := material.([]byte); ok && strings.HasPrefix(alg, "HS") && len(secret) < leastSecret(alg) {
		return nil, fmt.Errorf("%s key of %d bytes; at least %d are needed", alg, len(secret), leastSecret(alg))
	}
	fitting, err := fittingAlgorithms(material)
	if err != nil {
		return nil, err
	}
	if alg != "" {
		if !slices.Contains(fitting, alg) {
			return nil, fmt.Errorf("%s does not go with this key; it fits %s", alg, strings.Join(fitting, ", "))
		}
		fitting = []string{alg}
	}
	return &Key{ID: id, serial: serials.Add(1), algorithms: fitting, material: material}, nil
}

var serials atomic.Uint64

// Serial is a number that no other key of this process has or had.
func (k *Key) Serial() uint64 { return k.serial }

// fittingAlgorithms says what a key may be used with, and refuses weak ones.
func fittingAlgorithms(material any) ([]string, error) {
	switch k := material.(type) {
	case *rsa.PublicKey:
		if err := checkRSA(k); err != nil {
			return nil, err
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		alg, ok := map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[k.Curve]
		if !ok {
			return nil, errors.New("key on a curve other than P-256, P-384 and P-521")
		}
		if _, err := k.ECDH(); err != nil {
			return nil, errors.New("the key's point is not on its curve")
		}
		return []string{alg}, nil
	case ed25519.PublicKey:
		if err := checkEd25519(k); err != nil {
			return nil, err
		}
		return []string{"EdDSA"}, nil
	case []byte:
		if len(k) < minSecret {
			return nil, fmt.Errorf("HS256 key of %d bytes; at least %d are needed", len(k), minSecret)
		}
		return slices.DeleteFunc([]string{"HS256", "HS384", "HS512"}, func(alg string) bool { return len(k) < leastSecret(alg) }), nil
	}
	return nil, fmt.Errorf("a key of type %T can't check signatures", material)
}

// leastSecret is how many bytes a secret needs: as many as the hash has.
func leastSecret(alg string) int {
	switch alg {
	case "HS384":
		return 48
	case "HS512":
		return 64
	}
	return minSecret
}

// Fits reports whether the key may be used with alg.
func (k *Key) Fits(alg string) bool { return slices.Contains(k.algorithms, alg) }

// Secret reports whether the key is shared with whoever signs (HMAC).
func (k *Key) Secret() bool {
	_, ok := k.material.([]byte)
	return ok
}

// equal reports whether two keys are the same in all that matters.
func (k *Key) equal(other *Key) bool {
	if k.ID != other.ID || !slices.Equal(k.algorithms, other.algorithms) {
		return false
	}
	switch material := k.material.(type) {
	case interface{ Equal(x crypto.PublicKey) bool }:
		return material.Equal(other.material)
	case []byte:
		secret, ok := other.material.([]byte)
		return ok && subtle.ConstantTimeCompare(material, secret) == 1
	}
	return false
}

// errSignature is the same whatever was wrong with a signature.
var errSignature = errors.New("signature does not fit")

// Verify checks a signature over input. The algorithm must fit the key.
func (k *Key) Verify(alg string, input, signature []byte) error {
	if !k.Fits(alg) {
		return fmt.Errorf("key is not for %s", alg)
	}
	if want := signatureSize(k.material, alg); len(signature) != want {
		return errSignature
	}
	if strings.HasPrefix(alg, "PS") {
		return verifyPSS(k.material.(*rsa.PublicKey), alg, input, signature)
	}
	if verify(alg, input, signature, k.material) != nil {
		return errSignature
	}
	return nil
}

// signatureSize is the one length in bytes that a signature may have.
func signatureSize(material any, alg string) int {
	switch k := material.(type) {
	case *rsa.PublicKey:
		return k.Size()
	case *ecdsa.PublicKey:
		return 2 * ((k.Params().BitSize + 7) / 8) // r and s (RFC 7518, section 3.4)
	case ed25519.PublicKey:
		return ed25519.SignatureSize
	}
	return leastSecret(alg) // the whole hash
}
