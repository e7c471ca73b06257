package wire

import (
	"errors"
	"math/big"
	"slices"
	"strings"
)

// Marshal reads a hash as Ruby's Marshal writes it (version 4.8; Ruby's
// doc/marshal.rdoc). Symbols are text. An object is a map of its instance
// variables, with their @.
func Marshal(session []byte) (map[string]any, error) {
	value, err := marshaled(session)
	if err != nil {
		return nil, err
	}
	if object, ok := value.(map[string]any); ok {
		return object, nil
	}
	return nil, errNoMap
}

// marshaled reads any value.
func marshaled(data []byte) (any, error) {
	c, err := newCursor(data)
	if err != nil {
		return nil, err
	}
	m := marshal{cursor: c, objects: make(links, 0, usualLinks)}
	version, err := m.take(2)
	if err != nil {
		return nil, err
	}
	if version != "\x04\x08" {
		return nil, errors.New("marshal: not of version 4.8")
	}
	value, err := m.value()
	if err == nil && m.rest != "" {
		err = errMore
	}
	return value, err
}

type marshal struct {
	cursor
	symbols []string
	objects links
}

var errMarshal = errors.New("marshal: unknown type")

func (m *marshal) value() (any, error) {
	kind, err := m.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '0':
		return nil, nil
	case 'T', 'F':
		return kind == 'T', nil
	case 'i':
		n, err := m.fixnum()
		return n, err
	case ':', ';':
		return m.symbol(kind)
	case '@':
		n, err := m.fixnum()
		if err != nil || n < 0 {
			return nil, errTruncated
		}
		return m.objects.follow(uint64(n), &m.cursor)
	}
	if err := m.enter(1); err != nil {
		return nil, err
	}
	defer m.leave()
	switch kind {
	case 'I':
		return m.withVariables()
	case 'e', 'C': // extended by a module, or of a subclass of a core class
		if _, err := m.name(); err != nil {
			return nil, err
		}
		return m.value()
	case 'u':
		return m.ownDump(false)
	}
	return m.object(kind)
}

// object reads what Ruby numbers, so that later parts can refer to it.
func (m *marshal) object(kind byte) (value any, err error) {
	number, before := m.objects.open(), m.nodes
	switch kind {
	case '"':
		value, err = m.text()
	case 'f':
		value, err = m.float()
	case 'l':
		value, err = m.bignum()
	case '[':
		value, err = m.array()
	case '{', '}':
		value, err = m.hash(kind == '}')
	case 'o', 'S':
		if _, err = m.name(); err == nil {
			value, err = m.variables()
		}
	case 'U', 'd': // an object that made another of itself
		if _, err = m.name(); err == nil {
			_, err = m.value()
		}
		value = Opaque{}
	case '/': // a regular expression, and its options
		if _, err = m.text(); err == nil {
			_, err = m.byte()
		}
		value = Opaque{}
	case 'c', 'm', 'M': // a class or a module
		_, err = m.text()
		value = Opaque{}
	default:
		return nil, errMarshal
	}
	m.objects.close(number, value, before-m.nodes)
	return value, err
}

// fixnum reads a whole number of 31 bits.
func (m *marshal) fixnum() (int64, error) {
	first, err := m.byte()
	if err != nil {
		return 0, err
	}
	switch n := int64(int8(first)); { //nolint:gosec // signed
	case n == 0:
		return 0, nil
	case n > 4:
		return n - 5, nil
	case n < -4:
		return n + 5, nil
	case n > 0:
		u, err := m.littleEndian(uint64(n))
		return int64(u), err //nolint:gosec // at most four bytes
	default:
		u, err := m.littleEndian(uint64(-n))
		return int64(u) - 1<<(8*-n), err //nolint:gosec // at most four bytes
	}
}

func (m *marshal) length() (uint64, error) {
	n, err := m.fixnum()
	if err == nil && (n < 0 || n > int64(len(m.rest))) {
		err = errTruncated
	}
	return uint64(max(n, 0)), err //nolint:gosec // not negative
}

func (m *marshal) text() (string, error) {
	n, err := m.length()
	if err != nil {
		return "", err
	}
	return m.take(n)
}

// symbol reads a symbol, or the number of one that stood before.
func (m *marshal) symbol(kind byte) (string, error) {
	if kind == ':' {
		name, err := m.text()
		m.symbols = append(m.symbols, name)
		return name, err
	}
	n, err := m.fixnum()
	if err != nil {
		return "", err
	}
	if n < 0 || n >= int64(len(m.symbols)) {
		return "", errors.New("marshal: names a symbol that is not there")
	}
	return m.symbols[n], nil
}

// name reads a symbol where nothing else may stand. One that is not ASCII has
// its encoding after it.
func (m *marshal) name() (string, error) {
	kind, err := m.byte()
	if err != nil {
		return "", err
	}
	switch kind {
	case ':', ';':
		return m.symbol(kind)
	case 'I':
		if kind, err = m.byte(); err != nil {
			return "", err
		}
		if kind != ':' {
			return "", errMarshal
		}
		name, err := m.symbol(kind)
		if err != nil {
			return "", err
		}
		return name, m.skipVariables()
	}
	return "", errMarshal
}

// withVariables reads a value that has instance variables though it is no
// object: of text, its encoding. They are dropped.
func (m *marshal) withVariables() (any, error) {
	if after, ok := strings.CutPrefix(m.rest, "u"); ok {
		m.rest = after
		return m.ownDump(true)
	}
	value, err := m.value()
	if err != nil {
		return nil, err
	}
	return value, m.skipVariables()
}

// ownDump reads an object that wrote itself. Ruby numbers it only then, after
// the variables that may follow.
func (m *marshal) ownDump(withVariables bool) (any, error) {
	_, err := m.name()
	if err == nil {
		_, err = m.text()
	}
	if err == nil && withVariables {
		err = m.skipVariables()
	}
	m.objects.close(m.objects.open(), Opaque{}, 0)
	return Opaque{}, err
}

func (m *marshal) skipVariables() error {
	n, err := m.length()
	if err != nil {
		return err
	}
	for range n {
		if _, err := m.name(); err != nil {
			return err
		}
		if _, err := m.value(); err != nil {
			return err
		}
	}
	return nil
}

func (m *marshal) variables() (any, error) {
	n, err := m.length()
	if err != nil {
		return nil, err
	}
	if err := m.spend(n); err != nil {
		return nil, err
	}
	object := make(map[string]any, n)
	for range n {
		name, err := m.name()
		if err != nil {
			return nil, err
		}
		if object[name], err = m.value(); err != nil {
			return nil, err
		}
	}
	return object, nil
}

func (m *marshal) array() (any, error) {
	n, err := m.length()
	if err != nil {
		return nil, err
	}
	if err := m.spend(n); err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = m.value(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// key reads the key of a pair; false: it can't be named.
func (m *marshal) key() (name string, ok bool, err error) {
	if after, found := strings.CutPrefix(m.rest, `I"`); found { // as nearly all are
		m.rest = after
		if name, err = m.text(); err != nil {
			return "", false, err
		}
		m.objects.addText(name)
		return name, true, m.skipVariables()
	}
	if m.rest != "" && (m.rest[0] == ':' || m.rest[0] == ';') {
		kind, _ := m.byte()
		name, err = m.symbol(kind)
		return name, true, err
	}
	key, err := m.value()
	name, ok = keyText(key)
	return name, ok, err
}

// hash reads pairs; some have a default after them.
func (m *marshal) hash(hasDefault bool) (any, error) {
	n, err := m.length()
	if err != nil {
		return nil, err
	}
	if err := m.spend(n); err != nil {
		return nil, err
	}
	object := make(map[string]any, n)
	for range n {
		name, ok, err := m.key()
		if err != nil {
			return nil, err
		}
		value, err := m.value()
		if err != nil {
			return nil, err
		}
		if ok {
			object[name] = value
		}
	}
	if hasDefault {
		_, err = m.value()
	}
	return object, err
}

// float reads a number in text, which may be inf, -inf or nan.
func (m *marshal) float() (any, error) {
	text, err := m.text()
	if err != nil {
		return nil, err
	}
	return parseFloat(text)
}

// bignum reads a sign, a number of 16-bit words, and the words.
func (m *marshal) bignum() (any, error) {
	sign, err := m.byte()
	if err != nil {
		return nil, err
	}
	words, err := m.length()
	if err != nil {
		return nil, err
	}
	if 2*words > maxInt {
		return nil, errInteger
	}
	data, err := m.take(2 * words)
	if err != nil {
		return nil, err
	}
	bigEndian := []byte(data)
	slices.Reverse(bigEndian)
	n := new(big.Int).SetBytes(bigEndian)
	if sign == '-' {
		n.Neg(n)
	}
	return integer(n), nil
}
