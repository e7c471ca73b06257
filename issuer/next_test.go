package issuer

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// whatwgOrigin is where a browser at https://edge.example/login/ goes for a
// Location: the steps of the URL Standard (url.spec.whatwg.org, section 4.4) as
// far as they decide on the origin.
func whatwgOrigin(location string) string {
	text := strings.Trim(location, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	text = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(text)
	isSlash := func(i int) bool { return i < len(text) && (text[i] == '/' || text[i] == '\\') }
	const same = "https://edge.example"
	scheme := "https"
	if m := schemePattern.FindString(text); m != "" {
		scheme = strings.ToLower(strings.TrimSuffix(m, ":"))
		text = text[len(m):]
		special := slices.Contains([]string{"http", "https", "ws", "wss", "ftp"}, scheme)
		switch {
		case !special:
			return "another: " + scheme
		case scheme == "https" && (!isSlash(0) || !isSlash(1)):
			return same // relative, in spite of its scheme
		}
		text = strings.TrimLeft(text, `/\`)
	} else {
		if !isSlash(0) || !isSlash(1) {
			return same
		}
		text = strings.TrimLeft(text, `/\`)
	}
	if end := strings.IndexAny(text, `/\?#`); end >= 0 {
		text = text[:end]
	}
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = text[at+1:]
	}
	return scheme + "://" + strings.TrimSuffix(strings.ToLower(text), ":443")
}

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

func TestBrowsersLeaveForWhereTheURLStandardSays(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"/a": "https://edge.example", "//evil": "https://evil", `/\evil`: "https://evil", `\\evil/x`: "https://evil", "/\t/evil": "https://evil", "\x1f//evil": "https://evil",
		"https:a": "https://edge.example", "https:/a": "https://edge.example", "https://a@evil:443/x": "https://evil", "http:evil": "http://evil", "http:////evil": "http://evil",
		"javascript:alert(1)": "another: javascript", "a:b": "another: a", "?x": "https://edge.example", "/..//evil": "https://edge.example", "///evil": "https://evil",
	} {
		if got := whatwgOrigin(location); got != want {
			t.Errorf("%q leads to %s and not to %s", location, got, want)
		}
	}
}

// FuzzNext holds next to staying here, or at a site that is listed.
func FuzzNext(f *testing.F) {
	for _, seed := range []string{
		"/app", "//evil.example", `/\evil.example`, "/\t/evil.example", "https://app.example.com/x", "https://app.example.com@evil.example/", "https://evil.example", "/..//evil.example", "javascript:alert(1)",
		"https:evil.example", "https://app.example.com:443", "https://app.example.com\\@evil.example", "HTTPS://app.example.com", "https://app.example.com.evil.example", "", "?", "#", "/login/", "/%2f/evil", "/\u2028/", "https://app.example.com%2eevil",
		"https://app.example.com#@evil.example", "https://app.example.com?@evil.example", "http://app.example.com", "https://[::1]", "/a\r\nSet-Cookie: x=1", "https://app。example.com",
	} {
		f.Add(seed)
	}
	i := &Issuer{Session: &Session{Home: "/home", Path: "/login/", Logout: "/logout/", NextOrigins: []string{"https://app.example.com"}}}
	f.Fuzz(func(t *testing.T, asked string) {
		next := i.safeNext(asked)
		if next != asked && next != "/home" {
			t.Fatalf("%q became %q", asked, next)
		}
		if origin := whatwgOrigin(next); origin != "https://edge.example" && origin != "https://app.example.com" {
			t.Fatalf("%q leads to %s", next, origin)
		}
		if strings.ContainsAny(next, "\r\n\x00\t \\") {
			t.Fatalf("%q", next)
		}
	})
}
