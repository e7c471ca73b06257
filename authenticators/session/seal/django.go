package seal

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// djangoSalt is that of every class of Django's called SessionStore.
const djangoSalt = "django.contrib.sessions.SessionStore"

// Django returns what is in a text of django.core.signing.dumps: base64url of
// the payload, after a dot if it is compressed; a colon and the time; a colon
// and HMAC-SHA256 of all before. How old it is does not matter: the record that
// holds it expires.
func Django(secrets []string) func(signed []byte) ([]byte, error) {
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		key := sha256.Sum256([]byte(djangoSalt + "signer" + secret))
		keys[i] = key[:]
	}
	return func(signed []byte) ([]byte, error) {
		if len(signed) > store.MaxValue {
			return nil, store.ErrTooLarge
		}
		text := string(signed)
		i := strings.LastIndex(text, ":")
		if i < 0 {
			return nil, ErrForged
		}
		value, signature := text[:i], text[i+1:]
		given, err := decode(base64.RawURLEncoding, signature)
		if err != nil || !anyMatches(given, keys, func(key []byte) []byte { return mac(sha256.New, key, value) }) {
			return nil, ErrForged
		}
		i = strings.LastIndex(value, ":")
		if i < 0 {
			return nil, ErrForged
		}
		return djangoPayload(value[:i])
	}
}

func djangoPayload(body string) ([]byte, error) {
	body, compressed := strings.CutPrefix(body, ".")
	data, err := decode(base64.RawURLEncoding, body)
	if err != nil || !compressed {
		return data, err
	}
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.LimitReader(r, store.MaxValue+1))
	if err == nil && len(data) > store.MaxValue {
		err = store.ErrTooLarge
	}
	return data, err
}
