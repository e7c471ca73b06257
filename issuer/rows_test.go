package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// What a refusal must not tell apart is told alike: by its status, its body, its
// headers, and the hashing that it took.
func TestR02L10NobodyLearnsWhichUsersThereAre(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n token\n session\n login_rate 10000 1m\n}", djangoKey)
	require.NoError(t, records.PutUser(t.Context(), i.store, records.User{ID: "nopass"}))
	var hashed []string
	var mu sync.Mutex // guards hashed
	i.users = ofStore{i.store, passwords.Counted(func(hash string) {
		mu.Lock()
		defer mu.Unlock()
		hashed = append(hashed, hash[:strings.LastIndexByte(hash[:strings.LastIndexByte(hash, '$')], '$')]) // the parameters
	})}
	for _, path := range []string{"/api/token/", "/api-token-auth/", "/login/"} {
		answers, work := make(map[string]string), make(map[string]string)
		for name, user := range map[string]string{
			"wrong password": "alice", "inactive": "bob", "unknown": "nobody", "no password": "nopass", "unlike a name": "no\tbody", "long": strings.Repeat("x", 10<<10),
		} {
			hashed = nil
			w := i.post(path, `{"username":`+quoted(t, user)+`,"password":"wrong`+name+`"}`)
			for _, own := range []string{"X-Request-Id", "Date"} {
				w.Header().Del(own)
			}
			answers[name] = fmt.Sprint(w.Code, w.Header(), w.Body)
			work[name] = fmt.Sprint(hashed)
		}
		for name := range answers {
			assert.Equal(t, answers["wrong password"], answers[name], "%s, %s", path, name)
			assert.Equal(t, work["wrong password"], work[name], "%s, %s", path, name)
		}
		assert.Contains(t, work["unknown"], "$argon2id$")
		assert.Equal(t, 1, strings.Count(work["unknown"], "$argon2id$"))
	}
	w := i.post("/api/token/", `{"username":"bob","password":"builder"}`)
	assert.Contains(t, w.Body.String(), "No active account found with the given credentials", "the right one of who is disabled too")
}

func quoted(t testing.TB, text string) string {
	t.Helper()
	data, err := json.Marshal(text)
	require.NoError(t, err)
	return string(data)
}

func TestR15LoginEndsHoweverOftenItIsRefreshed(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	i.JWT.LoginLifetime = caddy.Duration(60 * time.Hour)
	pair := obtained(t, i)
	pass(20 * time.Hour)
	pair = use(t, i, pair["refresh"])
	pass(20 * time.Hour)
	pair = use(t, i, pair["refresh"])
	claims := claimsOf(t, i, pair["refresh"])
	assert.Equal(t, timeIn(claims, "auth_time").Add(60*time.Hour), timeIn(claims, "exp"), "20 hours, and not a day")
	pass(19 * time.Hour)
	pair = use(t, i, pair["refresh"])
	pass(time.Hour)
	refuses(t, i, pair["refresh"], "Token is expired")

	i.JWT.LoginLifetime = caddy.Duration(366 * 24 * time.Hour)
	pair = obtained(t, i)
	pass(23 * time.Hour)
	i.JWT.LoginLifetime = caddy.Duration(23 * time.Hour) // a new config
	refuses(t, i, pair["refresh"], "Token is expired")

	defaults := &Issuer{JWT: &JWT{RefreshLifetime: caddy.Duration(100 * 24 * time.Hour)}}
	defaults.setDefaults()
	assert.Equal(t, defaults.JWT.RefreshLifetime, defaults.JWT.LoginLifetime, "never less")
	require.NoError(t, defaults.check())
}

// What a client adds widens nothing.
func TestR40RefreshGivesNoMoreThanTheUserHas(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	pair := obtained(t, i)
	pass(time.Second)
	extra := `,"groups":["admins"],"scope":"admin","audience":"other","user_id":"3","access_lifetime":"9d","is_staff":true}`
	w := i.post("/api/token/refresh/?groups=admins&scope=admin", `{"refresh":"`+pair["refresh"]+`"`+extra)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	second := fields(t, w)
	w = i.post("/api/token/", strings.TrimSuffix(credentials, "}")+extra)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	for _, token := range []string{second["access"], fields(t, w)["access"]} {
		claims := claimsOf(t, i, token)
		assert.Equal(t, []any{"staff"}, claims["groups"])
		assert.Equal(t, "alice", claims["sub"])
		for _, name := range []string{"scope", "aud", "is_staff"} {
			assert.NotContains(t, claims, name)
		}
		assert.Equal(t, timeIn(claims, "iat").Add(defaultAccessLifetime), timeIn(claims, "exp"))
	}
}

// Names of claims are the config's, and their values the users': neither breaks out.
func TestR41ClaimsSayNothingButThemselves(t *testing.T) {
	t.Parallel()
	i, _ := rotating(t)
	evil := `x","admin":true,"y":"` + "\n\u2028</script>"
	i.JWT.Claims = []Claim{{`x":0,"admin`, "name"}}
	require.NoError(t, records.PutUser(t.Context(), i.store, records.User{ID: "alice", Name: evil, Email: evil, Groups: []string{evil, `","admin`}}))
	claims := claimsOf(t, i, obtained(t, i)["access"])
	assert.Equal(t, evil, claims["name"])
	assert.Equal(t, evil, claims["email"])
	assert.Equal(t, []any{evil, `","admin`}, claims["groups"])
	assert.Equal(t, evil, claims[`x":0,"admin`])
	assert.NotContains(t, claims, "admin")
	for _, reserved := range ownClaims {
		assert.Error(t, Claim{reserved, "name"}.check(), reserved)
	}
}

func TestR42IssuedTokensSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	const private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGTA7rAMcrn9g\n-----END PRIVATE KEY-----"
	i := configured(t, "edge_auth_issuer {\n jwt\n jwks\n issuer https://login.example.com\n audience api\n}", private)
	seen := make(map[any]bool)
	for kind, token := range obtained(t, i) {
		head, err := base64URL(strings.Split(token, ".")[0])
		require.NoError(t, err)
		var header map[string]any
		require.NoError(t, json.Unmarshal(head, &header))
		assert.Equal(t, "EdDSA", header["alg"])
		assert.Equal(t, "JWT", header["typ"])
		assert.NotEmpty(t, header["kid"])
		assert.Len(t, header, 3)
		claims := claimsOf(t, i, token)
		assert.Equal(t, kind, claims["token_type"])
		assert.Equal(t, "https://login.example.com", claims["iss"])
		assert.Equal(t, "api", claims["aud"])
		assert.Regexp(t, "^[0-9a-f]{32}$", claims["jti"], "128 bits")
		assert.False(t, seen[claims["jti"]])
		seen[claims["jti"]] = true
		for _, name := range []string{"exp", "iat"} {
			assert.False(t, timeIn(claims, name).IsZero(), name)
		}
	}
}

// Verify tells apart no kinds of tokens that are not ours.
func TestR32R44EndpointsAreNoOracle(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	good := obtained(t, i)
	parts := strings.Split(good["access"], ".")
	other := newTestIssuer(t, &Issuer{JWT: new(JWT)}, `{"kty":"oct","k":"`+strings.Repeat("A", 86)+`"}`)
	bad := map[string]string{
		"garbage":             "garbage",
		"two parts":           parts[0] + "." + parts[1],
		"other signature":     parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"another key's":       obtained(t, other)["access"],
		"another key's other": obtained(t, other)["refresh"],
		"none":                "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"not base64url":       good["access"] + "=",
	}
	for path, field := range map[string]string{"/api/token/verify/": "token", "/api/token/refresh/": "refresh", "/api/token/blacklist/": "refresh"} {
		for name, token := range bad {
			w := i.post(path, `{"`+field+`":"`+token+`"}`)
			assert.Equal(t, http.StatusUnauthorized, w.Code, "%s, %s", path, name)
			assert.JSONEq(t, `{"detail":"Token is invalid","code":"token_not_valid"}`, w.Body.String(), "%s, %s", path, name)
		}
	}
	use(t, i, good["refresh"]) // none of it ended anything
	pass(25 * time.Hour)
	w := i.post("/api/token/blacklist/", `{"refresh":"`+good["refresh"]+`"}`)
	assert.Equal(t, http.StatusUnauthorized, w.Code, "expired")
}

func TestR14TokensThatAreNoRefreshTokensRefreshNothing(t *testing.T) { //nolint:tparallel // they are about one login
	t.Parallel()
	i, pass := rotating(t)
	pair := obtained(t, i)
	parts := strings.Split(pair["refresh"], ".")
	for name, c := range map[string]struct{ token, why string }{
		"access":      {pair["access"], "Token has wrong type"},
		"alg none":    {"eyJhbGciOiJub25lIn0." + parts[1] + ".", "Token is invalid"},
		"another alg": {"eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9." + parts[1] + "." + parts[2], "Token is invalid"},
		"R13 padded":  {pair["refresh"] + "=", "Token is invalid"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, i, c.token, c.why) })
	}
	for name, again := range map[string]string{"R13 blanks around it": " " + pair["refresh"] + "\t", "R13 as it is": pair["refresh"]} {
		t.Run(name, func(t *testing.T) {
			use(t, i, strings.ReplaceAll(again, "\t", `\t`)) // the same token: within the grace, the same successor
		})
	}
	pass(refreshGrace)
	refuses(t, i, " "+pair["refresh"], "Token is blacklisted") // used before, however it is spelt
	expired := obtained(t, i)
	pass(25 * time.Hour)
	refuses(t, i, expired["refresh"], "Token is expired")
}

func TestR50FieldsThatStandTwiceAreRefused(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n token\n session\n login_rate 1000 1m\n}", djangoKey)
	pair := obtained(t, i)
	const encoded, multi = "Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data; boundary=x"
	part := func(name, value string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	for name, c := range map[string]struct{ path, body, header string }{
		"refresh twice":           {"/api/token/refresh/", "refresh=" + pair["refresh"] + "&refresh=b", encoded},
		"the same twice":          {"/api/token/refresh/", "refresh=" + pair["refresh"] + "&refresh=" + pair["refresh"], encoded},
		"another spelling":        {"/api/token/refresh/", "refresh=" + pair["refresh"] + "&%72efresh=b", encoded},
		"multipart":               {"/api/token/refresh/", part("refresh", pair["refresh"]) + part("refresh", "b") + "--x--\r\n", multi},
		"JSON":                    {"/api/token/refresh/", `{"refresh":"` + pair["refresh"] + `","refresh":"b"}`, "Content-Type: application/json"},
		"user name":               {"/api/token/", "username=alice&password=wonderland&username=carol", encoded},
		"password, opaque tokens": {"/api-token-auth/", "username=alice&password=wonderland&password=x", encoded},
		"verify":                  {"/api/token/verify/", "token=" + pair["access"] + "&token=b", encoded},
		"login":                   {"/login/", "username=alice&password=wonderland&username=carol", encoded},
	} {
		w := i.post(c.path, c.body, c.header)
		assert.Equal(t, http.StatusBadRequest, w.Code, "%s: %s", name, w.Body)
		assert.Empty(t, w.Header().Values("Set-Cookie"), name)
	}
	w := i.post("/api/token/refresh/?refresh="+pair["refresh"], "{}")
	assert.Equal(t, http.StatusBadRequest, w.Code, "a query is no body")
	w = i.post("/api/token/refresh/?refresh=b", "refresh="+pair["refresh"], encoded)
	assert.Equal(t, http.StatusOK, w.Code, w.Body)
}

// However often a login is refreshed, it is one record, and one of the same size; a
// token that is refused adds none.
func TestR51RefreshesDoNotFillTheStore(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	first := obtained(t, i)
	size := func() (keys, bytes int) {
		all := i.host.Records.Dump()
		for key, value := range all {
			bytes += len(key) + len(value)
		}
		return len(all), bytes
	}
	pair := use(t, i, first["refresh"])
	count, bytes := size()
	flat := func() {
		t.Helper()
		countNow, bytesNow := size()
		assert.Equal(t, count, countNow)
		assert.Equal(t, bytes, bytesNow)
	}
	for range 200 {
		pass(time.Second)
		pair = use(t, i, pair["refresh"])
	}
	flat()
	logins, err := records.ListLogins(t.Context(), i.store, "alice")
	require.NoError(t, err)
	assert.Len(t, logins, 1)

	refuses(t, i, first["refresh"], "Token is blacklisted") // a thief's
	count, bytes = size()
	for range 200 {
		refuses(t, i, pair["refresh"], "Token is blacklisted")
	}
	flat()

	pair = obtained(t, i)
	use(t, i, pair["refresh"])
	logins, err = records.ListLogins(t.Context(), i.store, "alice")
	require.NoError(t, err)
	require.Len(t, logins, 1, "the other one has ended")
	i.host.Records.Now = i.now
	pass(25 * time.Hour)
	logins, err = records.ListLogins(t.Context(), i.store, "alice")
	require.NoError(t, err)
	assert.Empty(t, logins, "it expires")
}

// A password is what it is: every character counts, at both ends too.
func TestL13PasswordsAreTakenExactly(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n login_rate 10000 1m\n}", djangoKey)
	for name, password := range map[string]string{
		"blanks": "  blanks around  ", "tab": "\ttabulator", "line break": "line\nbreak ", "64": strings.Repeat("x", 64), "128": strings.Repeat("ä", 128),
		"emoji": "👩‍👩‍👧 family 🔑", "composed": "caf\u00e9-caf\u00e9", "quotes": `"'\<>&{{.}}%s`,
	} {
		hash, err := passwords.Hash(password)
		require.NoError(t, err)
		require.NoError(t, records.SetPassword(t.Context(), i.store, "carol", hash))
		cut := []rune(password)
		cut = cut[:len(cut)-1]
		for given, want := range map[string]int{
			password: http.StatusOK, strings.TrimSpace(password) + "x": 401, password + " ": 401, " " + password: 401, strings.ToUpper(password) + "_": 401, string(cut) + "_": 401,
		} {
			w := i.post("/api/token/", `{"username":"carol","password":`+quoted(t, given)+`}`)
			assert.Equal(t, want, w.Code, "%s: %q", name, given)
		}
	}
	w := i.post("/api/token/", `{"username":"carol","password":"cafe\u0301-cafe\u0301"}`)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	w = i.post("/api/token/", `{"username":"carol","password":"x\u0000y"}`)
	assert.Equal(t, http.StatusBadRequest, w.Code, "Null characters are not allowed, as Django has it")
}

// Names are looked up, never run.
func TestL14NamesAreNothingButNames(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n session\n login_rate 10000 1m\n}", djangoKey)
	for _, name := range []string{
		"' OR 1=1--", "alice' --", "*", "alice*", "al?ce", "*)(uid=*))(|(uid=*", "alice\u0001", "alice\u001b[2J", "\u202ealice", "alice\r\nDEL *", "user:alice",
		"../user:alice", "alice\u00ad", "ALICE", "Alice", "ａlice", "alice\u0301", "{env.HOME}", "{{.}}", "${jndi:ldap://x}", "%00", "null", "undefined", "true", "0", "1", "-1", "NaN",
		"<script>alert(1)</script>", "`id`", "$(id)", "; ls", "| ls", "__proto__", "constructor", "田中", "Ṱ̺̺̕o͞", "\ufeffalice", "😍", "1e309", strings.Repeat("a", 10<<10),
	} {
		w := i.post("/api/token/", `{"username":`+quoted(t, name)+`,"password":"wonderland"}`)
		assert.Equal(t, http.StatusUnauthorized, w.Code, "%.50q: %s", name, w.Body)
		w = i.submit("/login/", loginOf(name, "wonderland", ""))
		assert.Equal(t, http.StatusForbidden, w.Code, "%.50q", name)
		assert.Empty(t, w.Header().Values("Set-Cookie"))
		assert.NotContains(t, w.Body.String(), "<script>alert")
	}
}

// What is not a whole POST with both fields logs nobody in.
func TestL12HalfLoginsAreNone(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	half := []url.Values{{}, {"username": {"alice"}}, {"password": {"wonderland"}}, {"username": {""}, "password": {""}}, {"username": {"alice"}, "password": {""}}, {"user": {"alice"}, "pass": {"wonderland"}}}
	answers := make([]*httptest.ResponseRecorder, 0, len(half)+6)
	for _, form := range half {
		w := i.submit("/login/", form)
		assert.Equal(t, http.StatusBadRequest, w.Code, form)
		answers = append(answers, w)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w := i.get(method, "/login/?username=alice&password=wonderland")
		assert.Equal(t, http.StatusOK, w.Code, "the form")
		assert.NotContains(t, w.Body.String(), "wonderland")
		answers = append(answers, w)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete, "BREW"} {
		w := i.get(method, "/login/?username=alice&password=wonderland")
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
		answers = append(answers, w)
	}
	for _, w := range answers {
		assert.False(t, slices.ContainsFunc(w.Header().Values("Set-Cookie"), func(cookie string) bool { return strings.Contains(cookie, "edge_auth") }))
	}
	assert.Empty(t, i.logs.FilterMessage("login").All())
	first := i.submit("/login/", loginOf("alice", "wonderland", ""))
	second := i.submit("/login/", loginOf("alice", "wonderland", "")) // the same form again
	assert.NotEqual(t, sessionOf(t, first), sessionOf(t, second))
}

// Pages are for this site's eyes, now, and run nothing.
func TestL41L42PagesAreNeitherFramedNorKeptNorScripted(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	cookie := loggedIn(t, i)
	const evil = `"><script>alert(1)</script>`
	for name, w := range map[string]*httptest.ResponseRecorder{
		"login":           i.page("/login/?next="+url.QueryEscape(evil), "Host: localhost"),
		"login, another":  i.page("/login/", "Host: "+evil),
		"failed":          i.submit("/login/", loginOf(evil, evil, evil)),
		"missing":         i.submit("/login/", loginOf(evil, "", evil)),
		"logout":          i.page("/logout/?x="+url.QueryEscape(evil), cookie),
		"account":         i.page("/account/", cookie),
		"another site's":  i.submit("/login/", loginOf(evil, evil, evil), "Sec-Fetch-Site: cross-site"),
		"unfit form":      i.submit("/account/", url.Values{"do": {evil}}, cookie),
		"language of one": i.page("/login/", "Accept-Language: "+evil),
	} {
		assert.NotContains(t, strings.ToLower(w.Body.String()), "<script", name)
		h := w.Header()
		assert.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'", name)
		assert.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", name)
		assert.NotContains(t, h.Get("Content-Security-Policy"), "script-src", name)
		assert.Equal(t, "no-store", h.Get("Cache-Control"), name)
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), name)
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Opener-Policy"), name)
		assert.NotEmpty(t, h.Get("Referrer-Policy"), name)
	}
}

// Two tabs of one login page both lead in.
func TestL43TwoTabsBothLogIn(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	i.page("/login/?next=/a")
	i.page("/login/?next=/b")
	a := i.submit("/login/", loginOf("alice", "wonderland", "/a"))
	cookie := "Cookie: __Host-edge_auth=" + sessionOf(t, a)
	b := i.submit("/login/", loginOf("alice", "wonderland", "/b"), cookie)
	require.Equal(t, http.StatusSeeOther, b.Code)
	assert.Equal(t, "/b", b.Header().Get("Location"))
	assert.Equal(t, http.StatusOK, i.page("/account/", "Cookie: __Host-edge_auth="+sessionOf(t, b)).Code)
}
