package session

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// decodeAny tells the formats of a Django cache apart by their first bytes:
// JSON, pickle, and either of them compressed by zlib.
func decodeAny(value []byte) (map[string]any, error) {
	if len(value) > 1 && value[0] == 0x78 && (uint(value[0])<<8|uint(value[1]))%31 == 0 { // RFC 1950, section 2.2
		inflated, err := inflate(value)
		if err != nil {
			return nil, err
		}
		value = inflated
	}
	if bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
		return identity.ParseClaims(value)
	}
	return decodePickle(value)
}

// inflate undoes zlib, up to the size that any session may have.
func inflate(value []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, fmt.Errorf("zlib: %w", err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, store.MaxValue+1))
	if err != nil {
		return nil, fmt.Errorf("zlib: %w", err)
	}
	if len(data) > store.MaxValue {
		return nil, errors.New("zlib: inflates to more than 64 KiB")
	}
	return data, nil
}

// decodePickle reads a pickled dictionary.
func decodePickle(value []byte) (map[string]any, error) {
	result, err := unpickle(value)
	if err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	session, ok := result.(map[string]any)
	if !ok {
		return nil, errors.New("pickle: not a dictionary")
	}
	return session, nil
}
