package edgeauth

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A matcher says by its path whom a policy guards, and sees the path as Caddy cleans
// it. Upstreams read some paths differently from that and from each other: Tomcat
// drops what follows a semicolon, IIS takes a backslash for a slash, Node's URL takes
// what follows two slashes for a host, many decode once more or leave ".." alone. So
// a path that can be read in two ways is guarded by every policy whose matcher may
// have looked at it, whatever it saw there: /public/..;/admin is not let by as one of
// /public.

// ambiguous reports whether somebody could take the path of u for another one.
func ambiguous(u *url.URL) bool {
	if !strings.HasPrefix(u.Path, "/") || !utf8.ValidString(u.Path) {
		return true
	}
	for i := range len(u.Path) {
		switch c := u.Path[i]; {
		case c < ' ', c == 0x7f, c == ';', c == '\\', c == '%', c == '?', c == '#':
			return true
		case c == '/' && i > 0 && ambiguousEnd(u.Path[i-1]):
			return true
		}
	}
	// Where the path as it was sent is the usual spelling, a slash in it is one.
	return len(u.Path) > 1 && u.Path[len(u.Path)-1] != '/' && ambiguousEnd(u.Path[len(u.Path)-1]) ||
		u.RawPath != "" && strings.Contains(strings.ToLower(u.RawPath), "%2f")
}

// ambiguousEnd reports whether a segment that ends so may be none, lead upwards, or
// be taken for that without its last character.
func ambiguousEnd(last byte) bool { return last == '/' || last == '.' || last == ' ' }

// looksAtPath reports whether one of the matchers may look at the path: all do but
// those that are known not to.
func looksAtPath(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchPath:
				if len(*m) != 1 || (*m)[0] != "*" {
					return true
				}
			case *caddyhttp.MatchNot:
				if looksAtPath(m.MatcherSets) {
					return true
				}
			case *caddyhttp.MatchHost, *caddyhttp.MatchMethod, *caddyhttp.MatchProtocol, *caddyhttp.MatchTLS,
				*caddyhttp.MatchHeader, *caddyhttp.MatchHeaderRE, *caddyhttp.MatchQuery,
				*caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP, *MatchIdentity:
			default:
				return true
			}
		}
	}
	return false
}
