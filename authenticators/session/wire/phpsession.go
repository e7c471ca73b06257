package wire

import (
	"strings"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// PHP tells the formats that ext/session and its extensions write apart by
// their first bytes (session.serialize_handler): php, php_binary, php_serialize,
// igbinary and msgpack.
//
// No format is tried after another has failed: text that a visitor chose could
// be a session in the second.
func PHP(session []byte) (map[string]any, error) {
	switch {
	case len(session) == 0: // of a visitor
		return map[string]any{}, nil
	case len(session) > store.MaxValue:
		return nil, store.ErrTooLarge
	case strings.HasPrefix(string(session[:min(len(session), 3)]), "\x00\x00\x00"):
		return Igbinary(session)
	case session[0] < ' ':
		return PHPBinary(session)
	case session[0]&0xf0 == 0x80, session[0]&0xf0 == 0x90, session[0] == 0xde, session[0] == 0xdf:
		return Msgpack(session)
	case isPHPArray(session):
		return PHPSerialize(session)
	}
	return PHPText(session)
}

// isPHPArray reports whether value begins as serialize() begins an array.
func isPHPArray(value []byte) bool {
	length, ok := strings.CutPrefix(string(value[:min(len(value), 16)]), "a:")
	end := strings.Index(length, ":{")
	return ok && end > 0 && strings.Trim(length[:end], "0123456789") == ""
}

// PHPText reads the handler php: names, each with a bar and a serialized value
// after it.
func PHPText(session []byte) (map[string]any, error) {
	return phpVariables(session, (*php).textName)
}

// PHPBinary reads the handler php_binary: names with their length before them,
// each with a serialized value after it.
func PHPBinary(session []byte) (map[string]any, error) {
	return phpVariables(session, (*php).binaryName)
}

func phpVariables(session []byte, next func(*php) (name string, set bool, err error)) (map[string]any, error) {
	c, err := newCursor(session)
	if err != nil {
		return nil, err
	}
	p := php{c}
	variables := make(map[string]any)
	for p.rest != "" {
		if err := p.spend(1); err != nil {
			return nil, err
		}
		name, set, err := next(&p)
		if err != nil {
			return nil, err
		}
		if !set {
			continue
		}
		if variables[name], err = p.value(); err != nil {
			return nil, err
		}
	}
	return variables, nil
}

// textName reads the name before a bar. One that begins with ! has no value. A
// name with characters that values are made of is none: the session is of another
// format, and what looks like a bar stands in somebody's text.
func (p *php) textName() (name string, set bool, err error) {
	if name, err = p.until('|'); err != nil {
		return "", false, err
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || strings.ContainsRune(`;"{}`, c) }) {
		return "", false, errPHP
	}
	name, unset := strings.CutPrefix(name, "!")
	return name, !unset, nil
}

func (p *php) binaryName() (name string, set bool, err error) {
	length, err := p.byte()
	if err != nil {
		return "", false, err
	}
	name, err = p.take(uint64(length & 0x7f))
	return name, length&0x80 == 0, err
}
