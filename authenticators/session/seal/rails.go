package seal

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what the framework uses
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"strings"
)

// railsIterations are those of ActiveSupport::KeyGenerator for cookies.
const railsIterations = 1000

// Rails opens the signed and encrypted cookies of ActionDispatch, with keys that
// are derived from secret_key_base by PBKDF2, with SHA-1 as up to Rails 6.1 or
// SHA-256 as from 7.0 on. Encrypted ones are AES-256-GCM: text, nonce and tag in
// base64 with -- between; signed ones are base64, --, and an HMAC in hex.
func Rails(secrets []string, _ Clock) Opener {
	keys := make([]railsKeys, 0, 2*len(secrets))
	for _, secret := range secrets {
		for _, digest := range []func() hash.Hash{sha256.New, sha1.New} {
			keys = append(keys, newRailsKeys(secret, digest))
		}
	}
	return func(name, value, _ string) (string, error) {
		if len(value) > maxSealed {
			return "", ErrForged
		}
		parts := strings.Split(value, "--")
		for _, k := range keys {
			if plain, ok := k.open(parts); ok {
				return railsMessage(name, plain)
			}
		}
		return "", ErrForged
	}
}

type railsKeys struct{ encryption, signing []byte }

func newRailsKeys(secret string, digest func() hash.Hash) railsKeys {
	derive := func(salt string, size int) []byte {
		key, err := pbkdf2.Key(digest, secret, []byte(salt), railsIterations, size)
		if err != nil { // only where FIPS forbids the hash
			return nil
		}
		return key
	}
	return railsKeys{derive("authenticated encrypted cookie", 32), derive("signed cookie", 64)}
}

func (k railsKeys) open(parts []string) (plain []byte, ok bool) {
	switch len(parts) {
	case 2:
		given, err := hex.DecodeString(parts[1])
		if err != nil {
			return nil, false
		}
		of := sha1.New
		if len(given) == sha256.Size {
			of = sha256.New
		}
		if !anyMatches(given, [][]byte{k.signing}, func(key []byte) []byte { return mac(of, key, parts[0]) }) {
			return nil, false
		}
		plain, err = decode(base64.StdEncoding, parts[0])
		return plain, err == nil
	case 3:
		var decoded [3][]byte
		for i, part := range parts {
			var err error
			if decoded[i], err = decode(base64.StdEncoding, part); err != nil {
				return nil, false
			}
		}
		plain, err := decryptGCM(k.encryption, decoded[1], decoded[0], decoded[2])
		return plain, err == nil
	}
	return nil, false
}

// railsMessage takes the session's id, in JSON, out of a message, which is bound to
// the cookie's name.
func railsMessage(name string, plain []byte) (string, error) {
	var envelope struct {
		Rails struct {
			Message []byte `json:"message"`
			Purpose string `json:"pur"`
		} `json:"_rails"`
	}
	if json.Unmarshal(plain, &envelope) != nil || envelope.Rails.Purpose != "cookie."+name {
		return "", ErrForged
	}
	var id string
	if json.Unmarshal(envelope.Rails.Message, &id) != nil {
		return "", ErrForged
	}
	return id, nil
}
