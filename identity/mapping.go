package identity

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ClaimPath says that a claim of the identity stands at a path in what the
// credential says. The names name, email, groups and scopes fill those fields;
// any other becomes {http.auth.user.claims.<name>}.
type ClaimPath struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// Check says what is wrong with it, if anything.
func (c ClaimPath) Check() error {
	if c.Name == "" || strings.ContainsAny(c.Name, "{} \t") {
		return fmt.Errorf("claim name '%s': a word without spaces and braces is needed", c.Name)
	}
	_, err := ParsePath(c.Path)
	return err
}

// Mapping turns what a credential says into an identity. Make it with
// NewMapping.
type Mapping struct {
	// Negative says that a user id may be a negative number: some databases have
	// such keys.
	Negative bool

	user   Path
	fields map[string]Path
	prefix string
}

// NewMapping takes the path of the user id, the paths of claims, and a text
// that is put before each user id.
func NewMapping(user string, claims []ClaimPath, idPrefix string) (*Mapping, error) {
	path, err := ParsePath(user)
	if err != nil {
		return nil, err
	}
	m := &Mapping{user: path, fields: make(map[string]Path, len(claims)), prefix: idPrefix}
	for _, c := range claims {
		if err := c.Check(); err != nil {
			return nil, err
		}
		if _, twice := m.fields[c.Name]; twice {
			return nil, fmt.Errorf("claim '%s' is mapped twice", c.Name)
		}
		m.fields[c.Name], _ = ParsePath(c.Path)
	}
	return m, nil
}

// ErrNoUser says that what should hold the user id is missing or holds none.
var ErrNoUser = errors.New("no user id")

// Identify makes the identity that claims describe. ErrNoUser: no id stands at
// the user path, or one that is not fit (see ValidID).
func (m *Mapping) Identify(claims map[string]any) (*Identity, error) {
	value, ok := m.user.In(claims)
	if !ok {
		return nil, fmt.Errorf("%w at '%s'", ErrNoUser, strings.Join(m.user, "."))
	}
	id, ok := Text(value)
	if _, text := value.(string); !ok || id == "" || !text && !m.Negative && id[0] == '-' || !ValidID(m.prefix+id) {
		return nil, fmt.Errorf("%w at '%s': not a text or a whole number that can be one", ErrNoUser, strings.Join(m.user, "."))
	}
	who := &Identity{ID: m.prefix + id, Claims: claims}
	m.fill(who, claims)
	return who, nil
}

func (m *Mapping) fill(who *Identity, claims map[string]any) {
	var named map[string]any
	for name, path := range m.fields {
		value, ok := path.In(claims)
		if !ok {
			continue
		}
		switch name {
		case "name":
			who.Name, _ = Text(value)
		case "email":
			who.Email, _ = Text(value)
		case "groups":
			who.Groups = Texts(value)
		case "scopes":
			who.Scopes = Scopes(value)
		default:
			if named == nil {
				named = make(map[string]any, len(claims)+1)
				maps.Copy(named, claims)
			}
			named[name] = value
		}
	}
	if named != nil {
		who.Claims = named
	}
}

// Scopes reads a list of scopes: a list of texts, or one text with blanks
// between (RFC 6749, section 3.3).
func Scopes(value any) []string {
	if text, ok := value.(string); ok {
		return strings.Fields(text)
	}
	return slices.DeleteFunc(Texts(value), func(s string) bool { return strings.ContainsAny(s, " \t") })
}
