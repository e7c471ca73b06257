package wire

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// text runs the opcodes of strings and bytes.
func (u *unpickler) text(op byte) (bool, error) {
	switch op {
	case 0x8c, 'X', 0x8d: // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
		data, err := u.counted(op)
		if err == nil && !isPythonText(data) {
			err = errNoText
		}
		u.pushText(data)
		return true, err
	case 'C', 'B', 0x8e, 0x96: // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
		data, err := u.counted(op)
		u.push([]byte(data))
		return true, err
	case 'U', 'T': // SHORT_BINSTRING, BINSTRING: Python 2's strings
		data, err := u.counted(op)
		u.pushOld(data)
		return true, err
	case 'V': // UNICODE
		line, err := u.line()
		if err != nil {
			return true, err
		}
		text, err := rawUnicodeEscape(line)
		u.pushText(text)
		return true, err
	case 'S': // STRING: a quoted literal
		line, err := u.line()
		if err != nil {
			return true, err
		}
		text, err := quoted(strings.TrimSpace(line))
		u.pushOld(text)
		return true, err
	}
	return false, nil
}

// isPythonText reports whether Python takes data for text: UTF-8, in which half a
// surrogate pair may stand alone.
func isPythonText(data string) bool {
	for i := 0; i < len(data); {
		_, size := utf8.DecodeRuneInString(data[i:])
		if size == 1 && data[i] >= utf8.RuneSelf {
			if len(data) < i+3 || data[i] != 0xed || data[i+1]&0xe0 != 0xa0 || data[i+2]&0xc0 != 0x80 {
				return false
			}
			size = 3
		}
		i += size
	}
	return true
}

// pushOld pushes a string of Python 2: text if it is UTF-8, and bytes otherwise.
func (u *unpickler) pushOld(data string) {
	if utf8.ValidString(data) {
		u.pushText(data)
	} else {
		u.push([]byte(data))
	}
}

// rawUnicodeEscape undoes \uXXXX and \UXXXXXXXX; all else is Latin-1. Two
// backslashes are two, and escape nothing after them, as in Python.
func rawUnicodeEscape(line string) (string, error) {
	var text strings.Builder
	for i := 0; i < len(line); i++ {
		digits := 0
		if line[i] == '\\' && i+1 < len(line) {
			digits = map[byte]int{'u': 4, 'U': 8}[line[i+1]]
		}
		if digits == 0 {
			text.WriteRune(rune(line[i]))
			if strings.HasPrefix(line[i:], `\\`) {
				text.WriteByte('\\')
				i++
			}
			continue
		}
		if i+2+digits > len(line) {
			return "", errTruncated
		}
		code, err := strconv.ParseUint(line[i+2:i+2+digits], 16, 32)
		if err != nil || code > utf8.MaxRune {
			return "", errors.New("holds an escape that is no character")
		}
		text.WriteRune(rune(code)) //nolint:gosec // bounded just above
		i += 1 + digits
	}
	return text.String(), nil
}

// quoted reads a string literal of Python 2. One with escapes that Go does not
// know is no session that anybody writes today.
func quoted(literal string) (string, error) {
	if len(literal) < 2 || literal[0] != literal[len(literal)-1] || literal[0] != '\'' && literal[0] != '"' {
		return "", errors.New("holds a string without its quotes")
	}
	inner := literal[1 : len(literal)-1]
	if !strings.Contains(inner, `\`) {
		return inner, nil
	}
	var text []byte
	for inner != "" {
		c, multibyte, rest, err := strconv.UnquoteChar(inner, literal[0])
		if err != nil {
			return "", errors.New("holds an escape that is no character")
		}
		if multibyte {
			text = utf8.AppendRune(text, c)
		} else {
			text = append(text, byte(c)) //nolint:gosec // a single byte, says UnquoteChar
		}
		inner = rest
	}
	return string(text), nil
}

// container runs the opcodes of lists, tuples, sets and dictionaries.
func (u *unpickler) container(op byte) (bool, error) {
	switch op {
	case '(': // MARK
		u.marks = append(u.marks, len(u.stack))
	case ']', 0x8f, ')': // EMPTY_LIST, EMPTY_SET, EMPTY_TUPLE
		u.push(&pickledList{})
	case '}': // EMPTY_DICT
		u.push(u.newDict())
	case 'l', 't', 0x91: // LIST, TUPLE, FROZENSET
		items, err := u.popMark()
		u.push(&pickledList{items: appendAll(nil, items)})
		return true, err
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		items, err := u.popN(int(op - 0x84))
		u.push(&pickledList{items: appendAll(nil, items)})
		return true, err
	case 'd': // DICT
		items, err := u.popMark()
		if err != nil {
			return true, err
		}
		dict := u.newDict()
		err = setItems(dict, items)
		u.push(dict)
		return true, err
	case 'a': // APPEND
		item, err := u.popN(1)
		if err != nil {
			return true, err
		}
		return true, u.add(item)
	case 'e', 0x90: // APPENDS, ADDITEMS
		items, err := u.popMark()
		if err != nil {
			return true, err
		}
		return true, u.add(items)
	case 's', 'u': // SETITEM, SETITEMS
		return true, u.set(op)
	default:
		return false, nil
	}
	return true, nil
}

// add appends to the list on top; what is added to an object is dropped.
func (u *unpickler) add(items []slot) error {
	to, err := u.top()
	if err != nil {
		return err
	}
	switch to := to.value.(type) {
	case *pickledList:
		to.items = appendAll(to.items, items)
		return nil
	case Opaque:
		return nil
	}
	return errors.New("appends to what is no list")
}

func (u *unpickler) set(op byte) error {
	var items []slot
	var err error
	if op == 's' {
		items, err = u.popN(2)
	} else {
		items, err = u.popMark()
	}
	if err != nil {
		return err
	}
	to, err := u.top()
	if err != nil {
		return err
	}
	return setItems(to.value, items)
}

// setItems puts pairs into a dictionary; what is set in an object is dropped.
func setItems(to any, items []slot) error {
	if len(items)%2 != 0 {
		return errors.New("sets a key without a value")
	}
	switch to := to.(type) {
	case *pickledDict:
		if to.object == nil {
			to.object = make(map[string]any, len(items)/2)
		}
		for i := 0; i < len(items); i += 2 {
			if name, ok := items[i].name(); ok { // or no path could name it
				to.object[name] = items[i+1].any()
			}
		}
		return nil
	case Opaque:
		return nil
	}
	return errors.New("sets an item of what is no dictionary")
}

// memory runs the opcodes of the stack and the memo, and those that only say
// how the rest is written.
func (u *unpickler) memory(op byte) (bool, error) {
	var name uint64
	var err error
	switch op {
	case 0x80: // PROTO
		version, err := u.littleEndian(1)
		if err == nil && version > 5 {
			err = errors.New("is of a protocol after 5")
		}
		return true, err
	case 0x95: // FRAME
		size, err := u.littleEndian(8)
		if err == nil && size > uint64(len(u.rest)) {
			err = errTruncated // as in Python, which reads it at once
		}
		return true, err
	case '0': // POP
		_, err = u.popN(1)
		return true, err
	case '1': // POP_MARK
		_, err = u.popMark()
		return true, err
	case '2': // DUP
		value, err := u.top()
		u.stack = append(u.stack, value)
		return true, err
	case 'q', 'r', 'h', 'j': // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
		name, err = u.operand(op)
	case 'p', 'g': // PUT, GET
		var line string
		if line, err = u.line(); err == nil {
			if name, err = strconv.ParseUint(line, 10, 32); err != nil {
				err = errNumber
			}
		}
	case 0x94: // MEMOIZE
		name = uint64(len(u.memo))
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if op == 'h' || op == 'j' || op == 'g' {
		if name >= uint64(len(u.memo)) || u.memo[name].value == nil {
			return true, errors.New("recalls what it never kept")
		}
		u.stack = append(u.stack, u.memo[name])
		return true, nil
	}
	if name >= maxNodes {
		return true, errTooMuch
	}
	if missing := int(name) + 1 - len(u.memo); missing > 0 {
		u.memo = append(u.memo, make([]slot, missing)...)
	}
	u.memo[name], err = u.top()
	return true, err
}

// object runs the opcodes of classes and objects: they take their operands and
// leave an Opaque value.
func (u *unpickler) object(op byte) (bool, error) {
	var err error
	switch op {
	case 'c': // GLOBAL
		err = u.lines(2)
	case 0x93: // STACK_GLOBAL
		var name []slot
		if name, err = u.popN(2); err == nil && name[0].text == "uuid" && name[1].text == "UUID" {
			u.push(pickledClassUUID{})
			return true, nil
		}
	case 0x81: // NEWOBJ
		var of []slot
		if of, err = u.popN(2); err == nil && of[0].value == (pickledClassUUID{}) {
			u.push(new(pickledUUID))
			return true, nil
		}
	case 'R': // REDUCE
		_, err = u.popN(2)
	case 0x92: // NEWOBJ_EX
		_, err = u.popN(3)
	case 'b': // BUILD: the object stays
		return true, u.build()
	case 'i': // INST
		if err = u.lines(2); err == nil {
			_, err = u.popMark()
		}
	case 'o': // OBJ
		_, err = u.popMark()
	case 'P': // PERSID
		err = u.lines(1)
	case 'Q': // BINPERSID
		_, err = u.popN(1)
	case 0x82, 0x83, 0x84: // EXT1, EXT2, EXT4
		_, err = u.operand(op)
	default:
		return false, nil
	}
	u.push(Opaque{})
	return true, err
}

// build gives an object its state, of which only that of a UUID is of interest:
// a number.
func (u *unpickler) build() error {
	state, err := u.popN(1)
	if err != nil {
		return err
	}
	object, err := u.top()
	if err != nil {
		return err
	}
	to, isUUID := object.value.(*pickledUUID)
	fields, ok := state[0].value.(*pickledDict)
	if !isUUID || !ok {
		return nil
	}
	to.number = fields.object["int"]
	return nil
}

func (u *unpickler) lines(n int) error {
	for range n {
		if _, err := u.line(); err != nil {
			return err
		}
	}
	return nil
}
