package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
)

// Containers are held by reference while a pickle is read, since it fills them
// after it has put them somewhere.
type (
	pickledDict struct {
		object map[string]any
		state  plainness
		nodes  int // that it holds, once it is plain
	}
	pickledList struct {
		items []any
		state plainness
		nodes int
	}
)

// plainness says how far a container has been turned into plain maps and lists.
type plainness int

const (
	notPlain plainness = iota
	becomesPlain
	isPlain
)

// Python's UUIDs, which many take as keys of users, are objects. They are told by
// name, so that they can be read as text.
type (
	pickledClassUUID struct{}
	pickledUUID      struct{ number any }
)

// text is the UUID in the notation of RFC 9562.
func (p *pickledUUID) text() any {
	n := new(big.Int)
	switch number := p.number.(type) {
	case int64:
		n.SetInt64(number)
	case json.Number:
		n.SetString(number.String(), 10)
	default:
		return Opaque{}
	}
	if n.Sign() < 0 || n.BitLen() > 128 {
		return Opaque{}
	}
	return uuid(string(n.FillBytes(make([]byte, 16))))
}

// unpickler is the machine that a pickle is a program for (PEP 307, 3154, 574;
// the opcodes are those of Python's pickletools), without the means to do
// anything but to collect data.
type unpickler struct {
	cursor
	stack []slot
	marks []int // heights of the stack
	memo  []slot
	dicts []pickledDict // to come, made several at once
}

// newDict makes an empty dictionary.
func (u *unpickler) newDict() *pickledDict {
	if len(u.dicts) == 0 {
		u.dicts = make([]pickledDict, 8)
	}
	dict := &u.dicts[0]
	u.dicts = u.dicts[1:]
	return dict
}

// slot is a value on the stack. Most are text, and most of that names of what is
// in a dictionary: as a slot, it costs nothing.
type slot struct {
	text  string
	value any // isText: the text
}

// isText marks a slot that holds text.
type isText struct{}

func (s slot) any() any {
	if s.value == (isText{}) {
		return s.text
	}
	return s.value
}

// name is the name that a slot gives as a key; false: it gives none.
func (s slot) name() (string, bool) {
	if s.value == (isText{}) {
		return s.text, true
	}
	return keyText(s.value)
}

func appendAll(list []any, slots []slot) []any {
	list = slices.Grow(list, len(slots))
	for _, s := range slots {
		list = append(list, s.any())
	}
	return list
}

// unpickle reads a pickle of protocol 0 to 5 as data. What is not plain data
// becomes an Opaque value, so that what stands beside it is still found.
func unpickle(data []byte) (any, error) {
	c, err := newCursor(data)
	if err != nil {
		return nil, err
	}
	u := &unpickler{
		cursor: c, stack: make([]slot, 0, usualLinks), marks: make([]int, 0, 8), memo: make([]slot, 0, 2*usualLinks),
	}
	for {
		op, err := u.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' { // STOP
			break
		}
		if err := u.step(op); err != nil {
			return nil, err
		}
	}
	switch {
	case u.rest != "":
		return nil, errMore
	case len(u.stack) != 1 || len(u.marks) > 0:
		return nil, errors.New("leaves more or less than one value")
	}
	budget := maxNodes
	return plain(u.stack[0].any(), 0, &budget)
}

// opcodes run one opcode each, if it is theirs.
var opcodes = [...]func(*unpickler, byte) (bool, error){
	(*unpickler).memory, (*unpickler).text, (*unpickler).number, (*unpickler).container, (*unpickler).object,
}

func (u *unpickler) step(op byte) error {
	for _, run := range opcodes {
		if done, err := run(u, op); done || err != nil {
			if err == nil && len(u.stack) > maxNodes {
				err = errTooMuch
			}
			return err
		}
	}
	return fmt.Errorf("unknown opcode 0x%02x", op)
}

// sizes are those of what stands after an opcode: a number, or the length of
// what follows.
var sizes = [256]uint8{
	'K': 1, 'M': 2, 0x8a: 1, 0x8b: 4, // BININT1, BININT2, LONG1, LONG4
	0x8c: 1, 'X': 4, 0x8d: 8, // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
	'C': 1, 'B': 4, 0x8e: 8, 0x96: 8, // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
	'U': 1, 'T': 4, // SHORT_BINSTRING, BINSTRING
	'q': 1, 'r': 4, 'h': 1, 'j': 4, // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
	0x82: 1, 0x83: 2, 0x84: 4, // EXT1, EXT2, EXT4
}

// operand cuts off the number after an opcode.
func (u *unpickler) operand(op byte) (uint64, error) { return u.littleEndian(uint64(sizes[op])) }

// counted cuts off the text or bytes after an opcode.
func (u *unpickler) counted(op byte) (string, error) {
	n, err := u.operand(op)
	if err != nil {
		return "", err
	}
	return u.take(n)
}

// line cuts off text up to a line break.
func (u *unpickler) line() (string, error) {
	line, rest, ok := strings.Cut(u.rest, "\n")
	if !ok {
		return "", errTruncated
	}
	u.rest = rest
	return line, nil
}

func (u *unpickler) push(value any) { u.stack = append(u.stack, slot{value: value}) }

func (u *unpickler) pushText(text string) {
	u.stack = append(u.stack, slot{text: text, value: isText{}})
}

// floor is the height that a pop may not go below.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// popN takes values, which are good until the next push.
func (u *unpickler) popN(n int) ([]slot, error) {
	if len(u.stack)-u.floor() < n {
		return nil, errors.New("takes a value that is not there")
	}
	values := u.stack[len(u.stack)-n:]
	u.stack = u.stack[:len(u.stack)-n]
	return values, nil
}

// popMark takes all values above the last mark, and the mark. They are good until
// the next push.
func (u *unpickler) popMark() ([]slot, error) {
	if len(u.marks) == 0 {
		return nil, errors.New("takes a mark that is not there")
	}
	floor := u.floor()
	values := u.stack[floor:]
	u.stack = u.stack[:floor]
	u.marks = u.marks[:len(u.marks)-1]
	return values, nil
}

// top is the value that an opcode adds something to.
func (u *unpickler) top() (slot, error) {
	if len(u.stack) <= u.floor() {
		return slot{}, errors.New("adds to a value that is not there")
	}
	return u.stack[len(u.stack)-1], nil
}

// plain turns what was collected into plain maps and lists, in place. The budget
// counts each mention of a value, so that a little that unfolds into much is
// refused. What holds itself is opaque where it does.
func plain(value any, depth int, budget *int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch v := value.(type) {
	case *pickledList:
		return v.plain(depth, budget)
	case *pickledDict:
		return v.plain(depth, budget)
	case *pickledUUID:
		return v.text(), nil
	case pickledClassUUID:
		return Opaque{}, nil
	}
	return value, nil
}

func (l *pickledList) plain(depth int, budget *int) (any, error) {
	switch l.state {
	case becomesPlain:
		return Opaque{}, nil
	case isPlain:
		return again(l.items, l.nodes, depth, budget)
	case notPlain:
	}
	before := *budget
	if err := spend(budget, len(l.items)); err != nil {
		return nil, err
	}
	if l.items == nil {
		l.items = []any{}
	}
	l.state = becomesPlain
	for i, item := range l.items {
		var err error
		if l.items[i], err = plain(item, depth+1, budget); err != nil {
			return nil, err
		}
	}
	l.state, l.nodes = isPlain, before-*budget
	return l.items, nil
}

func (d *pickledDict) plain(depth int, budget *int) (any, error) {
	switch d.state {
	case becomesPlain:
		return Opaque{}, nil
	case isPlain:
		return again(d.object, d.nodes, depth, budget)
	case notPlain:
	}
	before := *budget
	if err := spend(budget, len(d.object)); err != nil {
		return nil, err
	}
	if d.object == nil {
		d.object = make(map[string]any)
	}
	d.state = becomesPlain
	for name, item := range d.object {
		var err error
		if d.object[name], err = plain(item, depth+1, budget); err != nil {
			return nil, err
		}
	}
	d.state, d.nodes = isPlain, before-*budget
	return d.object, nil
}

// again counts a container that is mentioned once more.
func again(value any, nodes, depth int, budget *int) (any, error) {
	if err := spend(budget, nodes); err != nil {
		return nil, err
	}
	if depth+height(value) > maxDepth {
		return nil, errTooDeep
	}
	return value, nil
}

func spend(budget *int, nodes int) error {
	if *budget -= nodes; *budget < 0 {
		return errTooMuch
	}
	return nil
}

// number runs the opcodes of numbers, truth values and None.
func (u *unpickler) number(op byte) (bool, error) {
	switch op {
	case 'N': // NONE
		u.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		u.push(op == 0x88)
	case 'K', 'M': // BININT1, BININT2
		n, err := u.operand(op)
		u.push(int64(n)) //nolint:gosec // at most two bytes
		return true, err
	case 'J': // BININT
		n, err := u.littleEndian(4)
		u.push(int64(int32(uint32(n)))) //nolint:gosec // four bytes, signed
		return true, err
	case 0x8a, 0x8b: // LONG1, LONG4
		data, err := u.counted(op)
		if err != nil {
			return true, err
		}
		n, err := twosComplement([]byte(data))
		u.push(n)
		return true, err
	case 'G': // BINFLOAT
		bits, err := u.bigEndian(8)
		u.push(float(math.Float64frombits(bits)))
		return true, err
	case 'I', 'L', 'F': // INT, LONG, FLOAT
		text, err := u.line()
		if err != nil {
			return true, err
		}
		n, err := numberLine(op, text)
		u.push(n)
		return true, err
	default:
		return false, nil
	}
	return true, nil
}

func numberLine(op byte, text string) (any, error) {
	switch {
	case op == 'F':
		return parseFloat(text)
	case op == 'I' && (text == "00" || text == "01"):
		return text == "01", nil
	}
	if op == 'L' && len(text) > 0 && text[len(text)-1] == 'L' {
		text = text[:len(text)-1]
	}
	if len(text) > 3*maxInt {
		return nil, errInteger
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, errNumber
	}
	return integer(n), nil
}
