package identity

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

// Preset names the headers that a family of backends reads the identity from.
type Preset struct {
	User, Name, Email, Groups string
}

// DefaultPreset is the preset of a policy that names none.
const DefaultPreset = "remote"

var presets = map[string]Preset{
	"remote":         {"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups"},
	"x-forwarded":    {"X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Forwarded-Groups"},
	"x-auth-request": {"X-Auth-Request-User", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Email", "X-Auth-Request-Groups"},
	"webauth":        {"X-Webauth-User", "X-Webauth-Name", "X-Webauth-Email", "X-Webauth-Groups"},
	"none":           {},
}

// PresetNamed returns the preset called name; empty is DefaultPreset.
func PresetNamed(name string) (Preset, bool) {
	if name == "" {
		name = DefaultPreset
	}
	p, ok := presets[name]
	return p, ok
}

// PresetNames lists the presets, sorted.
func PresetNames() []string {
	names := make([]string, 0, len(presets))
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Headers lists the names that the preset sets.
func (p Preset) Headers() []string {
	return slices.DeleteFunc([]string{p.User, p.Name, p.Email, p.Groups}, func(s string) bool { return s == "" })
}

// PresetSize is how many headers a preset sets at most.
const PresetSize = 4

// Forward sets the headers of who. A field that is unknown gives no header,
// never an empty one. It fails on an identity that no header could carry. The
// values are part of room, which must be this request's own: handlers may change
// them in their place.
func (p Preset) Forward(h http.Header, who *Identity, room *[PresetSize]string) error {
	if !ValidID(who.ID) {
		return fmt.Errorf("subject of %d bytes does not fit into a header", len(who.ID))
	}
	*room = [PresetSize]string{who.ID, SafeText(who.Name), SafeText(who.Email), who.joinedGroups()}
	for i, name := range [PresetSize]string{p.User, p.Name, p.Email, p.Groups} {
		if name != "" && room[i] != "" {
			h[name] = room[i : i+1 : i+1] // whoever adds a value makes a new list
		}
	}
	return nil
}

// SafeText makes text fit for a header's value: UTF-8 without control
// characters (each becomes a space), so without CR, LF and NUL, and without
// white space at its ends.
func SafeText(text string) string {
	if isPlain(text) {
		return text
	}
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.TrimSpace(text)
}

// isPlain spares usual text the work: printable ASCII, no blank at an end.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return text == "" || text[0] != ' ' && text[len(text)-1] != ' '
}

// joinedGroups are the groups as a header has them.
func (who *Identity) joinedGroups() string {
	if who.joined != "" {
		return who.joined
	}
	return JoinList(who.Groups)
}

// JoinList joins items by commas. What would let an item look like another, or
// like two, is percent-encoded in it: commas, percent signs, control
// characters, and blanks at its ends.
func JoinList(items []string) string {
	var b strings.Builder
	for _, item := range items {
		if item == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		writeItem(&b, strings.ToValidUTF8(item, "\uFFFD"))
	}
	return b.String()
}

func writeItem(b *strings.Builder, item string) {
	for i, c := range item {
		atEnd := i == 0 || i+len(string(c)) == len(item)
		if c == ',' || c == '%' || unicode.IsControl(c) || atEnd && unicode.IsSpace(c) {
			for _, octet := range []byte(string(c)) {
				fmt.Fprintf(b, "%%%02X", octet)
			}
			continue
		}
		b.WriteRune(c)
	}
}
