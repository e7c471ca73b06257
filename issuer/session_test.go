package issuer

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// browsed is an issuer with pages.
func browsed(t testing.TB, options string) *testIssuer {
	t.Helper()
	return configured(t, "edge_auth_issuer {\n jwt\n session {\n"+options+"\n }\n login_rate 100 1m\n}", djangoKey)
}

// submit sends a form, as a page of this site does.
func (i *testIssuer) submit(path string, fields url.Values, headers ...string) *httptest.ResponseRecorder {
	i.t.Helper()
	return i.post(path, fields.Encode(), append([]string{"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"}, headers...)...)
}

func loginOf(user, password, next string) url.Values {
	return url.Values{"username": {user}, "password": {password}, "next": {next}}
}

// sessionOf is the cookie that an answer sets; empty if it takes it away.
func sessionOf(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	for _, cookie := range w.Result().Cookies() { //nolint:bodyclose // of a recorder
		if cookie.Name == session.OwnCookie {
			assert.True(t, cookie.HttpOnly && cookie.Secure && cookie.Path == "/" && cookie.Domain == "")
			return cookie.Value
		}
	}
	require.Fail(t, "no session cookie")
	return ""
}

func loggedIn(t testing.TB, i *testIssuer) string {
	t.Helper()
	w := i.submit("/login/", loginOf("alice", "wonderland", ""))
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	return "Cookie: " + session.OwnCookie + "=" + sessionOf(t, w)
}

func TestLoginLeadsBackAndNowhereElse(t *testing.T) { //nolint:tparallel // each is a millisecond
	t.Parallel()
	i := browsed(t, "home /start\n next_origins https://app.example.com https://good.com:8443")
	for _, c := range []struct{ name, next, want string }{
		{"nothing", "", "/start"},
		{"path", "/app?a=1&b=%20#x", "/app?a=1&b=%20#x"},
		{"folder", "/app/", "/app/"},
		{"path with a blank and a backslash in the query", "/my%20app?a=%5C", "/my%20app?a=%5C"},
		{"listed", "https://app.example.com/x?y", "https://app.example.com/x?y"},
		{"listed, without a path", "https://app.example.com", "https://app.example.com"},
		{"listed with a port", "https://good.com:8443/x", "https://good.com:8443/x"},
		{"L30 two slashes", "//evil.example/", "/start"},
		{"L30 three slashes", "///evil.example/", "/start"},
		{"L30 slash and backslash", "/\\evil.example/", "/start"},
		{"L30 backslash and slash", "\\/evil.example/", "/start"},
		{"L30 two backslashes", "\\\\evil.example", "/start"},
		{"L30 encoded tab", "/%09/evil.example", "/start"},
		{"L30 tab", "/\t/evil.example/", "/start"},
		{"L30 encoded backslash", "/%5cevil.example", "/start"},
		{"L30 encoded slash", "/%2fevil.example", "/start"},
		{"L30 two encoded slashes", "%2f%2fevil.example", "/start"},
		{"L31 https", "https://evil.example/", "/start"},
		{"L31 without slashes", "https:evil.example", "/start"},
		{"L31 http without slashes", "http:evil.example", "/start"},
		{"L31 one slash", "https:/evil.example", "/start"},
		{"L31 slash and backslash", "https:/\\evil.example", "/start"},
		{"L31 javascript", "javascript:alert(1)", "/start"},
		{"L31 javascript with a listed host", "JavaScript://app.example.com/%0a", "/start"},
		{"L31 data", "data:text/html,x", "/start"},
		{"L31 control character before the scheme", "\x01javascript:alert(1)", "/start"},
		{"L31 listed, but by http", "http://app.example.com/", "/start"},
		{"L32 line break", "/a\r\nSet-Cookie: x=y", "/start"},
		{"L32 encoded line break", "/a%0d%0aSet-Cookie:x=y", "/start"},
		{"L32 NUL", "/a\x00", "/start"},
		{"L32 encoded NUL", "/a%00", "/start"},
		{"L33 user", "https://app.example.com@evil/", "/start"},
		{"L33 encoded user", "https://app.example.com%40evil/", "/start"},
		{"L33 fragment before the host", "https://app.example.com#@evil/", "https://app.example.com#@evil/"}, // to browsers too, the host ends at the #
		{"L33 backslash before the host", "https://app.example.com\\@evil/", "/start"},
		{"L33 somebody at a listed host", "https://mallory@app.example.com/", "/start"},
		{"L33 port", "https://app.example.com:444/", "/start"},
		{"L33 without its port", "https://good.com/", "/start"},
		{"L35 suffix", "https://app.example.com.evil/", "/start"},
		{"L35 prefix", "https://evilapp.example.com/", "/start"},
		{"L35 dot at the end", "https://app.example.com./", "/start"},
		{"L35 letter that looks alike", "https://аpp.example.com/", "/start"},
		{"L36 name", "admin", "/start"},
		{"L36 host", "evil.example", "/start"},
		{"L36 this folder", "./", "/start"},
		{"L36 folder above", "../", "/start"},
		{"L36 query", "?x", "/start"},
		{"L36 fragment", "#x", "/start"},
		{"L36 large", "/" + strings.Repeat("x", 60<<10), "/" + strings.Repeat("x", 60<<10)},
		{"L37 login", "/login/", "/start"},
		{"L37 login that leads to login", "/login/?next=/login/?next=/x", "/start"},
		{"L37 login without a slash", "/login?next=/x", "/start"},
		{"L37 encoded login", "/%6cogin/", "/start"},
		{"L37 logout", "/logout/", "/start"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := i.submit("/login/", loginOf("alice", "wonderland", c.next))
			require.Equal(t, http.StatusSeeOther, w.Code)
			assert.Equal(t, []string{c.want}, w.Header().Values("Location"))
		})
	}
}

// Of two, neither counts; the page in the query only fills the form in.
func TestL38TwoNextsAreRefused(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	form := loginOf("alice", "wonderland", "/a")
	form.Add("next", "/b")
	w := i.submit("/login/", form)
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.Empty(t, w.Header().Values("Set-Cookie"))
	for _, array := range []string{`["/a"]`, `{"a":"/a"}`, `true`} {
		w = i.post("/login/", `{"username":"alice","password":"wonderland","next":`+array+`}`)
		assert.JSONEq(t, `{"next":"/"}`, w.Body.String(), array)
	}
	w = i.post("/login/", `{"username":"alice","password":"wonderland","next":"/a","next":"//evil.example"}`)
	assert.Equal(t, http.StatusBadRequest, w.Code)
	w = i.submit("/login/?next=//evil.example", loginOf("alice", "wonderland", "/a"))
	assert.Equal(t, "/a", w.Header().Get("Location"))
	w = i.submit("/login/?next=//evil.example", url.Values{"username": {"alice"}, "password": {"wonderland"}})
	assert.Equal(t, "/", w.Header().Get("Location"))
	assert.Equal(t, 1, strings.Count(i.page("/login/?next=/a&next=//evil.example").Body.String(), `name="next"`))
}

func TestL41LoginPageTellsWhatIsWrongAndKeepsTheName(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	for name, c := range map[string]struct {
		form url.Values
		code int
		text string
	}{
		"wrong":    {loginOf("alice", "wrong", "/a"), 403, "do not belong together"},
		"unknown":  {loginOf("nobody", "wrong", "/a"), 403, "do not belong together"},
		"disabled": {loginOf("bob", "builder", "/a"), 403, "do not belong together"},
		"empty":    {loginOf("alice", "", "/a"), 400, "fill in both"},
	} {
		w := i.submit("/login/", c.form)
		assert.Equal(t, c.code, w.Code, name)
		assert.Contains(t, w.Body.String(), c.text, name)
		assert.Contains(t, w.Body.String(), `value="`+c.form.Get("username")+`"`, name)
		assert.Contains(t, w.Body.String(), `name="next" value="/a"`, name)
		assert.NotContains(t, w.Body.String(), "wrong", name)
		assert.Empty(t, w.Header().Values("Set-Cookie"), name)
	}
	w := i.submit("/login/", loginOf(`"><script>`, "x", `"><script>`))
	assert.NotContains(t, w.Body.String(), "<script>")
	assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	w = i.get(http.MethodGet, "/login/?next=%22%3E%3Cscript%3E&out")
	assert.NotContains(t, w.Body.String(), "<script>")
	assert.Contains(t, w.Body.String(), "You are logged out.")
}

func TestC76S61OtherSitesLogNobodyInOrOut(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	cookie := loggedIn(t, i)
	for path, form := range map[string]url.Values{
		"/login/": loginOf("alice", "wonderland", ""), "/logout/": {}, "/account/": {"do": {"make_token"}, "name": {"x"}, "days": {"1"}},
	} {
		for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"} {
			w := i.submit(path, form, cookie, header)
			assert.Equal(t, http.StatusForbidden, w.Code, path)
			assert.Contains(t, w.Body.String(), "another site")
			assert.Empty(t, w.Header().Values("Set-Cookie"))
		}
	}
	assert.Equal(t, http.StatusOK, i.page("/account/", cookie).Code)
}

// page asks for one.
func (i *testIssuer) page(path string, headers ...string) *httptest.ResponseRecorder {
	i.t.Helper()
	r := httptest.NewRequestWithContext(i.t.Context(), http.MethodGet, path, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	return i.serve(r)
}

func TestSessionsAreToldApartByDevice(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	w := i.submit("/login/", loginOf("alice", "wonderland", ""), "User-Agent: Firefox\x01<b>"+strings.Repeat("x", 500))
	require.Equal(t, http.StatusSeeOther, w.Code)
	cookie := "Cookie: " + session.OwnCookie + "=" + sessionOf(t, w)
	body := i.page("/account/", cookie).Body.String()
	assert.Contains(t, body, "Firefox &lt;b&gt;xxx")
	assert.NotContains(t, body, strings.Repeat("x", 200), "bounded")
}

func TestS20S22L43LoginNeverKeepsTheSessionThatWasThere(t *testing.T) {
	t.Parallel()
	i := browsed(t, "lifetime 2h")
	first := loggedIn(t, i)
	w := i.submit("/login/", loginOf("carol", "carolpass", ""), first)
	second := sessionOf(t, w)
	assert.NotContains(t, first, second)
	assert.Equal(t, http.StatusSeeOther, i.page("/account/", first).Code, "it has ended")
	found, err := records.FindSession(t.Context(), i.store, second)
	require.NoError(t, err)
	assert.Equal(t, "carol", found.User)
	assert.InDelta(t, 2*time.Hour.Seconds(), time.Until(found.Expires).Seconds(), 60)
}

func TestScriptsLogInWithJSON(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	w := i.post("/login/", `{"username":"alice","password":"wonderland","next":"/x"}`)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.JSONEq(t, `{"next":"/x"}`, w.Body.String())
	cookie := "Cookie: " + session.OwnCookie + "=" + sessionOf(t, w)
	w = i.post("/login/", `{"username":"alice","password":"wrong"}`)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.JSONEq(t, `{"detail":"No active account found with the given credentials"}`, w.Body.String())
	w = i.post("/login/", `{}`)
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.Contains(t, w.Body.String(), "This field is required.")
	w = i.post("/login/", credentials, "Origin: https://evil.example")
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Contains(t, w.Body.String(), "csrf_failed")
	w = i.post("/logout/", `{}`, cookie)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Empty(t, sessionOf(t, w))
}

func TestS61S63LogoutEndsOneOrAll(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	here, there := loggedIn(t, i), loggedIn(t, i)
	app := obtained(t, i)
	w := i.submit("/logout/", nil, here)
	assert.Equal(t, "/login/?out=1", w.Header().Get("Location"))
	assert.Empty(t, sessionOf(t, w))
	assert.Equal(t, http.StatusSeeOther, i.page("/account/", here).Code)
	assert.Equal(t, http.StatusOK, i.page("/account/", there).Code)
	use(t, i, app["refresh"])

	i.submit("/logout/", url.Values{"everywhere": {"1"}}, there)
	assert.Equal(t, http.StatusSeeOther, i.page("/account/", there).Code)
	refuses(t, i, app["refresh"], "Token is blacklisted")
	assert.Equal(t, http.StatusSeeOther, i.submit("/logout/", nil).Code, "again, or never logged in")
}

func TestLoginInTheSecondOfAnEndCounts(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	now := time.Now()
	i.now = func() time.Time { return now }
	i.submit("/logout/", url.Values{"everywhere": {"1"}}, loggedIn(t, i))
	assert.Equal(t, http.StatusOK, i.page("/account/", loggedIn(t, i)).Code)
	use(t, i, obtained(t, i)["refresh"])
}

func TestS63E20AccountShowsAndEndsOnlyOnesOwn(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	w := i.page("/account/")
	assert.Equal(t, "/login/?next=%2Faccount%2F", w.Header().Get("Location"))
	here, there := loggedIn(t, i), loggedIn(t, i)
	app := obtained(t, i)
	_, carols, err := records.NewToken(t.Context(), i.store, records.Token{User: "carol", Label: "carol's"}, 0)
	require.NoError(t, err)
	body := i.page("/account/", here).Body.String()
	assert.Equal(t, 3, strings.Count(body, ">End</button>"))
	assert.NotContains(t, body, "carol")

	do := func(fields ...string) *httptest.ResponseRecorder {
		form := make(url.Values)
		for n := 0; n < len(fields); n += 2 {
			form.Set(fields[n], fields[n+1])
		}
		return i.submit("/account/", form, here)
	}
	do("do", "revoke_token", "id", carols.ID)
	tokens, err := records.ListTokens(t.Context(), i.store, records.TokenFilter{User: "carol"})
	require.NoError(t, err)
	assert.Len(t, tokens, 1)

	w = do("do", "make_token", "name", "ci", "days", "30")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Contains(t, w.Body.String(), "<code>ea_")
	tokens, err = records.ListTokens(t.Context(), i.store, records.TokenFilter{User: "alice"})
	require.NoError(t, err)
	require.Len(t, tokens, 1)
	assert.Nil(t, tokens[0].Groups, "those of the user at the time")
	assert.InDelta(t, (30 * 24 * time.Hour).Seconds(), time.Until(tokens[0].Expires).Seconds(), 60)
	w = do("do", "revoke_token", "id", tokens[0].ID)
	assert.Contains(t, w.Body.String(), "The token has ended.")
	assert.NotContains(t, w.Body.String(), ">ci<")

	sessions, err := records.ListSessions(t.Context(), i.store, "alice")
	require.NoError(t, err)
	thereID := strings.TrimPrefix(there, "Cookie: "+session.OwnCookie+"=")
	other, err := records.FindSession(t.Context(), i.store, thereID)
	require.NoError(t, err)
	require.Len(t, sessions, 2)
	do("do", "end_session", "id", other.ID)
	assert.Equal(t, http.StatusSeeOther, i.page("/account/", there).Code)
	logins, err := records.ListLogins(t.Context(), i.store, "alice")
	require.NoError(t, err)
	require.Len(t, logins, 1)
	do("do", "end_login", "id", logins[0].Shown())
	refuses(t, i, app["refresh"], "Token is blacklisted")

	for _, bad := range [][]string{{}, {"do", "x"}, {"do", "make_token", "name", "", "days", "1"}, {"do", "make_token", "name", "x", "days", "0"}, {"do", "make_token", "name", "x", "days", "x"}} {
		w = do(bad...)
		assert.Equal(t, http.StatusBadRequest, w.Code, bad)
		assert.Contains(t, w.Body.String(), "not filled in", bad)
	}
	assert.Equal(t, http.StatusOK, do("do", "end_session", "id", "gone").Code)
}

func TestS65R34PasswordIsChangedByWhoKnowsIt(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "breached.txt")
	require.NoError(t, os.WriteFile(list, []byte("correct horse\r\n\nB1B3773A05C0ED0176787A4F1574FF0075F7521E:9\n"), 0o600)) // qwerty
	i := browsed(t, "breached_passwords "+list)
	here, there := loggedIn(t, i), loggedIn(t, i)
	app := obtained(t, i)
	change := func(old, fresh, again string) *httptest.ResponseRecorder {
		return i.submit("/account/", url.Values{"do": {"change_password"}, "old": {old}, "new": {fresh}, "again": {again}}, here)
	}
	for want, c := range map[string][3]string{
		"not your password so far": {"wrong", "looking glass", "looking glass"},
		"differ":                   {"wonderland", "looking glass", "looking class"},
		"known to thieves":         {"wonderland", "correct horse", "correct horse"},
		"will not do":              {"wonderland", "short", "short"},
		"holds your user name":     {"wonderland", "my ALICE in", "my ALICE in"},
	} {
		w := change(c[0], c[1], c[2])
		assert.Equal(t, http.StatusBadRequest, w.Code, want)
		assert.Contains(t, w.Body.String(), want)
	}
	assert.False(t, i.goodPassword("carol", "qwerty"))
	assert.True(t, i.breached.has("qwerty"))
	w := change("wonderland", "looking glass", "looking glass")
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	assert.Equal(t, http.StatusOK, i.page("/account/", "Cookie: "+session.OwnCookie+"="+sessionOf(t, w)).Code)
	assert.Equal(t, http.StatusSeeOther, i.page("/account/", here).Code)
	assert.Equal(t, http.StatusSeeOther, i.page("/account/", there).Code)
	refuses(t, i, app["refresh"], "Token is blacklisted")
	assert.Equal(t, http.StatusForbidden, i.submit("/login/", loginOf("alice", "wonderland", "")).Code)
	assert.Equal(t, http.StatusSeeOther, i.submit("/login/", loginOf("alice", "looking glass", "")).Code)
}

func TestS64L21PagesWithoutStoreSayThatItIsUnknown(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	cookie := loggedIn(t, i)
	i.host.Records.Fail = http.ErrServerClosed
	assert.Equal(t, http.StatusOK, i.page("/login/").Code)
	for _, w := range []*httptest.ResponseRecorder{i.page("/account/", cookie), i.submit("/login/", loginOf("alice", "wonderland", "")), i.submit("/logout/", nil, cookie)} {
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "2", w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), "<!doctype html>")
		assert.Empty(t, w.Header().Values("Set-Cookie"), "nobody is logged out")
	}
}

func TestPagesLookAsConfigured(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	german := filepath.Join(folder, "de.json")
	require.NoError(t, os.WriteFile(german, []byte(`{"log_in":"Anmelden"}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "logout.html"), []byte(`{{define "main"}}<p>bye from {{.Title}}, {{t "log_in"}}</p>{{end}}`), 0o600))
	i := browsed(t, "title Acme\n logo /logo.svg\n color \"#ff0000\"\n templates "+folder+"\n language de "+german)
	body := i.page("/login/").Body.String()
	for _, want := range []string{"<title>Log in · Acme</title>", `src="/logo.svg"`, "--accent: #ff0000", `lang="en"`} {
		assert.Contains(t, body, want)
	}
	w := i.page("/login/", "Accept-Language: fr;q=0.3, de-AT, en;q=0.5")
	assert.Contains(t, w.Body.String(), "<h1>Anmelden</h1>")
	assert.Contains(t, w.Body.String(), "User name", "what a language lacks is in English")
	assert.Equal(t, "de", w.Header().Get("Content-Language"))
	assert.Equal(t, "en", i.page("/login/", "Accept-Language: ja").Header().Get("Content-Language"))
	assert.Equal(t, "en", i.page("/login/", "Accept-Language: \xff;;").Header().Get("Content-Language"))
	assert.Contains(t, i.page("/logout/").Body.String(), "<p>bye from Acme, Log in</p>")

	require.NoError(t, os.WriteFile(filepath.Join(folder, "xx.json"), []byte(`{"lock_in":"x"}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "login.html"), []byte(`{{define`), 0o600))
	for options, want := range map[string]string{
		"language de " + folder + "/none.json": "no such file",
		"language de " + folder + "/xx.json":   "unknown text 'lock_in'",
		"language d_e_ " + german:              "a tag such as de",
		"language de x\n language de y":        "stands twice",
		"color #123456":                        "in quotes where it begins with #",
		"color \"1;\"":                         "navy is needed",
		"templates " + folder:                  "template login.html",
		"templates " + folder + "/none":        "templates:",
		"home https://example.com":             "a path of this site",
		"next_origins app.example.com":         "scheme and host are needed",
		"lifetime 5s":                          "1m to",
		"foo":                                  "unknown session option 'foo'",
		"account /login/":                      "two endpoints at",
	} {
		err := new(Issuer).UnmarshalCaddyfile(caddyfile.NewTestDispenser("edge_auth_issuer {\n session {\n" + options + "\n }\n}"))
		assert.ErrorContains(t, err, want, options)
	}
}
