package authenticators

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ErrAmbiguous is the outcome "absent" for a cookie that was sent twice with
// different values. The app behind might read the other one, so neither counts.
var ErrAmbiguous = fmt.Errorf("%w: two cookies of one name with different values", ErrNoCredential)

// FromCookie returns the raw value of the cookie called name, exactly as sent:
// nothing is unquoted or decoded, since frameworks differ in what they decode.
// (http.Request.Cookie drops values that all of them keep.)
// ErrNoCredential: there is none, or it is empty. ErrAmbiguous: there are two.
func FromCookie(r *http.Request, name string) (Secret, error) {
	return fromCookie(r, name, trim)
}

// FromCookieExact is FromCookie for values that have one spelling: blanks around
// one are part of it.
func FromCookieExact(r *http.Request, name string) (Secret, error) {
	return fromCookie(r, name, func(value string) string { return value })
}

func fromCookie(r *http.Request, name string, tidy func(string) string) (Secret, error) {
	var found string
	var seen, exact bool
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, _ := strings.Cut(pair, "=") // without =, some take it for an empty value
			spelled := trim(key) == name
			if !spelled && !mayBeTaken(key, name) {
				continue
			}
			value = tidy(value)
			if seen && value != found {
				return "", ErrAmbiguous
			}
			found, seen, exact = value, true, exact || spelled
		}
	}
	if found == "" || !exact {
		return "", ErrNoCredential
	}
	return Secret(found), nil
}

// mayBeTaken reports whether the app behind could take key for name: many trim
// all that Unicode calls white space, of which a server lets through what is no
// ASCII.
func mayBeTaken(key, name string) bool {
	return len(key) > len(name) && name == strings.TrimFunc(key, func(c rune) bool { return c <= ' ' || c > '~' })
}

// RemoveCookies takes the cookies of these names out of the request. The list of
// header values that it had is left as it is.
func RemoveCookies(r *http.Request, names []string) {
	lines := r.Header["Cookie"]
	if !slices.ContainsFunc(lines, func(line string) bool { return hasCookie(line, names) }) {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if line = withoutCookies(line, names); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Cookie")
		return
	}
	r.Header["Cookie"] = kept
}

func hasCookie(line string, names []string) bool {
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		if isCookie(pair, names) {
			return true
		}
	}
	return false
}

func isCookie(pair string, names []string) bool {
	name, _, _ := strings.Cut(pair, "=")
	return slices.Contains(names, trim(name))
}

// withoutCookies is a line of cookies without those of these names. What remains is
// part of the line, unless something is taken out of its middle.
func withoutCookies(line string, names []string) string {
	kept, rest := "", line
	for rest != "" {
		pair, after, _ := strings.Cut(rest, ";")
		if isCookie(pair, names) {
			kept = joined(kept, trimPairs(line[:len(line)-len(rest)]))
			line = after
		}
		rest = after
	}
	return joined(kept, trimPairs(line))
}

// trimPairs takes what separates pairs off both ends.
func trimPairs(text string) string { return strings.Trim(text, blanks+";") }

func joined(one, two string) string {
	if one == "" || two == "" {
		return one + two
	}
	return one + "; " + two
}
