package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Python tells the formats of Django's caches and of Flask-Session apart by
// their first bytes: JSON, pickle and MessagePack, and any of them compressed.
func Python(session []byte) (map[string]any, error) {
	session, err := decompress(session)
	if err != nil {
		return nil, err
	}
	switch {
	case isJSON(session):
		return JSON(session)
	case isMsgpackMap(session):
		return Msgpack(session)
	}
	return Pickle(session)
}

func isJSON(session []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(session, " \t\r\n"), []byte("{"))
}

// isMsgpackMap reports whether a session begins as a map of MessagePack. A pickle
// of protocol 2 and up begins as a map of no entries, too, but goes on.
func isMsgpackMap(session []byte) bool {
	return len(session) == 1 && session[0] == 0x80 ||
		len(session) > 1 && (session[0] > 0x80 && session[0] <= 0x8f || session[0] == 0xde || session[0] == 0xdf)
}

// Pickle reads a pickled dictionary.
func Pickle(session []byte) (map[string]any, error) {
	value, err := unpickle(session)
	if err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	if object, ok := value.(map[string]any); ok {
		return object, nil
	}
	return nil, errNoMap
}

// Gorilla tells the serializers of Go's session stores apart: JSON and gob. Go
// takes each number of JSON for a float64, and so does this: of a large one, the
// application knows no other digits.
func Gorilla(session []byte) (map[string]any, error) {
	if !isJSON(session) {
		return Gob(session)
	}
	object, err := JSON(session)
	if err == nil {
		roundAll(object)
	}
	return object, err
}

// roundAll gives the numbers in value the precision of a float64.
func roundAll(value any) any {
	switch v := value.(type) {
	case json.Number:
		f, err := v.Float64()
		if err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
			return int64(f)
		}
	case map[string]any:
		for name, item := range v {
			v[name] = roundAll(item)
		}
	case []any:
		for i, item := range v {
			v[i] = roundAll(item)
		}
	}
	return value
}

// Rack tells what Ruby's session stores write apart by the first bytes: JSON,
// Marshal, and the entries of Rails' cache in the formats 6.1, 7.0 and 7.1. An
// entry that has expired holds nothing.
func Rack(now func() time.Time) Decoder {
	return func(session []byte) (map[string]any, error) {
		switch {
		case isJSON(session):
			return JSON(session)
		case bytes.HasPrefix(session, []byte("\x00\x11")):
			return railsEntry71(session[2:], now())
		case bytes.HasPrefix(session, []byte("\x00")), bytes.HasPrefix(session, []byte("\x01")):
			return railsEntry70(session, now())
		}
		object, err := Marshal(session)
		if err != nil {
			return nil, err
		}
		if _, ok := object["@created_at"]; ok {
			return railsEntry61(object, now())
		}
		return object, nil
	}
}

var (
	errNoEntry = errors.New("rails: not an entry of its cache")
	nobody     = map[string]any{}
)

// railsEntry61 opens ActiveSupport::Cache::Entry, an object, whose value may be
// compressed.
func railsEntry61(entry map[string]any, now time.Time) (map[string]any, error) {
	created, ok := entry["@created_at"].(float64)
	if !ok {
		return nil, errNoEntry
	}
	if lifetime, ok := number(entry["@expires_in"]); ok && passed(created+lifetime, now) {
		return nobody, nil
	}
	switch value := entry["@value"].(type) {
	case map[string]any:
		return value, nil
	case string:
		if entry["@compressed"] != true && !isZlib([]byte(value)) {
			return nil, errNoEntry
		}
		return inflated([]byte(value))
	case nil:
		return nobody, nil
	}
	return nil, errNoEntry
}

// railsEntry70 opens a list of the value, when it expires, and its version, after
// a byte that says whether the list is compressed.
func railsEntry70(entry []byte, now time.Time) (map[string]any, error) {
	packed := entry[1:]
	if entry[0] == 1 {
		var err error
		if packed, err = unzlib(packed); err != nil {
			return nil, fmt.Errorf("decompressing: %w", err)
		}
	}
	value, err := marshaled(packed)
	if err != nil {
		return nil, err
	}
	members, ok := value.([]any)
	if !ok || len(members) == 0 {
		return nil, errNoEntry
	}
	if len(members) > 1 {
		if expires, ok := number(members[1]); ok && passed(expires, now) {
			return nobody, nil
		}
	}
	switch value := members[0].(type) {
	case map[string]any:
		return value, nil
	case nil:
		return nobody, nil
	}
	return nil, errNoEntry
}

// railsEntry71 opens an entry after its mark: a byte for the type of the value,
// when it expires (0 or less: never), the length of its version (-1: none), the
// version, and the value.
func railsEntry71(entry []byte, now time.Time) (map[string]any, error) {
	const header = 1 + 8 + 4
	if len(entry) < header {
		return nil, errTruncated
	}
	const marshalType, compressed = 0x01, 0x80
	if entry[0]&^compressed != marshalType {
		return nil, errNoEntry // text: no session
	}
	expires := math.Float64frombits(binary.LittleEndian.Uint64(entry[1:]))
	if passed(expires, now) {
		return nobody, nil
	}
	version := int32(binary.LittleEndian.Uint32(entry[9:])) //nolint:gosec // signed, -1 is none
	value := entry[header:]
	if version > 0 {
		if int(version) > len(value) {
			return nil, errTruncated
		}
		value = value[version:]
	}
	if entry[0]&compressed != 0 {
		return inflated(value)
	}
	return Marshal(value)
}

func inflated(value []byte) (map[string]any, error) {
	data, err := unzlib(value)
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	return Marshal(data)
}

// number is a time or a duration in seconds.
func number(value any) (float64, bool) {
	switch n := value.(type) {
	case float64:
		return n, true
	case int64:
		return float64(n), true
	}
	return 0, false
}

// passed reports whether a time in seconds since 1970 lies behind. Not a number:
// it does.
func passed(at float64, now time.Time) bool {
	if at <= 0 { // none
		return false
	}
	return !(at > float64(now.UnixMilli())/1000)
}

// Symfony reads a PHP session, and the tokens of Symfony's security in it, which
// are text that holds a serialized object: under the name _security_<firewall>
// stands {user, roles} then, user being the fields of the application's own
// class.
func Symfony(session []byte) (map[string]any, error) {
	object, err := PHP(session)
	if err != nil {
		return nil, err
	}
	attributes, ok := object["_sf2_attributes"].(map[string]any)
	if !ok {
		return object, nil
	}
	for name, value := range attributes {
		text, ok := value.(string)
		if !ok || !strings.HasPrefix(name, "_security_") || !strings.HasPrefix(text, "O:") && !strings.HasPrefix(text, "C:") {
			continue
		}
		token, err := Unserialize([]byte(text))
		if err != nil {
			return nil, err
		}
		attributes[name] = symfonyToken(token)
	}
	return object, nil
}

// symfonyToken finds the user and the roles in a token. Each kind of token is a
// list of its own parts and, last, those of AbstractToken: the user, whether it
// is authenticated, nil, attributes, and the names of the roles.
func symfonyToken(token any) any {
	parts, ok := token.([]any)
	if !ok || len(parts) == 0 {
		return Opaque{}
	}
	common, ok := parts[len(parts)-1].([]any)
	if !ok || len(common) < 5 {
		return Opaque{}
	}
	return map[string]any{"user": common[0], "roles": common[4]}
}

// Laravel reads what its cache keeps of a session: a serialized text that holds
// the session, serialized or in JSON. Where session.encrypt is on, that text is
// encrypted: open undoes it.
func Laravel(session []byte, open func([]byte) ([]byte, error)) (map[string]any, error) {
	outer, err := Unserialize(session)
	if err != nil {
		return nil, err
	}
	text, ok := outer.(string)
	if !ok {
		return nil, errNoMap
	}
	inner := []byte(text)
	if bytes.HasPrefix(inner, []byte("eyJ")) { // {" in base64: an encrypter's envelope
		if inner, err = open(inner); err != nil {
			return nil, err
		}
		if outer, err = Unserialize(inner); err != nil { // the encrypter serializes, too
			return nil, err
		}
		if text, ok = outer.(string); !ok {
			return nil, errNoMap
		}
		inner = []byte(text)
	}
	if len(inner) > store.MaxValue {
		return nil, store.ErrTooLarge
	}
	if isJSON(inner) {
		return JSON(inner)
	}
	return PHPSerialize(inner)
}
