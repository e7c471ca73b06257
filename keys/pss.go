package keys

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // PS256
	_ "crypto/sha512" // PS384, PS512
)

// verifyPSS demands a salt as long as the hash (RFC 7518, section 3.5), which
// jwx leaves open.
func verifyPSS(key *rsa.PublicKey, alg string, input, signature []byte) error {
	var hash crypto.Hash
	switch alg {
	case "PS256":
		hash = crypto.SHA256
	case "PS384":
		hash = crypto.SHA384
	default:
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write(input)
	if rsa.VerifyPSS(key, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) != nil {
		return errSignature
	}
	return nil
}
