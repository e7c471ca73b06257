package identity

import (
	"net/http"
	"strings"
)

// Names is a set of header names, compared as backends compare them: CGI
// servers fold every byte but letters and digits to one, so that Remote_User
// and Remote!User both become REMOTE_USER. The zero value is empty.
type Names struct {
	exact    map[string]struct{}
	prefixes []string
	first    *[256]bool // how a name of the set may begin; most headers don't
}

// WellKnown returns the names that this and other gateways tell the identity
// in. No client may send them, whatever the policy.
func WellKnown() Names { return wellKnown }

var wellKnown = NewNames(
	"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
	"X-Forwarded-Mail", "X-Forwarded-Displayname", AssertionHeader,
	"X-Remote-User", "X-Remote-Group",
	"X-Auth-Request-*", "X-Webauth-*",
)

// NewNames makes a set. A name that ends in * stands for all that begin so.
func NewNames(names ...string) Names {
	n := Names{exact: make(map[string]struct{}, len(names)), first: new([256]bool)}
	for _, name := range names {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			n.prefixes = append(n.prefixes, foldName(prefix))
		} else {
			n.exact[foldName(name)] = struct{}{}
		}
		n.note(foldName(name))
	}
	return n
}

// note notes how a folded name begins.
func (n Names) note(name string) {
	for c := range n.first {
		n.first[c] = n.first[c] || name == "" || foldName(string([]byte{byte(c)})) == name[:1]
	}
}

// Union returns the names of both.
func (n Names) Union(other Names) Names {
	union := Names{exact: make(map[string]struct{}, len(n.exact)+len(other.exact)), first: new([256]bool)}
	for _, set := range []Names{n, other} {
		for name := range set.exact {
			union.exact[name] = struct{}{}
		}
		union.prefixes = append(union.prefixes, set.prefixes...)
		for c := range union.first {
			union.first[c] = union.first[c] || set.first != nil && set.first[c]
		}
	}
	return union
}

// Empty reports whether there is no name in the set.
func (n Names) Empty() bool { return len(n.exact) == 0 && len(n.prefixes) == 0 }

// Len is how many names are in the set.
func (n Names) Len() int { return len(n.exact) + len(n.prefixes) }

// maxName is the longest name of a set, in bytes; config refuses longer ones, so of
// those no more than the beginning counts.
const maxName = 128

// Has reports whether a backend could take name for one of the set.
func (n Names) Has(name string) bool {
	if name == "" || n.first == nil || !n.first[name[0]] {
		return false
	}
	var buffer [maxName]byte
	folded := fold(buffer[:0], name[:min(len(name), maxName)])
	if _, ok := n.exact[string(folded)]; ok && len(name) <= maxName {
		return true
	}
	for _, prefix := range n.prefixes {
		if len(folded) >= len(prefix) && string(folded[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

func foldName(name string) string { return string(fold(nil, name)) }

// fold appends name in lower case, with every byte outside [a-z0-9] as a dash.
func fold(to []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			c = '-'
		}
		to = append(to, c)
	}
	return to
}

// reserved are headers that mean something to HTTP itself or to proxies, and
// so can't carry an identity.
var reserved = NewNames(
	"Connection", "Keep-Alive", "Proxy-*", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
	"Host", "Content-*", "Cookie", "Set-Cookie", "Authorization", "Expect", "Range", "Accept*", "If-*",
	"Cache-Control", "Date", "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"WWW-Authenticate", "Origin", "Referer", "User-Agent", "Sec-*", "HTTP2-Settings",
)

// CheckName says what is wrong with a header name for an identity, if anything.
func CheckName(name string) error {
	switch {
	case name == "":
		return errName(name, "it is empty")
	case len(name) > maxName:
		return errName(name, "it is longer than 128 characters")
	case strings.ContainsFunc(name, func(c rune) bool { return !isNameChar(c) }):
		return errName(name, "letters, digits and dashes are needed, such as X-User-Id")
	case reserved.Has(name):
		return errName(name, "HTTP gives it another meaning; take one such as X-User-Id")
	}
	return nil
}

// isNameChar allows fewer characters than HTTP does: backends drop or fold the
// others, underscores first of all.
func isNameChar(c rune) bool {
	return c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

type nameError struct{ name, reason string }

func errName(name, reason string) error { return &nameError{name, reason} }

func (e *nameError) Error() string {
	return "header name '" + e.name + "' can't carry an identity: " + e.reason
}

// canonical is the form in which we send a name.
func canonical(name string) string { return http.CanonicalHeaderKey(name) }
