// Package seal opens the cookies and values that frameworks sign or encrypt.
// Each is checked with all secrets that are configured, in constant time, before
// anything is looked up: a forged one costs no round trip. All failures look
// alike, so that nobody learns from them.
package seal

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what the frameworks use, as HMAC
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"time"
)

// ErrForged says that none of the secrets has made a seal, or that it has ended.
var ErrForged = errors.New("not sealed by any of the secrets")

// maxSealed is the longest sealed text, in bytes. Browsers keep cookies of up to
// 4 KiB.
const maxSealed = 8 << 10

// Signature says how a cookie's value carries its signature. Some end by the
// clock.
type Signature func(secrets []string, now Clock) Opener

// Clock tells the time.
type Clock func() time.Time

// Opener returns what is in a cookie's value. name is the cookie's; beside is the
// value of the cookie that has its signature, for frameworks that keep one.
// ErrForged is all that it may fail with.
type Opener func(name, value, beside string) (string, error)

// mac is the HMAC of message.
func mac(of func() hash.Hash, key []byte, message ...string) []byte {
	h := hmac.New(of, key)
	for _, part := range message {
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// anyMatches compares a signature with those that each key makes. It looks at all
// of them, whichever matches.
func anyMatches(signature []byte, keys [][]byte, make func(key []byte) []byte) bool {
	found := 0
	for _, key := range keys {
		found |= subtle.ConstantTimeCompare(signature, make(key))
	}
	return found == 1
}

func bytesOf(secrets []string) [][]byte {
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		keys[i] = []byte(secret)
	}
	return keys
}

// cutLast cuts value at its last separator.
func cutLast(value, separator string) (before, after string, ok bool) {
	i := strings.LastIndex(value, separator)
	if i < 0 || len(value) > maxSealed {
		return "", "", false
	}
	return value[:i], value[i+len(separator):], true
}

// Express is the signature of express-session (cookie-signature): s:, the id, a
// dot, and HMAC-SHA256 of the id in base64 without padding.
func Express(secrets []string, now Clock) Opener {
	open := Fastify(secrets, now)
	return func(name, value, beside string) (string, error) {
		if !strings.HasPrefix(value, "s:") {
			return "", ErrForged
		}
		return open(name, value, beside)
	}
}

// Fastify is the signature of @fastify/session: that of Express, where s: may be
// missing.
func Fastify(secrets []string, _ Clock) Opener {
	keys := bytesOf(secrets)
	return func(_, value, _ string) (string, error) {
		id, signature, ok := cutLast(strings.TrimPrefix(value, "s:"), ".")
		if !ok {
			return "", ErrForged
		}
		given, err := decode(base64.RawStdEncoding, signature)
		if err != nil || !anyMatches(given, keys, func(key []byte) []byte { return mac(sha256.New, key, id) }) {
			return "", ErrForged
		}
		return id, nil
	}
}

// Keygrip is the signature that Koa's cookies have in a cookie beside them:
// HMAC-SHA1 of name=value in base64url without padding.
func Keygrip(secrets []string, _ Clock) Opener {
	keys := bytesOf(secrets)
	return func(name, value, beside string) (string, error) {
		given, err := decode(base64.RawURLEncoding, beside)
		if err != nil || len(value) > maxSealed ||
			!anyMatches(given, keys, func(key []byte) []byte { return mac(sha1.New, key, name, "=", value) }) {
			return "", ErrForged
		}
		return value, nil
	}
}

// Itsdangerous is the signature of Flask-Session's SESSION_USE_SIGNER: the id, a
// dot, and HMAC-SHA1 in base64url without padding, with a key that is derived
// for the salt flask-session.
func Itsdangerous(secrets []string, _ Clock) Opener {
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		keys[i] = mac(sha1.New, []byte(secret), "flask-session")
	}
	return func(_, value, _ string) (string, error) {
		id, signature, ok := cutLast(value, ".")
		if !ok {
			return "", ErrForged
		}
		given, err := decode(base64.RawURLEncoding, signature)
		if err != nil || !anyMatches(given, keys, func(key []byte) []byte { return mac(sha1.New, key, id) }) {
			return "", ErrForged
		}
		return id, nil
	}
}

// decode reads base64 that has one spelling: Go skips line ends, and bits that
// nothing uses.
func decode(encoding *base64.Encoding, text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrForged
	}
	return encoding.Strict().DecodeString(text)
}

// Base64 opens what is only encoded: there is no seal, and no secret.
func Base64(value string) (string, error) {
	data, err := decode(base64.StdEncoding, value)
	if err != nil || len(value) > maxSealed {
		return "", ErrForged
	}
	return string(data), nil
}
