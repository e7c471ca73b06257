package wire

import (
	"errors"
	"math"
)

// Igbinary reads what PHP's igbinary makes of an array, in its versions 1 and 2.
func Igbinary(session []byte) (map[string]any, error) {
	c, err := newCursor(session)
	if err != nil {
		return nil, err
	}
	g := igbinary{cursor: c, texts: make([]string, 0, usualLinks)}
	version, err := g.bigEndian(4)
	if err != nil {
		return nil, err
	}
	if version != 1 && version != 2 {
		return nil, errors.New("igbinary: of another version")
	}
	value, err := g.value()
	if err != nil {
		return nil, err
	}
	if g.rest != "" {
		return nil, errMore
	}
	switch v := value.(type) {
	case map[string]any:
		return v, nil
	case []any:
		return byIndex(v), nil
	}
	return nil, errNoMap
}

type igbinary struct {
	cursor
	texts []string // each text stands once, and is then named by its number
}

var errIgbinary = errors.New("igbinary: unknown type")

func (g *igbinary) value() (any, error) {
	kind, err := g.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case 0x00:
		return nil, nil
	case 0x01, 0x02, 0x03: // a reference to an array
		return g.back(widths[kind-0x01])
	case 0x22, 0x23, 0x24: // and to an object
		return g.back(widths[kind-0x22])
	case 0x04, 0x05:
		return kind == 0x05, nil
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b:
		return g.number(widths[(kind-0x06)/2], kind%2 == 1)
	case 0x20, 0x21:
		return g.number(8, kind == 0x21)
	case 0x0c:
		n, err := g.bigEndian(8)
		return float(math.Float64frombits(n)), err
	case 0x14, 0x15, 0x16:
		return g.array(widths[kind-0x14], phpArray{})
	case 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c:
		return g.object(kind)
	case 0x25: // a variable that something else refers to
		if err := g.enter(1); err != nil {
			return nil, err
		}
		defer g.leave()
		return g.value()
	}
	return g.text(kind)
}

// back reads a reference to what stood before.
func (g *igbinary) back(size uint64) (any, error) {
	_, err := g.take(size)
	return Opaque{}, err
}

func (g *igbinary) number(size uint64, negative bool) (any, error) {
	n, err := g.bigEndian(size)
	if err != nil {
		return nil, err
	}
	if !negative {
		return unsigned(n), nil
	}
	if n > 1<<63 {
		return nil, errInteger
	}
	return -int64(n), nil //nolint:gosec // -1<<63 is its own negative
}

// text reads a text, or the number of one that stood before.
func (g *igbinary) text(kind byte) (string, error) {
	switch kind {
	case 0x0d:
		return "", nil
	case 0x0e, 0x0f, 0x10:
		return g.known(widths[kind-0x0e])
	case 0x11, 0x12, 0x13:
		return g.fresh(widths[kind-0x11])
	}
	return "", errIgbinary
}

func (g *igbinary) known(size uint64) (string, error) {
	n, err := g.bigEndian(size)
	if err != nil {
		return "", err
	}
	if n >= uint64(len(g.texts)) {
		return "", errors.New("igbinary: names a text that is not there")
	}
	return g.texts[n], nil
}

func (g *igbinary) fresh(size uint64) (string, error) {
	n, err := g.bigEndian(size)
	if err != nil {
		return "", err
	}
	text, err := g.take(n)
	g.texts = append(g.texts, text)
	return text, err
}

func (g *igbinary) array(size uint64, entries phpArray) (any, error) {
	n, err := g.bigEndian(size)
	if err != nil {
		return nil, err
	}
	return g.entries(n, entries, g.key, g.value)
}

// key reads the key of an entry: text, or a number, for which index is not noIndex.
func (g *igbinary) key() (name string, index int64, err error) {
	kind, err := g.byte()
	if err != nil {
		return "", 0, err
	}
	var number any
	switch kind {
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b:
		number, err = g.number(widths[(kind-0x06)/2], kind%2 == 1)
	case 0x20, 0x21:
		number, err = g.number(8, kind == 0x21)
	default:
		name, err = g.text(kind)
		return name, noIndex, err
	}
	index, ok := number.(int64)
	if err == nil && !ok {
		err = errInteger
	}
	return "", index, err
}

// object reads the name of a class, and an array of fields; or text that the
// object wrote by itself; or the name of a case of an enumeration.
func (g *igbinary) object(kind byte) (any, error) {
	if err := g.class(kind); err != nil {
		return nil, err
	}
	fields, err := g.byte()
	if err != nil {
		return nil, err
	}
	switch fields {
	case 0x14, 0x15, 0x16:
		return g.array(widths[fields-0x14], phpArray{ofObject: true})
	case 0x1d, 0x1e, 0x1f:
		n, err := g.bigEndian(widths[fields-0x1d])
		if err != nil {
			return nil, err
		}
		_, err = g.take(n)
		return Opaque{}, err
	case 0x27:
		kind, err := g.byte()
		if err == nil {
			_, err = g.text(kind)
		}
		return Opaque{}, err
	}
	return nil, errIgbinary
}

func (g *igbinary) class(kind byte) (err error) {
	switch kind {
	case 0x17, 0x18, 0x19:
		_, err = g.fresh(widths[kind-0x17])
	case 0x1a, 0x1b, 0x1c:
		_, err = g.known(widths[kind-0x1a])
	default:
		err = errIgbinary
	}
	return err
}
