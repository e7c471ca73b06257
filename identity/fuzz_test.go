package identity

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// FuzzForward holds the identity headers to what an upstream relies on: each is one
// line of UTF-8 without control characters, the subject is as it was, and a list
// can be taken apart again.
func FuzzForward(f *testing.F) {
	for _, seed := range [][3]string{
		{"alice", "Alice L.", "a,b"},
		{"Zoë", "\u202eRTL \u2028", "a%2Cb"},
		{"a\nb", "x\r\nRemote-User: admin", "a\x00"},
		{"\xff", "\xff\xfe", "\xff,"},
		{" a", " a ", " "},
		{"a\u0085", "\u0085", "\u0085"},
		{"{env.HOME}", "{http.request.header.Authorization}", "%"},
		{strings.Repeat("a", 256), strings.Repeat("é", 300), "|"},
		{"a\x7f", "\x1b[31m", `"[`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	presets := make(map[string]Preset)
	for _, name := range PresetNames() {
		presets[name], _ = PresetNamed(name)
	}
	f.Fuzz(func(t *testing.T, id, text, group string) {
		who := &Identity{ID: id, Name: text, Email: text, Groups: []string{group, "staff", text}}
		for name, p := range presets {
			h := http.Header{"X-Other": {"1"}}
			err := p.Forward(h, who, new([PresetSize]string))
			fit := id != "" && len(id) <= 255 && utf8.ValidString(id) && strings.TrimSpace(id) == id &&
				!strings.ContainsFunc(id, func(c rune) bool { return unicode.IsControl(c) || c == utf8.RuneError })
			if (err == nil) != fit {
				t.Fatalf("%s: %q: %v", name, id, err)
			}
			if err != nil {
				if len(h) != 1 {
					t.Fatalf("%s: %v beside an error", name, h)
				}
				continue
			}
			for header, values := range h {
				if header != "X-Other" && !slices.Contains(p.Headers(), header) {
					t.Fatalf("%s sets %s", name, header)
				}
				if len(values) != 1 || values[0] == "" || !utf8.ValidString(values[0]) || strings.ContainsFunc(values[0], unicode.IsControl) || strings.TrimSpace(values[0]) != values[0] {
					t.Fatalf("%s: %s: %q", name, header, values)
				}
			}
			if p.User != "" && h.Get(p.User) != id {
				t.Fatalf("%s: %q became %q", name, id, h.Get(p.User))
			}
			if p.Groups != "" && p.Separator != grafanaList {
				checkList(t, h.Get(p.Groups), string(p.Separator.between()), who.Groups)
			}
		}
		checkList(t, Space.Join(who.Groups), " ", who.Groups)
	})
}

// checkList takes a list apart as an upstream may.
func checkList(t *testing.T, list, separator string, groups []string) {
	t.Helper()
	var want []string
	for _, group := range groups {
		if group != "" {
			want = append(want, strings.ToValidUTF8(group, "\uFFFD"))
		}
	}
	items := strings.Split(list, separator)
	for i, item := range items {
		plain, err := url.PathUnescape(item)
		if err != nil || i >= len(want) || plain != want[i] {
			t.Fatalf("%q became %q", groups, list)
		}
	}
	if len(items) != len(want) {
		t.Fatalf("%q became %q", groups, list)
	}
}

// FuzzStrip holds stripping to the names that a backend could fold to one of
// ours: those go, also out of Connection, and no other does.
func FuzzStrip(f *testing.F) {
	for _, seed := range []string{
		"Remote-User", "remote_user", "Remote!User", "REMOTE.USER", "Remote--User", "Remote-Users", "X-Auth-Request-Any", "X-Auth-Request", "x_webauth~x", "Accept", "", "Remote-User ", "Rémote-User",
		"close, Remote-User", "upgrade", "keep-alive,remote_user,X-Other", strings.Repeat("a", 200), "X-Auth-Request-" + strings.Repeat("a", 200), "\u212aemote-User",
	} {
		f.Add(seed, seed)
	}
	names := WellKnown()
	ours := regexp.MustCompile(`^(?:remote-(?:user|name|email|groups)|x-forwarded-(?:user|email|groups|preferred-username|mail|displayname)|x-edge-auth-assertion|x-remote-(?:user|group)|x-(?:auth-request|webauth)-.*)$`)
	other := regexp.MustCompile(`(?s)[^a-z0-9]`)
	forbidden := func(name string) bool { return ours.MatchString(other.ReplaceAllString(lowerASCII(name), "-")) }
	f.Fuzz(func(t *testing.T, name, connection string) {
		if !fieldName(name) || strings.EqualFold(name, "Connection") {
			return // which no server lets through
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{name: {"mallory", "again"}, "Accept-Other": {"1"}, "Connection": {connection}}
		Strip(r, names.Has)
		if _, left := r.Header[name]; left == forbidden(name) {
			t.Fatalf("%q: left %v", name, left)
		}
		if len(r.Header["Accept-Other"]) != 1 {
			t.Fatal("another header is gone")
		}
		var want []string
		for token := range strings.SplitSeq(connection, ",") {
			if token = strings.Trim(token, " \t"); token != "" && !forbidden(token) {
				want = append(want, token)
			}
		}
		if got := strings.Join(r.Header["Connection"], ""); got != strings.Join(want, ", ") {
			t.Fatalf("of %q is left %q", connection, got)
		}
	})
}

// lowerASCII lowers without Unicode, as net/http's peers do: each byte stands for
// itself.
func lowerASCII(name string) string {
	data := []byte(name)
	for i, c := range data {
		if 'A' <= c && c <= 'Z' {
			data[i] = c + 'a' - 'A'
		} else if c >= 0x80 {
			data[i] = '-'
		}
	}
	return string(data)
}

// fieldName reports whether a server takes name (RFC 9110, section 5.1).
func fieldName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c > '~' || c <= ' ' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// FuzzAssertionClaims holds an assertion to being one JSON object that says of the
// caller what the identity does.
func FuzzAssertionClaims(f *testing.F) {
	f.Add("alice", "Alice", "staff", "app.example.com")
	f.Add("a\"b", "</script>\u2028", "\x00,", "APP:8080")
	f.Add("\\", "{\"sub\":\"admin\"}", "\",\"sub\":\"admin", "")
	a := Assertion{Issuer: "https://edge.example", Audience: []string{"app"}, Lifetime: time.Minute}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, id, name, group, host string) {
		if !ValidID(id) {
			return // no identity has it
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		data, err := a.Claims(r, &Identity{ID: id, Name: name, Groups: []string{group}}, now)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := ParseClaims(data) // which takes no member twice
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if claims["sub"] != id || claims["iss"] != "https://edge.example" || claims["exp"] != json.Number("1800000060") || claims["htm"] != "GET" {
			t.Fatalf("%q became %s", id, data)
		}
		if groups, _ := claims["groups"].([]any); len(groups) != 1 {
			t.Fatalf("%q became %s", group, data)
		}
	})
}
