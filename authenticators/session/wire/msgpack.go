package wire

import (
	"errors"
	"math"
)

// Msgpack reads a MessagePack map (the specification at msgpack/msgpack, as of
// 2021), also the flavour of PHP's extension, which marks objects and
// references by a nil among the keys.
func Msgpack(session []byte) (map[string]any, error) {
	c, err := newCursor(session)
	if err != nil {
		return nil, err
	}
	m := msgpack{c}
	value, err := m.value()
	if err != nil {
		return nil, err
	}
	if m.rest != "" {
		return nil, errMore
	}
	switch v := value.(type) {
	case map[string]any:
		return v, nil
	case []any: // PHP writes a session with the names 0, 1, 2 so, and an empty one
		return byIndex(v), nil
	}
	return nil, errNoMap
}

type msgpack struct{ cursor }

func (m *msgpack) value() (any, error) {
	kind, err := m.byte()
	if err != nil {
		return nil, err
	}
	switch {
	case kind < 0x80: // positive fixint
		return int64(kind), nil
	case kind < 0x90:
		return m.pairs(uint64(kind & 0x0f))
	case kind < 0xa0:
		return m.list(uint64(kind & 0x0f))
	case kind < 0xc0:
		return m.take(uint64(kind & 0x1f))
	case kind >= 0xe0: // negative fixint
		return int64(int8(kind)), nil //nolint:gosec // signed
	case kind >= 0xca && kind <= 0xd3:
		return m.number(kind)
	case kind >= 0xd4 && kind <= 0xd8: // fixext: a type, and 1, 2, 4, 8 or 16 bytes
		_, err := m.take(1 + 1<<(kind-0xd4))
		return Opaque{}, err
	}
	return m.sized(kind)
}

// sized reads what has its length in front, and the constants.
func (m *msgpack) sized(kind byte) (any, error) {
	switch kind {
	case 0xc0:
		return nil, nil
	case 0xc2, 0xc3:
		return kind == 0xc3, nil
	case 0xc1:
		return nil, errors.New("holds a type that is not used")
	}
	var size uint64
	switch kind {
	case 0xc4, 0xc5, 0xc6: // bin
		size = widths[kind-0xc4]
	case 0xc7, 0xc8, 0xc9: // ext
		size = widths[kind-0xc7]
	case 0xd9, 0xda, 0xdb: // str
		size = widths[kind-0xd9]
	case 0xdc, 0xde: // array16, map16
		size = 2
	case 0xdd, 0xdf: // array32, map32
		size = 4
	}
	n, err := m.bigEndian(size)
	if err != nil {
		return nil, err
	}
	switch kind {
	case 0xdc, 0xdd:
		return m.list(n)
	case 0xde, 0xdf:
		return m.pairs(n)
	case 0xc7, 0xc8, 0xc9:
		_, err := m.take(n + 1)
		return Opaque{}, err
	}
	data, err := m.take(n)
	if kind <= 0xc6 {
		return []byte(data), err
	}
	return data, err
}

func (m *msgpack) number(kind byte) (any, error) {
	size := uint64(1) << ((kind - 0xcc) & 3)
	switch kind {
	case 0xca:
		size = 4
	case 0xcb:
		size = 8
	}
	n, err := m.bigEndian(size)
	if err != nil {
		return nil, err
	}
	switch kind {
	case 0xca:
		return float(float64(math.Float32frombits(uint32(n)))), nil //nolint:gosec // four bytes
	case 0xcb:
		return float(math.Float64frombits(n)), nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return unsigned(n), nil
	}
	unused := 64 - 8*size
	return int64(n<<unused) >> unused, nil //nolint:gosec // extends the sign
}

func (m *msgpack) list(n uint64) (any, error) {
	if err := m.enter(n); err != nil {
		return nil, err
	}
	defer m.leave()
	list := make([]any, n)
	for i := range list {
		var err error
		if list[i], err = m.value(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// keyKind says what a key is.
type keyKind int

const (
	keyNamed keyKind = iota // text or a whole number
	keyNil
	keyOther
)

func (m *msgpack) key() (name string, kind keyKind, err error) {
	if m.rest != "" && m.rest[0] >= 0xa0 && m.rest[0] < 0xc0 { // as nearly all are
		first, _ := m.byte()
		name, err = m.take(uint64(first & 0x1f))
		return name, keyNamed, err
	}
	key, err := m.value()
	if key == nil {
		return "", keyNil, err
	}
	name, ok := keyText(key)
	if !ok {
		return "", keyOther, err
	}
	return name, keyNamed, err
}

// pairs reads a map. A key that is no text and no whole number can't be named by
// a path, and is dropped with its value.
func (m *msgpack) pairs(n uint64) (any, error) {
	if err := m.enter(n); err != nil {
		return nil, err
	}
	defer m.leave()
	object := make(map[string]any, n)
	var mark any // of PHP, before all else: the class of an object, or a number
	for range n {
		name, kind, err := m.key()
		if err != nil {
			return nil, err
		}
		value, err := m.value()
		if err != nil {
			return nil, err
		}
		fields, isMap := value.(map[string]any)
		_, ofObject := mark.(string)
		switch {
		case kind == keyNil && mark == nil:
			mark = value
		case kind == keyNil && isMap: // of an object's own making
			object = fields
		case kind == keyNamed && ofObject:
			object[fieldName(name)] = value
		case kind == keyNamed:
			object[name] = value
		}
	}
	// Of the numbers, 1 says that this map is referred to; others, that it stands
	// elsewhere.
	if number, ok := mark.(int64); ok && number != 1 {
		return Opaque{}, nil
	}
	return object, nil
}
