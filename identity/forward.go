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

	// Separator is how the backends tell one group from the next.
	Separator Separator
}

// DefaultPreset is the preset of a policy that names none.
const DefaultPreset = "remote"

var presets = map[string]Preset{
	"remote":         {User: "Remote-User", Name: "Remote-Name", Email: "Remote-Email", Groups: "Remote-Groups"},
	"x-forwarded":    {User: "X-Forwarded-User", Name: "X-Forwarded-Preferred-Username", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups"},
	"x-auth-request": {User: "X-Auth-Request-User", Name: "X-Auth-Request-Preferred-Username", Email: "X-Auth-Request-Email", Groups: "X-Auth-Request-Groups"},
	"webauth":        {User: "X-Webauth-User", Name: "X-Webauth-Name", Email: "X-Webauth-Email", Groups: "X-Webauth-Groups"},
	"grafana":        {User: "X-Webauth-User", Name: "X-Webauth-Name", Email: "X-Webauth-Email", Groups: "X-Webauth-Groups", Separator: grafanaList},
	"jenkins":        {User: "X-Forwarded-User", Name: "X-Forwarded-Displayname", Email: "X-Forwarded-Mail", Groups: "X-Forwarded-Groups", Separator: Pipe},
	"django":         {User: "Remote-User"}, // what Django calls REMOTE_USER; it takes no more
	"gitea":          {User: "X-Webauth-User", Name: "X-Webauth-Fullname", Email: "X-Webauth-Email"},
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
	*room = [PresetSize]string{who.ID, SafeText(who.Name), SafeText(who.Email), p.groupsOf(who)}
	for i, name := range [PresetSize]string{p.User, p.Name, p.Email, p.Groups} {
		if name != "" && room[i] != "" {
			h[name] = room[i : i+1 : i+1] // whoever adds a value makes a new list
		}
	}
	return nil
}

// groupsOf are the groups of who as the preset's header has them.
func (p Preset) groupsOf(who *Identity) string {
	if p.Separator == Comma || p.Groups == "" {
		return who.joinedGroups()
	}
	return p.Separator.Join(who.Groups)
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
