package identity

import (
	"fmt"
	"strings"
	"unicode"
)

// Separator says how a list stands in a header: what is between its items, and
// what is therefore percent-encoded in one. The zero value is Comma.
type Separator uint8

// The separators.
const (
	Comma Separator = iota
	Pipe
	Space

	// grafanaList is a list as Grafana reads it: it takes commas and blanks for
	// separators, quotes for an item with blanks, and what begins with [ for JSON.
	grafanaList
)

// SeparatorNames lists the words that SeparatorNamed knows, sorted.
var SeparatorNames = []string{"comma", "pipe", "space"}

// SeparatorNamed returns the separator called comma, pipe or space.
func SeparatorNamed(name string) (Separator, bool) {
	switch name {
	case "comma":
		return Comma, true
	case "pipe":
		return Pipe, true
	case "space":
		return Space, true
	}
	return Comma, false
}

func (s Separator) between() byte {
	switch s {
	case Pipe:
		return '|'
	case Space:
		return ' '
	case Comma, grafanaList:
	}
	return ','
}

// splits reports whether a backend could take c for the end of an item, or for
// more than a character of it.
func (s Separator) splits(c rune) bool {
	switch s {
	case Pipe:
		return c == '|'
	case Space:
		return unicode.IsSpace(c)
	case grafanaList:
		return c == ',' || c == '"' || c == '[' || unicode.IsSpace(c)
	case Comma:
	}
	return c == ','
}

// Join joins items. What would let an item look like another, or like two, is
// percent-encoded in it: separators, percent signs, control characters, and
// blanks at its ends.
func (s Separator) Join(items []string) string {
	var b strings.Builder
	for _, item := range items {
		if item == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(s.between())
		}
		s.write(&b, strings.ToValidUTF8(item, "\uFFFD"))
	}
	return b.String()
}

func (s Separator) write(b *strings.Builder, item string) {
	for i, c := range item {
		atEnd := i == 0 || i+len(string(c)) == len(item)
		if s.splits(c) || c == '%' || unicode.IsControl(c) || atEnd && unicode.IsSpace(c) {
			for _, octet := range []byte(string(c)) {
				fmt.Fprintf(b, "%%%02X", octet)
			}
			continue
		}
		b.WriteRune(c)
	}
}

// JoinList joins items by commas, as Comma.Join does.
func JoinList(items []string) string { return Comma.Join(items) }

// joinedGroups are the groups joined by commas.
func (who *Identity) joinedGroups() string {
	if who.joined != "" {
		return who.joined
	}
	return JoinList(who.Groups)
}
