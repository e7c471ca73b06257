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
	hash := map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512}[alg]
	h := hash.New()
	h.Write(input)
	err := rsa.VerifyPSS(key, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
	if err != nil {
		return errSignature
	}
	return nil
}
