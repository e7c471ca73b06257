package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// The most that is read of a key set.
const (
	maxSetKeys  = 100
	maxSetBytes = 1 << 20
)

// Read reads public keys: PEM, one JWK, or a JWK Set. alg limits them to one
// algorithm; empty: all that fit.
func Read(data []byte, alg string) ([]*Key, error) {
	trimmed := bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		return readPEM(trimmed, alg)
	case bytes.HasPrefix(trimmed, []byte("{")):
		return readJSON(trimmed, alg)
	}
	return nil, errors.New("neither PEM nor a JWK or JWK Set in JSON")
}

// ReadSecret takes the bytes of an HMAC secret, or a JWK that holds one. One
// line break at the end, as editors leave it in files, does not count.
func ReadSecret(data []byte, alg string) ([]*Key, error) {
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("{")) {
		return readJSON(trimmed, alg)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if block, _ := pem.Decode(data); block != nil {
		return nil, fmt.Errorf("%s with a key in PEM: a public key is no secret, so anybody could sign with it; name the algorithm that the key is for, such as RS256", alg)
	}
	key, err := NewKey("", alg, data)
	if err != nil {
		return nil, err
	}
	return []*Key{key}, nil
}

func readPEM(data []byte, alg string) ([]*Key, error) {
	var keys []*Key
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		material, err := publicKey(block)
		if err != nil {
			return nil, err
		}
		key, err := NewKey("", alg, material)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in PEM could be read")
	}
	return keys, nil
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
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("a private key: it signs; give the public one, as openssl pkey -pubout writes it")
	}
	return nil, fmt.Errorf("PEM block '%s'; a public key or a certificate is needed", block.Type)
}

// readJSON reads a JWK, or a set of them. What can't be used in a set given by
// hand is an error.
func readJSON(data []byte, alg string) ([]*Key, error) {
	keys, skipped, err := parseSet(data, alg, true)
	if err != nil {
		return nil, err
	}
	if len(skipped) > 0 {
		return nil, skipped[0]
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set is empty")
	}
	return keys, nil
}

// parseSet reads a JWK Set key by key: one of an unknown kind must not lock all
// others out (RFC 7517, section 5). What can't be used is named in skipped.
// Secrets are taken only where trusted.
func parseSet(data []byte, alg string, trusted bool) (keys []*Key, skipped []error, err error) {
	if len(data) > maxSetBytes {
		return nil, nil, fmt.Errorf("key set of more than %d bytes", maxSetBytes)
	}
	members, err := identity.ParseClaims(data)
	if err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	list, isSet := members["keys"].([]any)
	if _, ok := members["kty"]; !isSet && ok {
		list = []any{members}
	} else if !isSet {
		return nil, nil, errors.New("neither a JWK nor a JWK Set: no member 'keys'")
	}
	if len(list) > maxSetKeys {
		return nil, nil, fmt.Errorf("key set of %d keys; at most %d are read", len(list), maxSetKeys)
	}
	for i, item := range list {
		key, err := readJWK(item, alg, trusted)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d of the set: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, skipped, nil
}

func readJWK(item any, alg string, trusted bool) (*Key, error) {
	raw, err := json.Marshal(item)
	if err != nil {
		return nil, err
	}
	parsed, err := parseJWK(raw)
	if err != nil {
		return nil, err
	}
	if parsed.use != "" && parsed.use != "sig" {
		return nil, fmt.Errorf("its use is '%s', not 'sig'", parsed.use)
	}
	if len(parsed.operations) > 0 && !slices.Contains(parsed.operations, "verify") {
		return nil, errors.New("its key_ops do not hold 'verify'")
	}
	if _, secret := parsed.material.([]byte); secret && !trusted {
		return nil, errors.New("a secret, which nobody should publish")
	}
	if _, private := parsed.material.(crypto.Signer); private {
		return nil, errors.New("a private key: it signs, and must not be where others can read it")
	}
	switch {
	case alg == "":
		alg = parsed.alg
	case parsed.alg != "" && parsed.alg != alg:
		return nil, fmt.Errorf("it is for %s, not %s", parsed.alg, alg)
	}
	return NewKey(parsed.id, alg, parsed.material)
}
