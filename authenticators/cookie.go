package authenticators

import (
	"fmt"
	"net/http"
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
	var seen bool
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, ok := strings.Cut(pair, "=")
			if !ok || strings.Trim(key, " \t") != name {
				continue
			}
			value = tidy(value)
			if seen && value != found {
				return "", ErrAmbiguous
			}
			found, seen = value, true
		}
	}
	if found == "" {
		return "", ErrNoCredential
	}
	return Secret(found), nil
}

// RemoveCookie takes the cookie called name out of the request.
func RemoveCookie(r *http.Request, name string) {
	lines := r.Header["Cookie"]
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			key, _, _ := strings.Cut(pair, "=")
			if pair = strings.Trim(pair, " \t"); pair != "" && strings.Trim(key, " \t") != name {
				pairs = append(pairs, pair)
			}
		}
		if len(pairs) > 0 {
			kept = append(kept, strings.Join(pairs, "; "))
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Cookie")
		return
	}
	r.Header["Cookie"] = kept
}
