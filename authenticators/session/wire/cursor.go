package wire

import (
	"encoding/binary"
	"errors"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// cursor cuts values off the front of a session. Text that it returns is part
// of the session, not a copy.
type cursor struct {
	rest  string
	nodes int // that may still come
	depth int
}

func newCursor(session []byte) (cursor, error) {
	if len(session) > store.MaxValue {
		return cursor{}, store.ErrTooLarge
	}
	return cursor{rest: string(session), nodes: maxNodes}, nil
}

func (c *cursor) take(n uint64) (string, error) {
	if n > uint64(len(c.rest)) {
		return "", errTruncated
	}
	data := c.rest[:n]
	c.rest = c.rest[n:]
	return data, nil
}

func (c *cursor) byte() (byte, error) {
	if c.rest == "" {
		return 0, errTruncated
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b, nil
}

// bigEndian cuts off a number of up to eight bytes.
func (c *cursor) bigEndian(size uint64) (uint64, error) {
	data, err := c.take(size)
	if err != nil {
		return 0, err
	}
	var n uint64
	for i := range len(data) {
		n = n<<8 | uint64(data[i])
	}
	return n, nil
}

// littleEndian cuts off a number of up to eight bytes.
func (c *cursor) littleEndian(size uint64) (uint64, error) {
	data, err := c.take(size)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], data)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// enter begins a container of so many values, before anything is allocated for
// it. The caller calls leave at its end.
func (c *cursor) enter(values uint64) error {
	if c.depth++; c.depth > maxDepth {
		return errTooDeep
	}
	return c.spend(values)
}

func (c *cursor) leave() { c.depth-- }

// spend counts values against the bound.
func (c *cursor) spend(values uint64) error {
	if values > uint64(c.nodes) { //nolint:gosec // never negative
		return errTooMuch
	}
	c.nodes -= int(values) //nolint:gosec // at most maxNodes
	return nil
}

// links are the values that later parts of a session may refer back to, by
// their number.
type links []link

type link struct {
	value any
	text  string // in place of the value: most are keys, which nothing refers to
	nodes int    // that it holds; -1: it is not complete
}

// usualLinks are as many as most sessions have at most.
const usualLinks = 64

// open gives the next number to a value that is about to be read.
func (l *links) open() int {
	*l = append(*l, link{value: Opaque{}, nodes: -1})
	return len(*l) - 1
}

// close keeps a value, of which the reading has used up so many nodes.
func (l links) close(number int, value any, nodes int) { l[number] = link{value: value, nodes: nodes} }

// addText gives the next number to text.
func (l *links) addText(text string) { *l = append(*l, link{text: text}) }

// follow returns the value with a number. It counts as often as it is mentioned,
// since whoever prints the session prints it as often. What holds itself is
// opaque where it does.
func (l links) follow(number uint64, c *cursor) (any, error) {
	if number >= uint64(len(l)) {
		return nil, errors.New("refers to what is not there")
	}
	to := l[number]
	if to.nodes < 0 {
		return Opaque{}, nil
	}
	if to.value == nil {
		return to.text, nil
	}
	if err := c.spend(uint64(to.nodes)); err != nil {
		return nil, err
	}
	if c.depth+height(to.value) > maxDepth {
		return nil, errTooDeep
	}
	return to.value, nil
}

// height is how deep a value nests.
func height(value any) int {
	deepest := 0
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			deepest = max(deepest, 1+height(item))
		}
	case map[string]any:
		for _, item := range v {
			deepest = max(deepest, 1+height(item))
		}
	}
	return deepest
}
