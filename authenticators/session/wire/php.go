package wire

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// PHPSerialize reads what PHP's serialize() makes of an array: the handler
// php_serialize, and what frameworks keep.
func PHPSerialize(session []byte) (map[string]any, error) {
	value, err := Unserialize(session)
	if err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case map[string]any:
		return v, nil
	case []any:
		return byIndex(v), nil
	}
	return nil, errNoMap
}

// Unserialize reads what PHP's serialize() makes of any value. An object is a
// map of its fields, private ones too; what refers back to a value that stands
// elsewhere is opaque.
func Unserialize(value []byte) (any, error) {
	c, err := newCursor(value)
	if err != nil {
		return nil, err
	}
	p := php{c}
	result, err := p.value()
	if err == nil && p.rest != "" {
		err = errMore
	}
	return result, err
}

type php struct{ cursor }

var errPHP = errors.New("php: not what serialize() writes")

func (p *php) value() (any, error) {
	kind, err := p.take(2)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "N;":
		return nil, nil
	case "b:":
		text, err := p.until(';')
		if err == nil && text != "0" && text != "1" {
			err = errPHP
		}
		return text == "1", err
	case "i:":
		n, err := p.integer()
		return n, err
	case "d:":
		return p.float()
	case "s:":
		text, err := p.quoted()
		if err != nil {
			return nil, err
		}
		return text, p.expect(";")
	case "a:":
		return p.array(phpArray{})
	case "O:":
		if err := p.className(); err != nil {
			return nil, err
		}
		return p.array(phpArray{ofObject: true})
	case "C:": // an object that wrote itself, in a format of its own
		return p.custom()
	case "E:": // a case of an enumeration
		if _, err := p.quoted(); err != nil {
			return nil, err
		}
		return Opaque{}, p.expect(";")
	case "r:", "R:":
		_, err := p.integer()
		return Opaque{}, err
	}
	return nil, errPHP
}

func (p *php) expect(text string) error {
	got, err := p.take(uint64(len(text)))
	if err == nil && got != text {
		err = errPHP
	}
	return err
}

// until cuts off short text that ends with a character, and the character.
func (p *php) until(end byte) (string, error) {
	i := strings.IndexByte(p.rest[:min(len(p.rest), maxInt)], end)
	if i < 0 {
		return "", errTruncated
	}
	text := p.rest[:i]
	p.rest = p.rest[i+1:]
	return text, nil
}

func (p *php) integer() (int64, error) {
	text, err := p.until(';')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

func (p *php) length() (uint64, error) {
	text, err := p.until(':')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

// float reads a number, which may be INF, -INF or NAN.
func (p *php) float() (any, error) {
	text, err := p.until(';')
	if err != nil {
		return nil, err
	}
	return parseFloat(text)
}

// quoted reads text: its length in bytes, and the bytes between quotes.
func (p *php) quoted() (string, error) {
	n, err := p.length()
	if err != nil {
		return "", err
	}
	if err := p.expect(`"`); err != nil {
		return "", err
	}
	text, err := p.take(n)
	if err != nil {
		return "", err
	}
	return text, p.expect(`"`)
}

// className reads over the name of a class: none is looked up.
func (p *php) className() error {
	if _, err := p.quoted(); err != nil {
		return err
	}
	return p.expect(":")
}

func (p *php) custom() (any, error) {
	if err := p.className(); err != nil {
		return nil, err
	}
	n, err := p.length()
	if err != nil {
		return nil, err
	}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	if _, err := p.take(n); err != nil {
		return nil, err
	}
	return Opaque{}, p.expect("}")
}

// array reads the entries of an array or the fields of an object. With the keys
// 0, 1, 2 and so on it is a list.
func (p *php) array(entries phpArray) (any, error) {
	n, err := p.length()
	if err != nil {
		return nil, err
	}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	value, err := p.entries(n, entries, p.key, p.value)
	if err != nil {
		return nil, err
	}
	return value, p.expect("}")
}

// key reads the key of an entry: text, or a number, for which index is not noIndex.
func (p *php) key() (name string, index int64, err error) {
	kind, err := p.take(2)
	if err != nil {
		return "", 0, err
	}
	switch kind {
	case "i:":
		index, err = p.integer()
		return "", index, err
	case "s:":
		if name, err = p.quoted(); err == nil {
			err = p.expect(";")
		}
		return name, noIndex, err
	}
	return "", 0, errPHP
}

// noIndex is the index of an entry whose key is text. As a key it could only stand
// in a map.
const noIndex = math.MinInt64

// phpArray collects the entries of a PHP array, which may be a list or a map.
type phpArray struct {
	ofObject bool // its names may be marked
	list     []any
	object   map[string]any
}

// add puts in an entry; the last of one name counts, as in PHP. size is how many
// are to come at first.
func (a *phpArray) add(name string, index int64, value any, size int) {
	if a.object == nil {
		if index == int64(len(a.list)) {
			if a.list == nil {
				a.list = make([]any, 0, size)
			}
			a.list = append(a.list, value)
			return
		}
		a.object = make(map[string]any, size)
		for i, item := range a.list {
			a.object[strconv.Itoa(i)] = item
		}
	}
	switch {
	case index != noIndex:
		name = strconv.FormatInt(index, 10)
	case a.ofObject:
		name = fieldName(name)
	}
	a.object[name] = value
}

// entries reads as many entries.
func (c *cursor) entries(n uint64, into phpArray, key func() (string, int64, error), value func() (any, error)) (any, error) {
	if err := c.enter(n); err != nil {
		return nil, err
	}
	defer c.leave()
	for range n {
		name, index, err := key()
		if err != nil {
			return nil, err
		}
		item, err := value()
		if err != nil {
			return nil, err
		}
		into.add(name, index, item, int(n)) //nolint:gosec // entered
	}
	return into.done(), nil
}

func (a *phpArray) done() any {
	switch {
	case a.object != nil:
		return a.object
	case a.list == nil:
		return []any{}
	}
	return a.list
}

// fieldName is the name of an object's field without the mark of a private or
// protected one: NUL, class or *, NUL.
func fieldName(name string) string {
	if strings.HasPrefix(name, "\x00") {
		if i := strings.IndexByte(name[1:], 0); i >= 0 {
			return name[i+2:]
		}
	}
	return name
}
