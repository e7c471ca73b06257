package keys

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// Loaded is what was read from one source.
type Loaded struct {
	Keys []*Key

	// Skipped says which keys of a set are not used, and why.
	Skipped []error
}

// Read reads public keys: PEM, one JWK, or a JWK Set. alg limits them to one
// algorithm; empty: all that fit. It refuses private keys.
func Read(data []byte, alg string) (Loaded, error) {
	trimmed := bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		return readPEM(trimmed, alg)
	case bytes.HasPrefix(trimmed, []byte("{")):
		return readJSON(trimmed, alg)
	}
	return Loaded{}, errors.New("neither PEM nor a JWK or JWK Set in JSON")
}

// ReadSecret takes the bytes of an HMAC secret, or a JWK that holds one. One
// line break at the end, as editors leave it in files, does not count.
func ReadSecret(data []byte, alg string) (Loaded, error) {
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("{")) {
		return readJSON(trimmed, alg)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		return Loaded{}, fmt.Errorf("%s with a key in PEM: a public key is no secret, so anybody could sign with it; name the algorithm that the key is for, such as RS256", alg)
	}
	key, err := NewKey("", alg, data)
	if err != nil {
		return Loaded{}, err
	}
	return Loaded{Keys: []*Key{key}}, nil
}

func readPEM(data []byte, alg string) (Loaded, error) {
	var keys []*Key
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		material, err := publicKey(block)
		if err != nil {
			return Loaded{}, err
		}
		key, err := NewKey("", alg, material)
		if err != nil {
			return Loaded{}, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return Loaded{}, errors.New("no key in PEM could be read")
	}
	return Loaded{Keys: keys}, nil
}

func publicKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PARAMETERS":
		return nil, fmt.Errorf("%w, as openssl pkey -pubout writes it", errPrivate)
	}
	return nil, fmt.Errorf("PEM block '%s'; a public key or a certificate is needed", block.Type)
}

// readJSON reads a JWK, or a set of them, that was given by hand: a private key
// in it is a mistake to be told of, and so is a set of which nothing can be
// used, or of which some keys are secret and some are for all to know.
func readJSON(data []byte, alg string) (Loaded, error) {
	loaded, err := parseSet(data, alg, true)
	if err != nil {
		return Loaded{}, err
	}
	for _, skipped := range loaded.Skipped {
		if errors.Is(skipped, errPrivate) {
			return Loaded{}, skipped
		}
	}
	if len(loaded.Keys) == 0 {
		if len(loaded.Skipped) > 0 {
			return Loaded{}, loaded.Skipped[0]
		}
		return Loaded{}, errors.New("the key set is empty")
	}
	secret := loaded.Keys[0].Secret()
	if slices.ContainsFunc(loaded.Keys, func(k *Key) bool { return k.Secret() != secret }) {
		return Loaded{}, errors.New("secrets (kty oct) and public keys in one set: take it apart")
	}
	return loaded, nil
}
