package issuer

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/records"
)

const credentials = `{"username":"alice","password":"wonderland"}`

// rotating is an issuer of JWTs with a clock of the test's.
func rotating(t testing.TB) (i *testIssuer, pass func(time.Duration)) {
	t.Helper()
	i = newTestIssuer(t, &Issuer{JWT: new(JWT), LoginRate: &Rate{Attempts: 1000, Window: defaultRate.Window}}, djangoKey)
	now := time.Now()
	i.now = func() time.Time { return now }
	return i, func(d time.Duration) { now = now.Add(d) }
}

// obtained are the tokens of a new login.
func obtained(t testing.TB, i *testIssuer) map[string]string {
	t.Helper()
	w := i.post("/api/token/", credentials)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return fields(t, w)
}

// use refreshes with a token, and returns what that gave.
func use(t testing.TB, i *testIssuer, refresh string, headers ...string) map[string]string {
	t.Helper()
	w := i.post("/api/token/refresh/", `{"refresh":"`+refresh+`"}`, headers...)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return fields(t, w)
}

func refuses(t testing.TB, i *testIssuer, refresh, why string) {
	t.Helper()
	w := i.post("/api/token/refresh/", `{"refresh":"`+refresh+`"}`)
	require.Equal(t, http.StatusUnauthorized, w.Code, w.Body)
	require.JSONEq(t, `{"detail":"`+why+`","code":"token_not_valid"}`, w.Body.String())
}

func claimsOf(t testing.TB, i *testIssuer, token string) map[string]any {
	t.Helper()
	claims, err := i.verifier.Claims(t.Context(), token)
	require.NoError(t, err)
	return claims
}

func TestR10EachRefreshTokenIsUsedOnce(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	first := obtained(t, i)
	pass(time.Hour)
	second := use(t, i, first["refresh"])
	assert.NotEqual(t, first["refresh"], second["refresh"])
	before, after := claimsOf(t, i, first["refresh"]), claimsOf(t, i, second["refresh"])
	for _, kept := range []string{"sid", "sub", "user_id", "auth_time"} {
		assert.Equal(t, before[kept], after[kept], kept)
	}
	for _, renewed := range []string{"jti", "iat", "exp"} {
		assert.NotEqual(t, before[renewed], after[renewed], renewed)
	}
	access := claimsOf(t, i, second["access"])
	assert.Equal(t, "1", access["user_id"])
	assert.Equal(t, "alice", access["sub"])
	assert.Equal(t, []any{"staff"}, access["groups"])
	assert.Equal(t, before["auth_time"], access["auth_time"], "a refresh is no login")
	assert.NotContains(t, after, "groups", "they are looked up at each refresh")

	pass(time.Hour)
	third := use(t, i, second["refresh"])
	refuses(t, i, first["refresh"], "Token is blacklisted")
	refuses(t, i, third["refresh"], "Token is blacklisted") // two had the login's tokens
	stolen := i.logs.FilterMessage("token reused")
	require.Equal(t, 1, stolen.Len())
	assert.Equal(t, "alice", stolen.All()[0].ContextMap()["user"])
}

func TestR20R21LostAnswerIsGivenAgainToTheSameClientForAShortTime(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	first := obtained(t, i)
	second := use(t, i, first["refresh"], "User-Agent: a")
	pass(refreshGrace - time.Second)
	assert.Equal(t, second, use(t, i, first["refresh"], "User-Agent: a"))
	pass(time.Second)
	refuses(t, i, first["refresh"], "Token is blacklisted")
	refuses(t, i, second["refresh"], "Token is blacklisted")

	third := obtained(t, i)
	use(t, i, third["refresh"], "User-Agent: a")
	refuses(t, i, third["refresh"], "Token is blacklisted") // by another client, so there is a thief
}

func TestR20OfManyRefreshesAtOnceOneFamilyLivesOn(t *testing.T) {
	t.Parallel()
	i, _ := rotating(t)
	first := obtained(t, i)
	pairs := make([]map[string]string, 50)
	var all sync.WaitGroup
	for n := range pairs {
		all.Go(func() { pairs[n] = use(t, i, first["refresh"]) })
	}
	all.Wait()
	for _, pair := range pairs {
		require.Equal(t, pairs[0], pair)
	}
	assert.Empty(t, i.logs.FilterMessage("token reused").All())
	use(t, i, pairs[0]["refresh"])
}

func TestKeptRefreshTokenIsUsedUntilItExpires(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	i.JWT.KeepRefresh = true
	first := obtained(t, i)
	for range 3 {
		pass(7 * time.Hour)
		again := use(t, i, first["refresh"])
		assert.NotContains(t, again, "refresh")
		assert.NotContains(t, again["access"], first["access"])
		claims := claimsOf(t, i, again["access"])
		assert.Equal(t, "access", claims["token_type"])
	}
	pass(3 * time.Hour)
	refuses(t, i, first["refresh"], "Token is expired")
}

func TestR30BlacklistEndsTheLogin(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	first := obtained(t, i)
	pass(time.Minute)
	second := use(t, i, first["refresh"])
	w := i.post("/api/token/blacklist/", `{"refresh":"`+second["refresh"]+`"}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.JSONEq(t, "{}", w.Body.String())
	refuses(t, i, second["refresh"], "Token is blacklisted")
	for _, name := range []string{"refresh", "access"} {
		w = i.post("/api/token/verify/", `{"token":"`+second[name]+`"}`)
		assert.Equal(t, http.StatusBadRequest, w.Code, name)
		assert.JSONEq(t, `{"non_field_errors":["Token is blacklisted"]}`, w.Body.String(), name)
	}
	w = i.post("/api/token/blacklist/", `{"refresh":"`+second["refresh"]+`"}`)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	use(t, i, obtained(t, i)["refresh"]) // another login lives on
}

func TestEndOfALoginEndsAllItsAccessTokens(t *testing.T) {
	t.Parallel()
	blacklist := func(t *testing.T, i *testIssuer, refresh string) {
		w := i.post("/api/token/blacklist/", `{"refresh":"`+refresh+`"}`)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
	}
	for name, c := range map[string]struct {
		keep bool
		end  func(t *testing.T, i *testIssuer, first, last string)
	}{
		"logout":                          {false, func(t *testing.T, i *testIssuer, _, last string) { blacklist(t, i, last) }},
		"theft":                           {false, func(t *testing.T, i *testIssuer, first, _ string) { refuses(t, i, first, "Token is blacklisted") }},
		"logout, refresh tokens are kept": {true, func(t *testing.T, i *testIssuer, first, _ string) { blacklist(t, i, first) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, pass := rotating(t)
			i.JWT.KeepRefresh = c.keep
			first, other := obtained(t, i), obtained(t, i)
			refresh := first["refresh"]
			var pairs [3]map[string]string
			for n := range pairs {
				pass(90 * time.Second) // the first access token ends, those after it don't
				pairs[n] = use(t, i, refresh)
				refresh = cmp.Or(pairs[n]["refresh"], refresh)
			}
			pass(59 * time.Second)
			live := func(access string) int {
				return i.post("/api/token/verify/", `{"token":"`+access+`"}`).Code
			}
			for n, p := range pairs {
				require.Equal(t, http.StatusOK, live(p["access"]), n)
			}
			c.end(t, i, first["refresh"], refresh)
			for n, p := range pairs {
				assert.Equal(t, http.StatusBadRequest, live(p["access"]), n)
			}
			assert.Equal(t, http.StatusOK, live(use(t, i, other["refresh"])["access"]), "another login lives on")
		})
	}
}

func TestR33RefreshAsksWhetherTheUserIsStillWelcome(t *testing.T) {
	t.Parallel()
	no := false
	for name, c := range map[string]struct {
		change func(t *testing.T, i *testIssuer)
		body   string
	}{
		"disabled": {func(t *testing.T, i *testIssuer) {
			require.NoError(t, records.PutUser(t.Context(), i.store, records.User{ID: "alice", Active: &no}))
		}, `{"detail":"No active account found for the given token."}`},
		"removed": {func(t *testing.T, i *testIssuer) {
			require.NoError(t, i.store.Delete(t.Context(), "user:alice"))
		}, `{"detail":"No active account found for the given token."}`},
		"logged out everywhere": {func(t *testing.T, i *testIssuer) {
			require.NoError(t, records.RevokeBefore(t.Context(), i.store, "alice", i.now()))
		}, `{"detail":"Token is blacklisted","code":"token_not_valid"}`},
		"not before": {func(t *testing.T, i *testIssuer) {
			require.NoError(t, records.PutUser(t.Context(), i.store, records.User{ID: "alice", NotBefore: i.now().Add(time.Second)}))
		}, `{"detail":"Token is blacklisted","code":"token_not_valid"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, _ := rotating(t)
			first := obtained(t, i)
			c.change(t, i)
			w := i.post("/api/token/refresh/", `{"refresh":"`+first["refresh"]+`"}`)
			assert.Equal(t, http.StatusUnauthorized, w.Code)
			assert.JSONEq(t, c.body, w.Body.String())
		})
	}
}

func TestR31StoreThatIsDownIsNoRefusal(t *testing.T) {
	t.Parallel()
	i, _ := rotating(t)
	i.JWT.Deliver = deliverCookie
	w := i.post("/api/token/", credentials)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	cookies := w.Header().Values("Set-Cookie")
	i.host.Records.Fail = http.ErrServerClosed
	for path, body := range map[string]string{"/api/token/": credentials, "/api/token/refresh/": "{}"} {
		w := i.post(path, body, "Cookie: "+strings.Split(cookies[1], ";")[0])
		assert.Equal(t, http.StatusServiceUnavailable, w.Code, path)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.Empty(t, w.Header().Values("Set-Cookie"), "the cookies stay")
	}
}

func TestR43TokensInCookiesAreInNoBody(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	i.JWT.Deliver = deliverCookie
	w := i.post("/api/token/", credentials)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	cookies := w.Header().Values("Set-Cookie")
	require.Len(t, cookies, 3)
	assert.Regexp(t, `^csrftoken=[A-Za-z0-9]{32}; Path=/; Max-Age=31449600; Secure; SameSite=Lax$`, cookies[2])
	assert.Regexp(t, `^__Host-access_token=eyJ[^;]+; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Lax$`, cookies[0])
	assert.Regexp(t, `^__Secure-refresh_token=eyJ[^;]+; Path=/api/token/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax$`, cookies[1])
	assert.NotContains(t, w.Body.String(), "eyJ")
	assert.Contains(t, fields(t, w), "access_expiration")

	cookie := "Cookie: " + strings.Split(cookies[1], ";")[0]
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example", "Origin: null"} {
		for _, path := range []string{"/api/token/", "/api/token/refresh/", "/api/token/blacklist/"} {
			w = i.post(path, credentials, cookie, header)
			assert.Equal(t, http.StatusForbidden, w.Code, "%s, %s", path, header)
			assert.Empty(t, w.Header().Values("Set-Cookie"))
		}
	}
	pass(time.Minute)
	w = i.post("/api/token/refresh/", "", cookie, "Sec-Fetch-Site: same-origin")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	assert.NotContains(t, w.Body.String(), "eyJ")
	renewed := w.Header().Values("Set-Cookie")
	require.Len(t, renewed, 3, "it had sent no csrftoken")
	assert.NotEqual(t, cookies[1], renewed[1])

	pass(time.Minute)
	w = i.post("/api/token/refresh/", "{}", cookie)
	require.Equal(t, http.StatusUnauthorized, w.Code, "stolen")
	for _, gone := range w.Header().Values("Set-Cookie") {
		assert.Contains(t, gone, "Max-Age=0")
	}
	w = i.post("/api/token/blacklist/", "{}", "Cookie: "+strings.Split(renewed[1], ";")[0])
	assert.Equal(t, http.StatusUnauthorized, w.Code, "it has ended")
	assert.Len(t, w.Header().Values("Set-Cookie"), 3)
}

func TestLoginsOfOtherIssuersLiveOnWithTheSameKey(t *testing.T) {
	t.Parallel()
	i, pass := rotating(t)
	now := i.now()
	theirs := func(claims string) string {
		token, err := i.ring.Sign([]byte(strings.NewReplacer("IAT", stamp(now), "EXP", stamp(now.Add(time.Hour))).Replace(claims)), "JWT")
		require.NoError(t, err)
		return token
	}
	old := theirs(`{"token_type":"refresh","exp":EXP,"iat":IAT,"jti":"b7a1","user_id":1,"role":"editor"}`)
	pair := use(t, i, old)
	access := claimsOf(t, i, pair["access"])
	assert.Equal(t, "alice", access["sub"])
	assert.Equal(t, "editor", access["role"], "what else it says is passed on")
	pass(time.Minute)
	pair = use(t, i, pair["refresh"])
	refuses(t, i, old, "Token is blacklisted")
	refuses(t, i, pair["refresh"], "Token is blacklisted")
	refuses(t, i, theirs(`{"token_type":"refresh","exp":EXP,"iat":IAT,"jti":"b7a2","sid":"unknown","user_id":1}`), "Token is blacklisted")
	refuses(t, i, theirs(`{"token_type":"refresh","exp":EXP,"iat":IAT,"jti":7,"user_id":1}`), "Token is invalid")
	refuses(t, i, theirs(`{"token_type":"access","exp":EXP,"iat":IAT,"jti":"b7a3","user_id":1}`), "Token has wrong type")
	refuses(t, i, theirs(`{"exp":EXP,"iat":IAT,"jti":"b7a3","user_id":1}`), "Token has no type")
	refuses(t, i, theirs(`{"token_type":"refresh","iat":IAT,"jti":"b7a3","user_id":1}`), "Token has no 'exp' claim")

	carols := use(t, i, theirs(`{"token_type":"refresh","exp":EXP,"iat":IAT,"jti":"b7a6","user_id":3,"groups":["root"],"name":"Root","email":"root@example.com"}`))
	for _, ours := range []string{"groups", "name", "email"} {
		assert.NotContains(t, claimsOf(t, i, carols["access"]), ours, "what the store says, and nothing else")
	}

	// One that lives longer than ours is remembered as long.
	i.JWT.RefreshLifetime = caddy.Duration(time.Minute * 10)
	old = theirs(`{"token_type":"refresh","exp":EXP,"iat":IAT,"jti":"b7a5","user_id":1,"iss":"https://django.example"}`)
	pair = use(t, i, old)
	assert.NotContains(t, claimsOf(t, i, pair["access"]), "iss")
	i.host.Records.Now = i.now
	pass(30 * time.Minute)
	refuses(t, i, pair["refresh"], "Token is expired")
	refuses(t, i, old, "Token is blacklisted")
	w := i.post("/api/token/refresh/", `{"refresh":"`+theirs(`{"token_type":"refresh","exp":EXP,"iat":IAT,"jti":"b7a4","user_id":true}`)+`"}`)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
}

func stamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func TestLifetimesAreAsConfigured(t *testing.T) {
	t.Parallel()
	i, _ := rotating(t)
	i.JWT.AccessLifetime, i.JWT.RefreshLifetime = caddy.Duration(time.Minute), caddy.Duration(time.Hour)
	i.JWT.Claims = []Claim{{"roles", "groups"}, {"preferred_username", "id"}, {"mail", "email"}}
	i.Issuer.Issuer, i.JWT.Audience = "https://login.example.com", []string{"api"}
	pair := obtained(t, i)
	for name, lifetime := range map[string]time.Duration{"access": time.Minute, "refresh": time.Hour} {
		claims := claimsOf(t, i, pair[name])
		assert.Equal(t, timeIn(claims, "iat").Add(lifetime), timeIn(claims, "exp"), name)
		assert.Equal(t, "https://login.example.com", claims["iss"])
		assert.Equal(t, "api", claims["aud"])
		assert.Len(t, claims["jti"], 32)
	}
	access := claimsOf(t, i, pair["access"])
	assert.Equal(t, []any{"staff"}, access["roles"])
	assert.Equal(t, "alice", access["preferred_username"])
	assert.NotContains(t, access, "mail", "unknown")
	at, err := records.LastLogin(t.Context(), i.store, "alice")
	require.NoError(t, err)
	assert.WithinDuration(t, i.now(), at, time.Second)
	at, err = records.LastLogin(t.Context(), i.store, "bob")
	require.NoError(t, err)
	assert.Zero(t, at)
}
