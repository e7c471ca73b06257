package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Containers are held by reference while a pickle is read, since it fills them
// after it has put them somewhere.
type (
	pickledDict struct {
		keys, values []any
	}
	pickledList struct{ items []any }
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
	rest  []byte
	stack []any
	marks []int // heights of the stack
	memo  map[uint64]any
}

// unpickle reads a pickle of protocol 0 to 5 as data: nil, bool, int64,
// json.Number, float64, string, []byte, []any and map[string]any. What is of
// another kind becomes an Opaque value, so that what stands beside it is
// still found.
func unpickle(data []byte) (any, error) {
	if len(data) > store.MaxValue {
		return nil, store.ErrTooLarge
	}
	u := &unpickler{rest: data, memo: make(map[uint64]any)}
	for {
		op, err := u.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' { // STOP
			break
		}
		if err := u.step(op[0]); err != nil {
			return nil, err
		}
	}
	switch {
	case len(u.rest) > 0:
		return nil, errMore
	case len(u.stack) != 1 || len(u.marks) > 0:
		return nil, errors.New("leaves more or less than one value")
	}
	budget := maxNodes
	return plain(u.stack[0], 0, &budget)
}

// step runs one opcode.
func (u *unpickler) step(op byte) error {
	for _, group := range []func(byte) (bool, error){u.number, u.text, u.container, u.memory, u.object} {
		if done, err := group(op); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("unknown opcode 0x%02x", op)
}

// take cuts n bytes off; a claimed length never makes anything be allocated.
func (u *unpickler) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.rest)) {
		return nil, errTruncated
	}
	data := u.rest[:n]
	u.rest = u.rest[n:]
	return data, nil
}

// unsigned cuts off a little-endian number of size bytes.
func (u *unpickler) unsigned(size uint64) (uint64, error) {
	data, err := u.take(size)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], data)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// counted cuts off bytes whose number stands before them, in size bytes.
func (u *unpickler) counted(size uint64) ([]byte, error) {
	n, err := u.unsigned(size)
	if err != nil {
		return nil, err
	}
	return u.take(n)
}

// line cuts off text up to a line break.
func (u *unpickler) line() (string, error) {
	end := slices.Index(u.rest, '\n')
	if end < 0 {
		return "", errTruncated
	}
	text := string(u.rest[:end])
	u.rest = u.rest[end+1:]
	return text, nil
}

func (u *unpickler) push(value any) { u.stack = append(u.stack, value) }

// floor is the height that a pop may not go below.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

func (u *unpickler) pop() (any, error) {
	if len(u.stack) <= u.floor() {
		return nil, errors.New("takes a value that is not there")
	}
	value := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	return value, nil
}

func (u *unpickler) popN(n int) ([]any, error) {
	if len(u.stack)-u.floor() < n {
		return nil, errors.New("takes a value that is not there")
	}
	values := slices.Clone(u.stack[len(u.stack)-n:])
	u.stack = u.stack[:len(u.stack)-n]
	return values, nil
}

// popMark takes all values above the last mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errors.New("takes a mark that is not there")
	}
	floor := u.floor()
	values := slices.Clone(u.stack[floor:])
	u.stack = u.stack[:floor]
	u.marks = u.marks[:len(u.marks)-1]
	return values, nil
}

// top is the value that an opcode adds something to.
func (u *unpickler) top() (any, error) {
	if len(u.stack) <= u.floor() {
		return nil, errors.New("adds to a value that is not there")
	}
	return u.stack[len(u.stack)-1], nil
}

// plain turns what was collected into plain maps and lists. The budget counts
// each mention of a value, so that one that mentions itself, or a little that
// unfolds into much, is refused. A container pays for all it holds before
// anything is allocated for it, also for keys that are then dropped.
func plain(value any, depth int, budget *int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch v := value.(type) {
	case *pickledList:
		if *budget -= len(v.items); *budget < 0 {
			return nil, errTooMuch
		}
		list := make([]any, 0, len(v.items))
		for _, item := range v.items {
			p, err := plain(item, depth+1, budget)
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		return list, nil
	case *pickledDict:
		if *budget -= len(v.keys); *budget < 0 {
			return nil, errTooMuch
		}
		object := make(map[string]any, len(v.keys))
		for i, key := range v.keys {
			name, ok := keyText(key)
			if !ok {
				continue // nothing that a path could name
			}
			p, err := plain(v.values[i], depth+1, budget)
			if err != nil {
				return nil, err
			}
			object[name] = p // the last one counts, as in Python
		}
		return object, nil
	case *pickledUUID:
		return v.text(), nil
	case pickledClassUUID:
		return Opaque{}, nil
	}
	return value, nil
}

// number runs the opcodes of numbers, truth values and None.
func (u *unpickler) number(op byte) (bool, error) {
	switch op {
	case 'N': // NONE
		u.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		u.push(op == 0x88)
	case 'K', 'M': // BININT1, BININT2
		n, err := u.unsigned(map[byte]uint64{'K': 1, 'M': 2}[op])
		u.push(int64(n)) //nolint:gosec // at most two bytes
		return true, err
	case 'J': // BININT
		n, err := u.unsigned(4)
		u.push(int64(int32(uint32(n)))) //nolint:gosec // four bytes, signed
		return true, err
	case 0x8a, 0x8b: // LONG1, LONG4
		data, err := u.counted(map[byte]uint64{0x8a: 1, 0x8b: 4}[op])
		if err != nil {
			return true, err
		}
		n, err := twosComplement(data)
		u.push(n)
		return true, err
	case 'G': // BINFLOAT
		data, err := u.take(8)
		if err != nil {
			return true, err
		}
		u.push(float(math.Float64frombits(binary.BigEndian.Uint64(data))))
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
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errNumber
		}
		return float(f), nil
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
