package records

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

var (
	allDigits = regexp.MustCompile(`^\p{Nd}+$`)
	uuidLike  = regexp.MustCompile(`(?i)^\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$`)
)

// maxLoginName is the longest login name, in characters, as in Django.
const maxLoginName = 150

// CheckLoginName says what is wrong with a login name of our own, if anything.
// One that could be another system's primary key would be mistaken for it; a
// colon ends the name in HTTP Basic, and a slash or dots would be read as part
// of a path. Upper and lower case are different names.
func CheckLoginName(name string) error {
	length := utf8.RuneCountInString(name)
	switch {
	case !identity.ValidID(name) || length > maxLoginName:
		return fmt.Errorf("login name of %d characters: 1 to %d are needed (in %d bytes at most), without control characters and without blanks at the ends",
			length, maxLoginName, identity.MaxID)
	case strings.ContainsAny(name, ":/\\?#%"):
		return fmt.Errorf("login name '%s': leave out : / \\ ? # and %%", name)
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, "."):
		return fmt.Errorf("login name '%s': begin and end it with something else than a dot", name)
	case allDigits.MatchString(name), uuidLike.MatchString(name):
		return fmt.Errorf("login name '%s' looks like the primary key of another system; add a letter", name)
	}
	return nil
}
