package keys

import (
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// This file is all that knows jwx, of which version 2 is no longer maintained:
// it checks one signature with one key and one algorithm, makes one, and reads
// one JWK. What is decided, is decided elsewhere; a later major version is a
// change to this file.

// verify checks a signature over input.
func verify(alg string, input, signature []byte, key any) error {
	verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(alg))
	if err != nil {
		return err
	}
	return verifier.Verify(input, signature, key)
}

// sign makes a signature over input.
func sign(alg string, input []byte, key any) ([]byte, error) {
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(alg))
	if err != nil {
		return nil, err
	}
	return signer.Sign(input, key)
}

// parsedJWK is one JWK (RFC 7517) as it was read.
type parsedJWK struct {
	id, alg, use string
	operations   []string
	material     any // *rsa.PublicKey, ed25519.PrivateKey, []byte, …
}

// parseJWK reads one JWK, which an issuer may have sent: a panic over it would
// end the gateway.
func parseJWK(data []byte) (p parsedJWK, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = errors.New("not a JWK that can be read")
		}
	}()
	key, err := jwk.ParseKey(data)
	if err != nil {
		return p, fmt.Errorf("not a JWK that can be read: %w", err)
	}
	p = parsedJWK{id: key.KeyID(), use: key.KeyUsage()}
	if key.Algorithm() != nil {
		p.alg = key.Algorithm().String()
	}
	for _, operation := range key.KeyOps() {
		p.operations = append(p.operations, string(operation))
	}
	return p, key.Raw(&p.material)
}
