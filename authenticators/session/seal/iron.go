package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what the format uses
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Iron opens the cookies of hapi's yar, which hold {"id": …} in the format
// Fe26.2 of @hapi/iron: eight parts with stars between, encrypted by AES-256-CBC
// and signed by HMAC-SHA256, with keys that are derived from a password and
// salts.
func Iron(secrets []string, now Clock) Opener {
	return func(_, value, _ string) (string, error) {
		if len(value) > maxSealed {
			return "", ErrForged
		}
		parts := strings.Split(value, "*")
		if len(parts) != 8 || parts[0] != "Fe26.2" {
			return "", ErrForged
		}
		password, ok := ironPassword(parts, secrets)
		if !ok || ended(parts[5], now()) {
			return "", ErrForged
		}
		plain, err := ironDecrypt(parts, password)
		var session struct {
			ID string `json:"id"`
		}
		if err != nil || json.Unmarshal(plain, &session) != nil {
			return "", ErrForged
		}
		return session.ID, nil
	}
}

// ironPassword finds the password that has signed all parts but the last two.
func ironPassword(parts, secrets []string) (password string, ok bool) {
	given, err := decode(base64.RawURLEncoding, parts[7])
	if err != nil {
		return "", false
	}
	signed := strings.Join(parts[:6], "*")
	for _, secret := range secrets {
		key, err := ironKey(secret, parts[6])
		if err == nil && subtle.ConstantTimeCompare(given, mac(sha256.New, key, signed)) == 1 {
			password, ok = secret, true
		}
	}
	return password, ok
}

func ironKey(password, salt string) ([]byte, error) {
	return pbkdf2.Key(sha1.New, password, []byte(salt), 1, 32)
}

func ironDecrypt(parts []string, password string) ([]byte, error) {
	key, err := ironKey(password, parts[2])
	if err != nil {
		return nil, err
	}
	iv, err := decode(base64.RawURLEncoding, parts[3])
	if err != nil {
		return nil, err
	}
	text, err := decode(base64.RawURLEncoding, parts[4])
	if err != nil {
		return nil, err
	}
	return decryptCBC(key, iv, text)
}

// ended reports whether a time in milliseconds lies behind; empty is never.
func ended(at string, now time.Time) bool {
	if at == "" {
		return false
	}
	n, err := strconv.ParseInt(at, 10, 64)
	return err != nil || n <= now.UnixMilli()
}

// decryptCBC undoes AES-CBC and its padding (PKCS #7). The text has been
// authenticated before, so that nobody can learn from how it fails.
func decryptCBC(key, iv, text []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if len(iv) != aes.BlockSize || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return nil, ErrForged
	}
	plain := make([]byte, len(text))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, text)
	pad := plain[len(plain)-1]
	if pad == 0 || int(pad) > aes.BlockSize || int(pad) > len(plain) {
		return nil, ErrForged
	}
	for _, b := range plain[len(plain)-int(pad):] {
		if b != pad {
			return nil, ErrForged
		}
	}
	return plain[:len(plain)-int(pad)], nil
}

// decryptGCM undoes AES-GCM with a tag of full length.
func decryptGCM(key, nonce, text, tag []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(nonce) != gcm.NonceSize() || len(tag) != gcm.Overhead() {
		return nil, ErrForged
	}
	return gcm.Open(nil, nonce, append(slices.Clip(text), tag...), nil)
}
