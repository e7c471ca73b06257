package issuer

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/records"
)

// second sets a second factor up for alice, and gives its secret, its recovery
// codes, and codes by the clock of the test's, each in a step of its own.
func second(t testing.TB, i *testIssuer) (code func() string, recovery []string) {
	t.Helper()
	now := time.Now()
	i.now = func() time.Time { return now }
	secret := newSecret()
	code = func() string {
		now = now.Add(codeStep * time.Second)
		text, err := totp.GenerateCode(secret, now)
		require.NoError(t, err)
		return text
	}
	first := code()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	require.NoError(t, err)
	recovery, err = i.enrol(r, "alice", secret, first)
	require.NoError(t, err)
	require.Len(t, recovery, recoveryCodes)
	return code, recovery
}

func TestCodesAreThoseOfRFC6238(t *testing.T) {
	t.Parallel()
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // appendix B, the last six digits
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 2000000000: "279037"} {
		for shift, want := range map[int64]bool{0: true, codeStep: true, -codeStep: true, 2 * codeStep: false, -2 * codeStep: false} {
			if at+shift < 0 {
				continue
			}
			step := matchingStep(secret, code, time.Unix(at+shift, 0))
			assert.Equal(t, want, step != 0, "%d, %d", at, shift)
			if want {
				assert.Equal(t, at/codeStep, step)
			}
		}
	}
	for _, code := range []string{"", "0", "28708", "2870822", "28708２", "abcdef"} {
		assert.Zero(t, matchingStep(secret, code, time.Unix(59, 0)), code)
	}
}

func TestL22ScriptsSendTheCodeAlong(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	code, recovery := second(t, i)
	send := func(path, otp string) (int, string) {
		w := i.post(path, `{"username":"alice","password":"wonderland"`+otp+`}`)
		return w.Code, w.Body.String()
	}
	status, body := send("/api/token/", "")
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.JSONEq(t, `{"detail":"A code of the second factor is needed.","code":"otp_required"}`, body)
	status, body = send("/api/token/", `,"otp":"000000"`)
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Contains(t, body, "otp_invalid")
	w := i.post("/api/token/", `{"username":"alice","password":"wrong","otp":"`+code()+`"}`)
	assert.JSONEq(t, `{"detail":"No active account found with the given credentials"}`, w.Body.String(), "the password first")

	good := code()
	w = i.post("/api/token/", `{"username":"alice","password":"wonderland","otp":"`+good[:3]+" "+good[3:]+`"}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	pair := fields(t, w)
	assert.Equal(t, []any{"pwd", "otp", "mfa"}, claimsOf(t, i, pair["access"])["amr"])
	assert.Equal(t, []any{"pwd", "otp", "mfa"}, claimsOf(t, i, use(t, i, pair["refresh"])["access"])["amr"], "a refresh is no login")
	status, body = send("/api/token/", `,"otp":"`+good+`"`)
	assert.Equal(t, http.StatusUnauthorized, status, "used before")
	assert.Contains(t, body, "otp_invalid")

	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		status, _ = send("/login/", `,"otp":"`+strings.ToLower(recovery[0])+`"`)
		assert.Equal(t, want, status, "a recovery code, once")
	}
	assert.Equal(t, 1, i.logs.FilterMessage("recovery code used").Len())
	w = i.post("/api/token/", `{"username":"carol","password":"carolpass"}`)
	require.Equal(t, http.StatusOK, w.Code, "who has none needs none")
	assert.Equal(t, []any{"pwd"}, claimsOf(t, i, fields(t, w)["access"])["amr"])
	i.post("/api-token-auth/", credentials)
}

func TestL22CodesAreNotGuessed(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n session\n}", djangoKey)
	code, _ := second(t, i)
	for n := range 7 {
		w := i.post("/api/token/", `{"username":"alice","password":"wonderland","otp":"00000`+string(rune('0'+n))+`"}`)
		if n < 5 {
			assert.Equal(t, http.StatusUnauthorized, w.Code)
		} else {
			assert.Equal(t, http.StatusTooManyRequests, w.Code)
		}
	}
	w := i.post("/api/token/", `{"username":"alice","password":"wonderland","otp":"`+code()+`"}`)
	assert.Equal(t, http.StatusTooManyRequests, w.Code)
}

func TestL22OneCodeLetsOneIn(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	code, _ := second(t, i)
	body := `{"username":"alice","password":"wonderland","otp":"` + code() + `"}`
	codes := make([]int, 8)
	var all sync.WaitGroup
	for n := range codes {
		all.Go(func() { codes[n] = i.post("/api/token/", body).Code })
	}
	all.Wait()
	in := 0
	for _, status := range codes {
		if status == http.StatusOK {
			in++
		} else {
			assert.Equal(t, http.StatusUnauthorized, status)
		}
	}
	assert.Equal(t, 1, in, codes)
}

// hidden is the value of a hidden field of a page.
func hidden(t testing.TB, body, name string) string {
	t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(body)
	require.NotNil(t, found, name)
	return found[1]
}

func TestPeopleAreAskedForTheCode(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	code, recovery := second(t, i)
	w := i.submit("/login/", loginOf("alice", "wonderland", "/app"))
	require.Equal(t, http.StatusOK, w.Code)
	assert.Empty(t, w.Header().Values("Set-Cookie"), "no session yet")
	ticket := hidden(t, w.Body.String(), "ticket")
	assert.Equal(t, "/app", hidden(t, w.Body.String(), "next"))
	assert.NotContains(t, w.Body.String(), "data:image", "the secret is not shown again")
	give := func(ticket, code string) (int, string) {
		w := i.submit("/login/", url.Values{"ticket": {ticket}, "code": {code}, "next": {"/app"}})
		return w.Code, w.Body.String()
	}
	status, body := give(ticket, "000000")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, body, "was used before")
	assert.Equal(t, ticket, hidden(t, body, "ticket"), "another try")
	status, _ = give("none", code())
	assert.Equal(t, http.StatusForbidden, status)
	w = i.submit("/login/", url.Values{"ticket": {ticket}, "code": {code()}, "next": {"/app"}})
	assert.Equal(t, "/app", w.Header().Get("Location"))
	id := sessionOf(t, w)
	found, err := records.FindSession(t.Context(), i.store, id)
	require.NoError(t, err)
	assert.Equal(t, byBoth, found.Methods)
	status, body = give(ticket, recovery[1])
	assert.Equal(t, http.StatusForbidden, status, "a ticket is used once")
	assert.Contains(t, body, "took too long")
}

func TestGroupMustHaveASecondFactor(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n session\n second_factor staff\n login_rate 100 1m\n}", djangoKey)
	w := i.post("/api/token/", credentials)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.Contains(t, w.Body.String(), "otp_setup_required")
	assert.Equal(t, http.StatusOK, i.post("/api/token/", `{"username":"carol","password":"carolpass"}`).Code, "of no such group")

	w = i.submit("/login/", loginOf("alice", "wonderland", "/app"))
	require.Equal(t, http.StatusOK, w.Code)
	assert.Empty(t, w.Header().Values("Set-Cookie"))
	body := w.Body.String()
	assert.Contains(t, body, "data:image/png;base64,")
	secret := regexp.MustCompile(`<code>([A-Z2-7]{32})</code>`).FindStringSubmatch(body)
	require.NotNil(t, secret)
	form := url.Values{"ticket": {hidden(t, body, "ticket")}, "code": {"000000"}, "next": {"/app"}}
	w = i.submit("/login/", form)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Contains(t, w.Body.String(), secret[1], "the same once more")
	code, err := totp.GenerateCode(secret[1], time.Now())
	require.NoError(t, err)
	form.Set("code", code)
	w = i.submit("/login/", form)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	assert.Equal(t, recoveryCodes, strings.Count(w.Body.String(), "<code>"))
	assert.Contains(t, w.Body.String(), `href="/app"`)
	sessionOf(t, w)
}

func TestAccountTurnsTheSecondFactorOnAndOff(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	cookie := loggedIn(t, i)
	do := func(fields ...string) string {
		form := make(url.Values)
		for n := 0; n < len(fields); n += 2 {
			form.Set(fields[n], fields[n+1])
		}
		return i.submit("/account/", form, cookie).Body.String()
	}
	body := do("do", "begin_second")
	secret := hidden(t, body, "secret")
	assert.Contains(t, do("do", "confirm_second", "secret", secret, "code", "000000"), "was used before")
	for _, bad := range []string{"", "AAAA", "not base32", secret + secret} {
		do("do", "confirm_second", "secret", bad, "code", "000000")
	}
	_, err := records.FindSecondFactor(t.Context(), i.store, "alice")
	require.Error(t, err)
	code, err := totp.GenerateCode(secret, time.Now())
	require.NoError(t, err)
	body = do("do", "confirm_second", "secret", secret, "code", code)
	assert.Equal(t, recoveryCodes, strings.Count(body, "<code>"))
	assert.Contains(t, i.post("/api/token/", credentials).Body.String(), "otp_required")
	assert.NotContains(t, i.page("/account/", cookie).Body.String(), secret)
	assert.NotContains(t, i.page("/account/", cookie).Body.String(), "<code>", "shown once")

	other := newSecret()
	code, err = totp.GenerateCode(other, time.Now())
	require.NoError(t, err)
	assert.Contains(t, do("do", "confirm_second", "secret", other, "code", code), "not filled in", "it is on already")
	assert.Contains(t, do("do", "end_second", "old", "wrong"), "not your password")
	assert.Contains(t, do("do", "end_second", "old", "wonderland"), "is off")
	for _, event := range []string{"second factor added", "second factor removed"} {
		assert.Equal(t, 1, i.logs.FilterMessage(event).Len(), event)
	}
	assert.Equal(t, http.StatusOK, i.post("/api/token/", credentials).Code)
}
