// Package wire reads sessions in the formats that frameworks write: JSON,
// pickle, PHP's serializers, Ruby's Marshal, MessagePack and gob.
//
// All of them can hold more than data, and some are programs. Here they are
// data and nothing else: no class is looked up, no object is built and nothing
// is called. An object becomes a map of its fields where the format tells them,
// and an Opaque value where it does not, so that what stands beside it is still
// found. Who can write into Redis must not be able to hurt the gateway: size,
// depth and number of values are bounded, and a claimed length never makes
// anything be allocated.
package wire

import (
	"errors"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// A Decoder reads a session. Its values are nil, bool, int64, json.Number,
// float64, string, []byte, []any, map[string]any and Opaque. Errors say nothing
// of what a session holds: they go to the log.
type Decoder func(session []byte) (map[string]any, error)

// Opaque stands for whatever is not plain data: classes, functions, objects
// whose fields can't be told.
type Opaque struct{}

// The bounds of a session, beside store.MaxValue for its bytes.
const (
	maxDepth = 64     // of what it nests
	maxNodes = 20_000 // that it holds, each time it is mentioned
	maxInt   = 256    // bytes of an integer
)

var (
	errTruncated = errors.New("ends in the middle")
	errTooMuch   = errors.New("holds too much")
	errTooDeep   = errors.New("nests too deep")
	errNumber    = errors.New("holds a number that is none")
	errInteger   = errors.New("holds an integer that is too large")
	errNoText    = errors.New("holds text that is not UTF-8")
	errMore      = errors.New("goes on after its end")
	errNoMap     = errors.New("is no map of names to values")
)

// JSON reads an object. Numbers keep their digits.
func JSON(session []byte) (map[string]any, error) {
	if len(session) > store.MaxValue {
		return nil, store.ErrTooLarge
	}
	return identity.ParseClaims(session)
}

// JSONValue reads any value of JSON, as the member "value".
func JSONValue(field []byte) (map[string]any, error) {
	if len(field) > store.MaxValue {
		return nil, store.ErrTooLarge
	}
	object, err := identity.ParseClaims([]byte(`{"value":` + string(field) + `}`))
	if err == nil && len(object) != 1 {
		err = errMore
	}
	return object, err
}
