package identity

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamesFoldAsBackendsDo(t *testing.T) {
	t.Parallel()
	names := NewNames("Remote-User", "X-Auth-Request-*")
	for _, name := range []string{
		"Remote-User", "remote-user", "REMOTE_USER", "Remote.User", "Remote!User", "Remote~User", "rEmOtE|uSeR",
		"X-Auth-Request-", "X_Auth_Request_Anything",
	} {
		assert.True(t, names.Has(name), name)
	}
	for _, name := range []string{
		"", "Remote-Use", "Remote-User2", "Remote--User", "-Remote-User", "Remote-User-", "X-Auth-Reques", strings.Repeat("a", 1000),
	} {
		assert.False(t, names.Has(name), name)
	}
}

func TestStripTouchesNothingElse(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{
		"Remote_user": {"a", "b"}, "Remote-User": {"c"}, "X-Other": {"d"},
		"Connection": {"close, Remote-User", "remote_user,upgrade,"},
	}
	Strip(r, NewNames("Remote-User").Has)
	assert.Equal(t, http.Header{"X-Other": {"d"}, "Connection": {"close, upgrade"}}, r.Header)

	r.Header = http.Header{"Connection": {"remote-user"}}
	Strip(r, NewNames("Remote-User").Has)
	assert.Empty(t, r.Header)
}

func TestStripAllocatesNothing(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, name := range []string{"Accept", "User-Agent", "Cookie", "Authorization", "X-Forwarded-For", "Accept-Encoding"} {
		r.Header.Set(name, "x")
	}
	names := WellKnown()
	assert.Zero(t, testing.AllocsPerRun(100, func() { Strip(r, names.Has) }))
}

func TestSubjectsThatAHeaderCouldNotCarryAreNone(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"alice", "42", "zoë", "a b", "https://idp|x,y%", strings.Repeat("a", MaxID)} {
		assert.True(t, ValidID(id), "%q", id)
	}
	for _, id := range []string{
		"", " alice", "alice ", "al\nice", "al\r\nice", "al\x00ice", "al\u0085ice", "\xff", "a\uFFFD", "\u00a0a", strings.Repeat("a", MaxID+1),
	} {
		assert.False(t, ValidID(id), "%q", id)
	}
}

func TestForwardSendsEachKnownFieldOnceAndNoOther(t *testing.T) {
	t.Parallel()
	preset, ok := PresetNamed("")
	require.True(t, ok)
	h := make(http.Header)
	require.NoError(t, preset.Forward(h, &Identity{ID: "alice", Name: "A\r\nB: c", Groups: []string{"a,b", "50%", "", " lead", "z\n"}}, new([PresetSize]string)))
	assert.Equal(t, http.Header{
		"Remote-User": {"alice"}, "Remote-Name": {"A  B: c"}, "Remote-Groups": {"a%2Cb,50%25,%20lead,z%0A"},
	}, h)
	require.Error(t, preset.Forward(h, &Identity{ID: "a\nb"}, new([PresetSize]string)))
}

func TestE42NamesOfHeadersThatMeanSomethingElseAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"X-User-Id", "Remote-User", "x-tenant", "X-WEBAUTH-USER"} {
		require.NoError(t, CheckName(name), name)
	}
	for _, name := range []string{
		"", "X User", "X-User:", "X_User", "Connection", "connection", "Host", "Cookie", "Authorization", "Content-Length",
		"Transfer-Encoding", "Proxy-Authorization", "Sec-Fetch-Site", "X-Forwarded-For", "é", strings.Repeat("a", 200),
	} {
		require.Error(t, CheckName(name), name)
	}
}

func TestClaimsAreReadStrictly(t *testing.T) {
	t.Parallel()
	claims, err := ParseClaims([]byte(` {"a":1.50,"b":{"c":[1,"x",null,true]},"A":2} `))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"a": json.Number("1.50"), "A": json.Number("2"),
		"b": map[string]any{"c": []any{json.Number("1"), "x", nil, true}},
	}, claims)
	for name, text := range map[string]string{
		"empty": "", "list": "[]", "text": `"a"`, "null": "null", "trailing": `{} x`, "second": `{}{}`, "twice": `{"a":1,"a":2}`,
		"twice by escape": `{"a":1,"\u0061":2}`, "twice below": `{"a":{"b":1,"b":1}}`, "not UTF-8": "{\"a\":\"\xff\"}",
		"byte order mark": "\ufeff{}", "NaN": `{"a":NaN}`, "comment": `{/**/}`, "comma": `{"a":1,}`, "cut": `{"a":`,
		"too deep": strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70),
	} {
		_, err := ParseClaims([]byte(text))
		require.Error(t, err, name)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	claims := map[string]any{
		"passport": map[string]any{"user": map[string]any{"id": json.Number("7")}},
		"a.b":      []any{"x", map[string]any{"": "no"}},
		"text":     "abc",
	}
	for path, want := range map[string]any{
		"passport.user.id": json.Number("7"), `"a.b".0`: "x", "text": "abc",
	} {
		p, err := ParsePath(path)
		require.NoError(t, err, path)
		got, ok := p.In(claims)
		assert.True(t, ok, path)
		assert.Equal(t, want, got, path)
	}
	for _, path := range []string{"passport.id", "a.b", `"a.b".2`, `"a.b".-1`, `"a.b".00`, "text.0", "text.length"} {
		p, err := ParsePath(path)
		require.NoError(t, err, path)
		_, ok := p.In(claims)
		assert.False(t, ok, path)
	}
	for _, path := range []string{"", ".", "a.", ".a", "a..b", `"a`, `"a"b`} {
		_, err := ParsePath(path)
		require.Error(t, err, path)
	}
}

func TestOneUserHasOneName(t *testing.T) {
	t.Parallel()
	m, err := NewMapping("id", []ClaimPath{{"groups", "roles"}, {"tenant", "org.id"}}, "django:")
	require.NoError(t, err)
	who, err := m.Identify(map[string]any{"id": json.Number("42"), "roles": []any{"a", json.Number("1"), nil}, "org": map[string]any{"id": "t1"}})
	require.NoError(t, err)
	assert.Equal(t, "django:42", who.ID)
	assert.Equal(t, []string{"a", "1"}, who.Groups)
	assert.Equal(t, "t1", Placeholder(who, "claims.tenant"))
	assert.Equal(t, "t1", Placeholder(who, "claims.org.id"))

	for name, id := range map[string]any{
		"missing": nil, "true": true, "1.0": json.Number("1.0"), "1e3": json.Number("1e3"), "01": json.Number("01"), "-0": json.Number("-0"),
		"empty": "", "list": []any{"1"}, "object": map[string]any{}, "control": "a\n",
	} {
		_, err := m.Identify(map[string]any{"id": id})
		require.ErrorIs(t, err, ErrNoUser, name)
	}
}

func TestPlaceholdersOfNobodyAreEmpty(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"id", "name", "groups", "claims.a", "expires", "nonsense"} {
		assert.Empty(t, Placeholder(nil, field))
		assert.Empty(t, Placeholder(&Identity{}, field))
	}
}

func FuzzJoinListNeverMakesTwoOfOne(f *testing.F) {
	f.Add("a,b", "c%2C")
	f.Fuzz(func(t *testing.T, a, b string) {
		joined := JoinList([]string{a, b})
		want := 0
		for _, item := range []string{a, b} {
			if item != "" {
				want++
			}
		}
		if joined == "" && want > 0 || want > 0 && strings.Count(joined, ",") != want-1 {
			t.Fatalf("%q and %q became %q", a, b, joined)
		}
		if strings.ContainsAny(joined, "\r\n\x00") {
			t.Fatalf("%q", joined)
		}
	})
}

func TestPeekingFindsWhatParsingWould(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"iss":"a"}`: "a", "\t{ \"x\" : [1,{\"iss\":\"no\"},\"]\"] , \"iss\" : \"b\" }": "b", `{"iss":"a","iss":"b"}`: "a", `{"\u0069ss":"a"}`: "a",
		`{"ISS":"a"}`: "", `{"iss":1}`: "", `{"iss":["a"]}`: "", `{"x":"\"iss\":\"no\"","iss":"c"}`: "c", `{"x":-1.5e3,"y":null,"z":true,"iss":"d"}`: "d",
		``: "", `{`: "", `[]`: "", `"iss"`: "", `{"iss"`: "", `{"iss":`: "", `{"x":{"iss":"no"}`: "", `{"x":]]]]}`: "", `{1:2,"iss":"a"}`: "",
	} {
		assert.Equal(t, want, PeekText([]byte(text), "iss"), text)
	}
}
