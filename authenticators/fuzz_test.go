package authenticators

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// readCookies is a parser of some framework: the values that it reads for sid, of
// which it takes the first, and others the last.
func readCookies(line string, tidyName func(string) string, nameless bool) []string {
	var values []string
	for pair := range strings.SplitSeq(line, ";") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok && !nameless {
			continue
		}
		if tidyName(key) == "sid" {
			values = append(values, strings.Trim(value, " \t"))
		}
	}
	return values
}

// FuzzCookie holds FromCookie to what it promises the application behind: whatever
// of the usual parsers that has, it reads the value that we read, if it reads one.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{
		"sid=x", "a=1; sid=x; sid=x", "sid=x; sid=y", "sid; sid=x", "=sid=x", "sid=", ";;=;", "sid =\tx", "sid=x; \u00a0sid=y", "sid\xa0=y;sid=x", "\u2000sid=x",
		`sid="x"`, `x="1; sid=evil"`, "sid=x,sid=y", "$Version=1; sid=x", "SID=x", "sid=a=b", "sid=%61; sid=a", "__Host-sid=x; sid=y", "sid.0=x", "sid=\x85",
	} {
		f.Add(seed, "")
		f.Add(seed, "sid=z")
	}
	blanks := func(s string) string { return strings.Trim(s, " \t") }
	parsers := map[string]func(line string) []string{
		"Go, Node":      func(line string) []string { return readCookies(line, blanks, false) },
		"Werkzeug":      func(line string) []string { return readCookies(line, blanks, true) },
		"Django":        func(line string) []string { return readCookies(line, strings.TrimSpace, false) },
		"Latin-1, trim": func(line string) []string { return readCookies(line, trimLatin1, false) },
		"nothing at all": func(line string) []string {
			return readCookies(line, func(s string) string { return strings.TrimLeft(s, " ") }, false)
		},
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{one, two}
		line := one + ";" + two
		value, err := FromCookie(r, "sid")
		switch {
		case err == nil:
			for name, parse := range parsers {
				for _, read := range parse(line) {
					if read != value.Reveal() {
						t.Fatalf("%q is read from %q, and %s may read %q", value.Reveal(), line, name, read)
					}
				}
			}
			if value == "" || !slices.Contains(parsers["Go, Node"](line), value.Reveal()) {
				t.Fatalf("%q is not in %q", value.Reveal(), line)
			}
		case !errors.Is(err, ErrNoCredential):
			t.Fatal(err)
		case !errors.Is(err, ErrAmbiguous) && strings.Join(parsers["Go, Node"](line), "") != "":
			t.Fatalf("nothing is read from %q", line)
		}
		before := others(line)
		RemoveCookies(r, []string{"sid"})
		after := strings.Join(r.Header["Cookie"], ";")
		if left := parsers["Go, Node"](after); len(left) > 0 {
			t.Fatalf("%q is left of %q", left, line)
		}
		if !slices.Equal(before, others(after)) {
			t.Fatalf("of %q is left %q", line, after)
		}
	})
}

func trimLatin1(s string) string {
	return strings.TrimFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c == unicode.ReplacementChar })
}

// others are the cookies that are not sid.
func others(line string) []string {
	var pairs []string
	for pair := range strings.SplitSeq(line, ";") {
		pair = strings.Trim(pair, " \t")
		if name, _, _ := strings.Cut(pair, "="); pair != "" && strings.Trim(name, " \t") != "sid" {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

// FuzzHeader holds FromHeader to one value, that stands as it is behind the scheme.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"Token abc", "token  abc ", "Token", "Token a b", "Token\tabc", "Bearer abc", "Tokenabc", "Token \x00", "Token é", "", " ", "Token abc,Token def"} {
		f.Add("Token", seed, false)
		f.Add("", seed, true)
	}
	f.Fuzz(func(t *testing.T, scheme, header string, twice bool) {
		if strings.ContainsAny(scheme, " \t,\"=") {
			return // which config refuses
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{header}
		if twice {
			r.Header["Authorization"] = []string{header, header}
		}
		value, err := FromHeader(r, "authorization", scheme)
		text := value.Reveal()
		if err != nil {
			if text != "" {
				t.Fatal("a value beside an error")
			}
			return
		}
		if twice || text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			t.Fatalf("%q is read from %q", text, header)
		}
		words := strings.Split(strings.Join(strings.FieldsFunc(header, func(c rune) bool { return c == ' ' }), " "), " ")
		if scheme != "" && (!strings.EqualFold(words[0], scheme) || len(words) != 2) || words[len(words)-1] != text {
			t.Fatalf("%q is read from %q for %q", text, header, scheme)
		}
	})
}

// FuzzQuery holds TakeFromQuery to leaving nothing of a credential in the address,
// in no spelling, and all else as it stands.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"token=x", "a=1&token=x&b=2", "token=x&token=y", "%74oken=x", "TOKEN=x", "token", "token=", "token=%zz", "%zz=1", "a;token=x", "token=a+b", "&&token=x&"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		ctx, rest, ok := TakeFromQuery(context.Background(), query, []string{"token"})
		r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
		value, err := FromQuery(r, "token")
		var kept, taken []string
		for pair := range strings.SplitSeq(query, "&") {
			name, text, _ := strings.Cut(pair, "=")
			if plain, err := url.QueryUnescape(name); err == nil && strings.EqualFold(plain, "token") {
				taken = append(taken, text)
			} else {
				kept = append(kept, pair)
			}
		}
		if rest != strings.Join(kept, "&") || ok != (len(taken) > 0) {
			t.Fatalf("of %q is left %q", query, rest)
		}
		left, _ := url.ParseQuery(rest)
		for name := range left {
			if strings.EqualFold(name, "token") {
				t.Fatalf("%q is left of %q", rest, query)
			}
		}
		switch {
		case err == nil:
			if plain, err := url.QueryUnescape(taken[0]); len(taken) != 1 || err == nil && plain != value.Reveal() {
				t.Fatalf("%q is read from %q", value.Reveal(), query)
			}
		case len(taken) > 1 && !errors.Is(err, ErrTwoValues), len(taken) == 1 && taken[0] != "" && !errors.Is(err, ErrTwoValues):
			t.Fatalf("%q: %v", query, err)
		}
	})
}
