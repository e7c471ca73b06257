package seal

import (
	"crypto/sha1" //nolint:gosec // what the framework uses
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// LaravelKeys reads the APP_KEYs of Laravel: 16 or 32 bytes, as they are or in
// base64 after "base64:".
func LaravelKeys(secrets []string) ([]string, error) {
	keys := make([]string, len(secrets))
	for i, secret := range secrets {
		key := secret
		if encoded, ok := strings.CutPrefix(secret, "base64:"); ok {
			raw, err := decode(base64.StdEncoding, encoded)
			if err != nil {
				return nil, errors.New("an APP_KEY is not base64; it is copied with base64: before it from the application's .env")
			}
			key = string(raw)
		}
		if len(key) != 16 && len(key) != 32 {
			return nil, fmt.Errorf("an APP_KEY has %d bytes; 32 are needed (16 for AES-128), such as php artisan key:generate makes", len(key))
		}
		keys[i] = key
	}
	return keys, nil
}

// Laravel opens encrypted cookies. In the text stands a prefix that binds it to
// the cookie's name: HMAC-SHA1 of name and v2 in hex, and a bar.
func Laravel(secrets []string, _ Clock) Opener {
	open := LaravelValue(secrets)
	return func(name, value, _ string) (string, error) {
		if len(value) > maxSealed {
			return "", ErrForged
		}
		plain, key, err := open([]byte(value))
		if err != nil {
			return "", ErrForged
		}
		prefix := hex.EncodeToString(mac(sha1.New, []byte(key), name, "v2")) + "|"
		if len(plain) < len(prefix) || subtle.ConstantTimeCompare(plain[:len(prefix)], []byte(prefix)) != 1 {
			return "", ErrForged
		}
		return string(plain[len(prefix):]), nil
	}
}

// laravelEnvelope is what Illuminate\Encryption\Encrypter writes, in base64.
type laravelEnvelope struct {
	IV    []byte `json:"iv"`
	Value []byte `json:"value"`
	MAC   string `json:"mac"`
	Tag   []byte `json:"tag"`
}

// LaravelValue opens what Laravel's encrypter makes, AES-CBC with HMAC-SHA256 or
// AES-GCM, and tells the key that did.
func LaravelValue(secrets []string) func([]byte) (plain []byte, key string, err error) {
	return func(sealed []byte) ([]byte, string, error) {
		text, err := decode(base64.StdEncoding, string(sealed))
		if err != nil {
			return nil, "", ErrForged
		}
		var envelope laravelEnvelope
		if err := json.Unmarshal(text, &envelope); err != nil {
			return nil, "", ErrForged
		}
		for _, key := range secrets {
			if plain, err := envelope.open([]byte(key)); err == nil {
				return plain, key, nil
			}
		}
		return nil, "", ErrForged
	}
}

func (e laravelEnvelope) open(key []byte) ([]byte, error) {
	if len(e.Tag) > 0 {
		return decryptGCM(key, e.IV, e.Value, e.Tag)
	}
	given, err := hex.DecodeString(e.MAC)
	if err != nil {
		return nil, ErrForged
	}
	iv, value := base64.StdEncoding.EncodeToString(e.IV), base64.StdEncoding.EncodeToString(e.Value)
	if subtle.ConstantTimeCompare(given, mac(sha256.New, key, iv, value)) != 1 {
		return nil, ErrForged
	}
	return decryptCBC(key, e.IV, e.Value)
}
