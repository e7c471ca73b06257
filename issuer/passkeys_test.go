package issuer

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/records"
)

// begun is the first step of a ceremony: the token that stands for it.
func begun(t testing.TB, i *testIssuer, path string, headers ...string) string {
	t.Helper()
	w := i.post(path, "{}", append(headers, "Host: login.example.com")...)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	var body struct {
		Ceremony string
		Options  struct{ PublicKey map[string]any }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	assert.NotEmpty(t, body.Options.PublicKey["challenge"])
	return body.Ceremony
}

// A real passkey is used in integration/; here is what none may do.
func TestCeremoniesAreForOnePurposeAndOnce(t *testing.T) {
	t.Parallel()
	i := browsed(t, "passkeys example.com")
	alice := loggedIn(t, i)
	carol := i.submit("/login/", loginOf("carol", "carolpass", ""))
	carols := "Cookie: __Host-edge_auth=" + sessionOf(t, carol)
	login := begun(t, i, "/login/passkey/begin/")
	making := begun(t, i, "/account/passkey/begin/", alice)
	access := obtained(t, i)["access"]
	finish := func(path, ceremony string, headers ...string) (int, string) {
		w := i.post(path, `{"ceremony":"`+ceremony+`","credential":{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{}}}`, append(headers, "Host: login.example.com")...)
		assert.Empty(t, w.Header().Values("Set-Cookie"))
		return w.Code, w.Body.String()
	}
	for name, c := range map[string]struct {
		path, ceremony string
		headers        []string
		want           string
	}{
		"registering by one for logging in": {"/account/passkey/finish/", login, []string{alice}, "Token is invalid"},
		"logging in by one for registering": {"/login/passkey/finish/", making, nil, "Token is invalid"},
		"one of another user":               {"/account/passkey/finish/", making, []string{carols}, "Token is invalid"},
		"an access token":                   {"/login/passkey/finish/", access, nil, "Token has wrong type"},
		"garbage":                           {"/login/passkey/finish/", "x", nil, "Token is invalid"},
	} {
		status, body := finish(c.path, c.ceremony, c.headers...)
		assert.Equal(t, http.StatusUnauthorized, status, name)
		assert.Contains(t, body, c.want, name)
	}
	for _, want := range []string{"The passkey will not do.", "Token is blacklisted"} {
		for path, ceremony := range map[string]string{"/login/passkey/finish/": login, "/account/passkey/finish/": making} {
			status, body := finish(path, ceremony, alice)
			assert.Equal(t, http.StatusUnauthorized, status)
			assert.Contains(t, body, want, "once")
		}
	}
	late := begun(t, i, "/login/passkey/begin/")
	now := time.Now().Add(ceremonyLifetime + time.Second)
	i.now = func() time.Time { return now }
	_, body := finish("/login/passkey/finish/", late)
	assert.Contains(t, body, "Token is expired")
	assert.Equal(t, http.StatusUnauthorized, i.post("/api/token/passkey/finish/", `{"ceremony":"x","credential":{}}`, "Host: example.com").Code)

	found, err := records.FindPasskeys(t.Context(), i.store, "alice")
	require.NoError(t, err)
	assert.False(t, found.Kept())
	// A ceremony is no token for anything else.
	assert.Equal(t, http.StatusUnauthorized, i.post("/api/token/refresh/", `{"refresh":"`+login+`"}`).Code)
}

func TestPasskeysAreForTheirDomain(t *testing.T) {
	t.Parallel()
	i := browsed(t, "passkeys example.com")
	for host, want := range map[string]int{
		"example.com": 200, "login.example.com:8443": 200, "evil.example": 400, "notexample.com": 400, "example.com.evil.example": 400, "": 400,
	} {
		assert.Equal(t, want, i.post("/login/passkey/begin/", "{}", "Host: "+host).Code, host)
	}
	assert.Equal(t, http.StatusForbidden, i.post("/login/passkey/begin/", "{}", "Host: example.com", "Origin: https://evil.example").Code)
	assert.Equal(t, http.StatusUnauthorized, i.post("/account/passkey/begin/", "{}", "Host: example.com").Code, "not logged in")
	body := i.page("/login/")
	assert.Contains(t, body.Body.String(), "Log in with a passkey")
	assert.Contains(t, body.Header().Get("Content-Security-Policy"), "script-src 'nonce-")

	none := browsed(t, "")
	assert.Equal(t, http.StatusTeapot, none.post("/login/passkey/begin/", "{}").Code)
	assert.NotContains(t, none.page("/login/").Body.String(), "<script")
	assert.NotContains(t, none.page("/login/").Header().Get("Content-Security-Policy"), "script-src")
}
