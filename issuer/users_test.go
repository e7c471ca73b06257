package issuer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

func TestUsersOfAFileLogIn(t *testing.T) {
	t.Parallel()
	hash, err := passwords.Hash("hatter-and-hare")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "htpasswd")
	require.NoError(t, os.WriteFile(file, []byte("hatter:"+hash+"\nbob:"+hash+"\n"), 0o600))
	i := configured(t, "edge_auth_issuer {\n jwt\n session\n users htpasswd "+file+"\n}", djangoKey)
	w := i.post("/api/token/", `{"username":"hatter","password":"hatter-and-hare"}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	use(t, i, fields(t, w)["refresh"])
	assert.Equal(t, http.StatusUnauthorized, i.post("/api/token/", `{"username":"hatter","password":"x"}`).Code)
	assert.Equal(t, http.StatusUnauthorized, i.post("/api/token/", `{"username":"bob","password":"hatter-and-hare"}`).Code, "the record says disabled")
	assert.Equal(t, http.StatusUnauthorized, i.post("/api/token/", credentials).Code, "not of the store")

	w = i.submit("/login/", loginOf("hatter", "hatter-and-hare", ""))
	cookie := "Cookie: __Host-edge_auth=" + sessionOf(t, w)
	assert.NotContains(t, i.page("/account/", cookie).Body.String(), "Change password")
}

func TestApplicationIsAskedWhoLogsIn(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(nil)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	t.Cleanup(app.Close)
	i := configured(t, "edge_auth_issuer {\n jwt\n session\n login_rate 100 1m\n users http "+app.URL+"/check\n}", djangoKey)
	says := func(status int, body string) {
		answer = func(w http.ResponseWriter, r *http.Request) {
			var asked map[string]string
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&asked))
			assert.Equal(t, map[string]string{"username": "dodo", "password": " caucus "}, asked)
			assert.Equal(t, http.MethodPost, r.Method)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	login := func() *httptest.ResponseRecorder {
		return i.post("/api/token/", `{"username":"dodo","password":" caucus "}`)
	}
	says(200, `{"username":"dodo","name":"The Dodo","email":"dodo@example.com","groups":["birds"],"pk":17,"more":1}`)
	w := login()
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	claims := claimsOf(t, i, fields(t, w)["access"])
	assert.Equal(t, "17", claims["user_id"])
	assert.Equal(t, "dodo", claims["sub"])
	assert.Equal(t, "The Dodo", claims["name"])
	assert.Equal(t, []any{"birds"}, claims["groups"])
	says(200, `{"groups":[]}`)
	w = login()
	require.Equal(t, http.StatusOK, w.Code)
	assert.NotContains(t, claimsOf(t, i, fields(t, w)["access"]), "groups", "what it says now counts")

	i.guard.rate.Attempts = 5
	says(500, "")
	for range 9 {
		assert.Equal(t, http.StatusServiceUnavailable, login().Code, "no guess was wrong")
	}
	i.guard.rate.Attempts = 100
	for status, want := range map[int]int{400: 401, 401: 401, 403: 401, 404: 401, 201: 503, 302: 503, 429: 503, 500: 503} {
		says(status, `{}`)
		assert.Equal(t, want, login().Code, status)
	}
	for body, want := range map[string]int{
		"": 503, "yes": 503, "[]": 503, `{"username":["a"]}`: 503, `{"username":"4711"}`: 503, `{"name":"a","name":"b"}`: 503, `{"username":null}`: 200,
		`{"a":"` + strings.Repeat("a", maxAppAnswer) + `"}`: 503,
	} {
		says(200, body)
		assert.Equal(t, want, login().Code, "%.40s", body)
	}
	no := false
	require.NoError(t, records.PutUser(t.Context(), i.store, records.User{ID: "dodo", Active: &no}))
	says(200, `{}`)
	assert.Equal(t, http.StatusUnauthorized, login().Code, "disabled here")
	app.Close()
	assert.Equal(t, http.StatusServiceUnavailable, login().Code)
	for _, entry := range i.logs.All() {
		assert.NotContains(t, entry.Message+stringOf(entry.ContextMap()), "caucus")
	}
}

func stringOf(value any) string {
	data, _ := json.Marshal(value)
	return string(data)
}

func TestMistakesAboutUsersAreToldAtLoad(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"users":                   "users needs 'htpasswd <file>'",
		"users ldap x":            "unknown kind of users 'ldap'",
		"users http app.internal": "https://app.internal/check-login",
		"users http http://a\n users http http://b": "stands twice",
	} {
		err := new(Issuer).UnmarshalCaddyfile(caddyfile.NewTestDispenser("edge_auth_issuer {\n " + line + "\n}"))
		require.ErrorContains(t, err, want)
	}
}
