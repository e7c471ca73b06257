package wire

import (
	"errors"
	"math"
	"math/bits"
)

// Gob reads a stream of one value of Go's encoding/gob, a map or a struct.
// A stream describes its types, so that none needs to be known here. What a type
// encoded by its own methods is []byte; of a type called UUID, text.
func Gob(session []byte) (map[string]any, error) {
	c, err := newCursor(session)
	if err != nil {
		return nil, err
	}
	g := gobReader{cursor: c, types: make(map[int64]gobType)}
	if _, err := g.uint(); err != nil { // the length of a message
		return nil, err
	}
	id, err := g.typeID()
	if err != nil {
		return nil, err
	}
	value, err := g.whole(id)
	if err != nil {
		return nil, err
	}
	if g.rest != "" {
		return nil, errMore
	}
	if object, ok := value.(map[string]any); ok {
		return object, nil
	}
	return nil, errNoMap
}

type gobReader struct {
	cursor
	types map[int64]gobType
}

// gobType is a type that the stream has described.
type gobType struct {
	kind      gobKind
	name      string
	key, elem int64
	fields    []gobField
}

type gobField struct {
	name string
	id   int64
}

// gobKind is the field of gob's wireType that is set.
type gobKind int

const (
	gobArray gobKind = iota
	gobSlice
	gobStruct
	gobMap
	gobEncoder
	gobBinaryMarshaler
	gobTextMarshaler
)

// The types that every stream knows.
const (
	gobBool = iota + 1
	gobInt
	gobUint
	gobFloat
	gobBytes
	gobString
	gobComplex
	gobInterface
)

var errGob = errors.New("gob: describes a type that can't be")

func (g *gobReader) uint() (uint64, error) {
	first, err := g.byte()
	if err != nil || first < 0x80 {
		return uint64(first), err
	}
	size := uint64(-int8(first)) //nolint:gosec // 1 to 128
	if size > 8 {
		return 0, errNumber
	}
	return g.bigEndian(size)
}

func (g *gobReader) int() (int64, error) {
	n, err := g.uint()
	if n&1 == 1 {
		return ^int64(n >> 1), err //nolint:gosec // one bit fewer
	}
	return int64(n >> 1), err //nolint:gosec // one bit fewer
}

func (g *gobReader) text() (string, error) {
	n, err := g.uint()
	if err != nil {
		return "", err
	}
	return g.take(n)
}

// typeID returns the type of what comes next. Descriptions of types may stand
// before it, each with the length of another part after it.
func (g *gobReader) typeID() (int64, error) {
	for {
		id, err := g.int()
		if err != nil || id >= 0 {
			return id, err
		}
		if err := g.describe(-id); err != nil {
			return 0, err
		}
		if _, err := g.uint(); err != nil {
			return 0, err
		}
	}
}

// whole reads a value that stands by itself. One that is no struct has a zero
// before it, where a struct has the number of a field.
func (g *gobReader) whole(id int64) (any, error) {
	if t, ok := g.types[id]; !ok || t.kind != gobStruct {
		zero, err := g.uint()
		if err != nil {
			return nil, err
		}
		if zero != 0 {
			return nil, errGob
		}
	}
	return g.value(id)
}

func (g *gobReader) value(id int64) (any, error) {
	switch id {
	case gobBool:
		n, err := g.uint()
		return n != 0, err
	case gobInt:
		n, err := g.int()
		return n, err
	case gobUint:
		n, err := g.uint()
		return unsigned(n), err
	case gobFloat:
		n, err := g.uint()
		return float(math.Float64frombits(bits.ReverseBytes64(n))), err
	case gobBytes:
		data, err := g.text()
		return []byte(data), err
	case gobString:
		return g.text()
	case gobComplex:
		if _, err := g.uint(); err != nil {
			return nil, err
		}
		_, err := g.uint()
		return Opaque{}, err
	case gobInterface:
		return g.anything()
	}
	t, ok := g.types[id]
	if !ok {
		return nil, errGob
	}
	if err := g.enter(1); err != nil {
		return nil, err
	}
	defer g.leave()
	switch t.kind {
	case gobArray, gobSlice:
		return g.list(t)
	case gobMap:
		return g.pairs(t)
	case gobStruct:
		return g.fields(t)
	case gobEncoder, gobBinaryMarshaler, gobTextMarshaler:
	}
	data, err := g.text()
	switch {
	case t.kind == gobTextMarshaler:
		return data, err
	case t.name == "UUID" && len(data) == 16:
		return uuid(data), err
	}
	return []byte(data), err
}

// anything reads a value whose type stands before it, with a name that is of no
// use here.
func (g *gobReader) anything() (any, error) {
	name, err := g.text()
	if err != nil || name == "" {
		return nil, err
	}
	id, err := g.typeID()
	if err != nil {
		return nil, err
	}
	if _, err := g.uint(); err != nil { // the value's length
		return nil, err
	}
	return g.whole(id)
}

// count reads how many values follow.
func (g *gobReader) count() (uint64, error) {
	n, err := g.uint()
	if err != nil {
		return 0, err
	}
	if n > uint64(len(g.rest)) { // each takes a byte
		return 0, errTruncated
	}
	return n, g.spend(n)
}

func (g *gobReader) list(t gobType) (any, error) {
	n, err := g.count()
	if err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = g.value(t.elem); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (g *gobReader) pairs(t gobType) (any, error) {
	n, err := g.count()
	if err != nil {
		return nil, err
	}
	object := make(map[string]any, n)
	for range n {
		name, ok, err := g.key(t.key)
		if err != nil {
			return nil, err
		}
		value, err := g.value(t.elem)
		if err != nil {
			return nil, err
		}
		if ok {
			object[name] = value
		}
	}
	return object, nil
}

// key reads the key of a pair; false: it can't be named.
func (g *gobReader) key(id int64) (name string, ok bool, err error) {
	if id == gobString { // as nearly all are
		name, err = g.text()
		return name, true, err
	}
	key, err := g.value(id)
	name, ok = keyText(key)
	return name, ok, err
}

func (g *gobReader) fields(t gobType) (any, error) {
	object := make(map[string]any) // the description may be of many fields
	err := g.each(func(field int) error {
		if field >= len(t.fields) {
			return errGob
		}
		value, err := g.value(t.fields[field].id)
		object[t.fields[field].name] = value
		return err
	})
	return object, err
}

// each reads a struct: run is asked to read the fields that are not zero, in
// their order. Before each stands how far it is from the one before, and a zero
// ends them.
func (g *gobReader) each(run func(field int) error) error {
	field := -1
	for {
		delta, err := g.uint()
		if err != nil {
			return err
		}
		if delta == 0 {
			return nil
		}
		if delta > maxNodes || field > maxNodes {
			return errGob
		}
		if err := g.spend(1); err != nil {
			return err
		}
		field += int(delta) //nolint:gosec // at most maxNodes
		if err := run(field); err != nil {
			return err
		}
	}
}

// describe reads gob's wireType: a struct of which one field is set, with the
// description of an array, a slice, a struct, a map or a type with its own
// encoding.
func (g *gobReader) describe(id int64) error {
	if _, twice := g.types[id]; twice || id <= gobInterface || len(g.types) == maxDepth {
		return errGob
	}
	var t gobType
	err := g.each(func(field int) error {
		if t.kind = gobKind(field); t.kind > gobTextMarshaler {
			return errGob
		}
		return g.each(func(field int) error { return g.describePart(&t, field) })
	})
	g.types[id] = t
	return err
}

// describePart reads a field of a type's description. The first is common to all:
// the type's name and number.
func (g *gobReader) describePart(t *gobType, field int) (err error) {
	switch {
	case field == 0:
		return g.each(func(field int) error {
			if field == 0 {
				t.name, err = g.text()
				return err
			}
			_, err = g.int()
			return err
		})
	case t.kind == gobStruct && field == 1:
		t.fields, err = g.describeFields()
	case t.kind == gobMap && field == 1:
		t.key, err = g.int()
	case t.kind == gobMap && field == 2, t.kind <= gobSlice && field == 1:
		t.elem, err = g.int()
	case t.kind == gobArray && field == 2: // its length stands with its values, too
		_, err = g.int()
	default:
		return errGob
	}
	return err
}

func (g *gobReader) describeFields() ([]gobField, error) {
	n, err := g.count()
	if err != nil {
		return nil, err
	}
	fields := make([]gobField, n)
	for i := range fields {
		err := g.each(func(field int) error {
			switch field {
			case 0:
				fields[i].name, err = g.text()
			case 1:
				fields[i].id, err = g.int()
			default:
				return errGob
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return fields, nil
}
