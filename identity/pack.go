package identity

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
)

// Pack appends who in the form that Unpack reads. It fails where a claim is of a
// kind that it doesn't know, or too deep.
func Pack(to []byte, who *Identity) ([]byte, error) {
	for _, text := range []string{who.ID, who.Name, who.Email, who.Method} {
		to = packText(to, text)
	}
	for _, t := range []time.Time{who.Expires, who.AuthTime} {
		to = packTime(to, t)
	}
	to = packList(to, who.Scopes)
	joined := JoinList(who.Groups)
	if strings.Join(who.Groups, ",") == joined {
		// They stand in the joined text as they are.
		to = append(to, groupsJoined)
		to = packText(to, joined)
	} else {
		to = append(to, groupsApart)
		to = packText(to, joined)
		to = packList(to, who.Groups)
	}
	if len(who.Claims) == 0 {
		return append(to, noClaims), nil
	}
	return packValue(append(to, someClaims), who.Claims, maxPacked)
}

const (
	groupsJoined byte = iota
	groupsApart
)

const (
	noClaims byte = iota
	someClaims
)

// maxPacked is how deep claims may be nested: no credential is read that is deeper.
const maxPacked = 64

// Unpack reads into who what Pack wrote, without a copy: text in who is part of
// packed. Claims are not read before they are asked for.
func Unpack(packed string, who *Identity) error {
	r := unpacker{rest: packed}
	*who = Identity{ID: r.text(), Name: r.text(), Email: r.text(), Method: r.text(), Expires: r.time(), AuthTime: r.time(), Scopes: r.list()}
	apart := r.byte() == groupsApart
	who.joined = r.text()
	switch {
	case apart:
		who.Groups = r.list()
	case who.joined != "":
		who.Groups = strings.Split(who.joined, ",")
	}
	if r.byte() == someClaims {
		who.packed = r.rest
	}
	if r.failed {
		return errPacked
	}
	return nil
}

var errPacked = errors.New("an identity that was not packed by this release")

// The kinds of value in packed claims.
const (
	isNil byte = iota
	isFalse
	isTrue
	isText
	isNumber // json.Number
	isInt
	isInt64
	isUint64
	isFloat
	isList
	isObject
)

var errKind = errors.New("a claim of a kind that can't be packed")

func packValue(to []byte, value any, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, errKind
	}
	var err error
	switch v := value.(type) {
	case nil:
		to = append(to, isNil)
	case bool:
		if v {
			return append(to, isTrue), nil
		}
		to = append(to, isFalse)
	case string:
		to = packText(append(to, isText), v)
	case json.Number:
		to = packText(append(to, isNumber), string(v))
	case int:
		to = binary.AppendVarint(append(to, isInt), int64(v))
	case int64:
		to = binary.AppendVarint(append(to, isInt64), v)
	case uint64:
		to = binary.AppendUvarint(append(to, isUint64), v)
	case float64:
		to = binary.AppendUvarint(append(to, isFloat), math.Float64bits(v))
	case []any:
		to = binary.AppendUvarint(append(to, isList), uint64(len(v)))
		for i := 0; i < len(v) && err == nil; i++ {
			to, err = packValue(to, v[i], depth-1)
		}
	case map[string]any:
		to = binary.AppendUvarint(append(to, isObject), uint64(len(v)))
		for name, item := range v {
			if to, err = packValue(packText(to, name), item, depth-1); err != nil {
				break
			}
		}
	default:
		err = errKind
	}
	return to, err
}

func packText(to []byte, text string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

func packList(to []byte, list []string) []byte {
	to = binary.AppendUvarint(to, uint64(len(list)))
	for _, text := range list {
		to = packText(to, text)
	}
	return to
}

// packTime writes seconds and nanoseconds, since no one number holds all times.
func packTime(to []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(to, 0)
	}
	to = binary.AppendVarint(append(to, 1), t.Unix())
	return binary.AppendUvarint(to, uint64(t.Nanosecond())) //nolint:gosec // never negative
}

// unpacker reads packed values. After a failure all it reads is empty.
type unpacker struct {
	rest   string
	failed bool
}

func (r *unpacker) fail() {
	r.rest, r.failed = "", true
}

func (r *unpacker) byte() byte {
	if r.rest == "" {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *unpacker) uint() uint64 {
	var value uint64
	for shift := 0; shift < 64; shift += 7 {
		b := r.byte()
		value |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return value
		}
	}
	r.fail()
	return 0
}

func (r *unpacker) int() int64 {
	u := r.uint()
	value := int64(u >> 1) //nolint:gosec // zigzag, as in encoding/binary
	if u&1 != 0 {
		value = ^value
	}
	return value
}

// count reads how many items follow, of which each takes a byte at least.
func (r *unpacker) count() int {
	n := r.uint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n) //nolint:gosec // just compared
}

func (r *unpacker) text() string {
	n := r.count()
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text
}

func (r *unpacker) list() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (r *unpacker) time() time.Time {
	if r.byte() == 0 {
		return time.Time{}
	}
	seconds := r.int()
	return time.Unix(seconds, int64(r.uint())) //nolint:gosec // nanoseconds
}

func (r *unpacker) value() any {
	switch r.byte() {
	case isFalse:
		return false
	case isTrue:
		return true
	case isText:
		return r.text()
	case isNumber:
		return json.Number(r.text())
	case isInt:
		return int(r.int())
	case isInt64:
		return r.int()
	case isUint64:
		return r.uint()
	case isFloat:
		return math.Float64frombits(r.uint())
	case isList:
		list := make([]any, r.count())
		for i := range list {
			list[i] = r.value()
		}
		return list
	case isObject:
		n := r.count()
		object := make(map[string]any, n)
		for range n {
			name := r.text()
			object[name] = r.value()
		}
		return object
	}
	return nil
}

// AllClaims are the claims, which the caller must not change; nil where there are none.
func (who *Identity) AllClaims() map[string]any {
	if who.packed != "" {
		r := unpacker{rest: who.packed}
		claims, _ := r.value().(map[string]any)
		who.packed = ""
		if !r.failed {
			who.Claims = claims
		}
	}
	return who.Claims
}

// Claim returns what stands at a path in the claims.
func (who *Identity) Claim(path Path) (any, bool) { return path.In(who.AllClaims()) }
