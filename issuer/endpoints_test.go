package issuer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// configured is an issuer as a Caddyfile describes it.
func configured(t testing.TB, text, key string) *testIssuer {
	t.Helper()
	i := new(Issuer)
	require.NoError(t, i.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)))
	return newTestIssuer(t, i, key)
}

func (i *testIssuer) get(method, path string) *httptest.ResponseRecorder {
	i.t.Helper()
	return i.serve(httptest.NewRequestWithContext(i.t.Context(), method, path, nil))
}

func TestOnlyEndpointsAreAnswered(t *testing.T) {
	t.Parallel()
	usual := "/api/token/ /api/token /api/token/refresh/ /api/token/verify /api/token/blacklist/ /api-token-auth/ /.well-known/jwks.json"
	for config, paths := range map[string][2]string{ // those that are, and those that are not
		"edge_auth_issuer":                                                {usual, "/ /api/ /api/token/x /api/tokens/ /api/token/refresh/x /API/token/ /.well-known/openid-configuration /.well-known/jwks"},
		"edge_auth_issuer {\n jwt /auth/jwt\n}":                           {"/auth/jwt /auth/jwt/ /auth/jwt/refresh/", "/api/token/ /api-token-auth/ /.well-known/jwks.json /auth/"},
		"edge_auth_issuer {\n token /t/\n jwks /keys\n}":                  {"/t /t/ /keys", "/api/token/"},
		"edge_auth_issuer {\n jwks\n issuer https://login.example.com\n}": {"/.well-known/jwks.json /.well-known/openid-configuration", "/api/token/"},
	} {
		i := configured(t, config, djangoKey)
		for answered, list := range map[bool]string{true: paths[0], false: paths[1]} {
			for path := range strings.FieldsSeq(list) {
				got := i.get(http.MethodDelete, path).Code
				assert.Equal(t, map[bool]int{true: http.StatusMethodNotAllowed, false: http.StatusTeapot}[answered], got, "%s: %s", config, path)
			}
		}
	}
}

func TestR45OptionsTellsWhatIsAllowed(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer", djangoKey)
	for path, want := range map[string]string{"/api/token/": "POST, OPTIONS", "/.well-known/jwks.json": "GET, HEAD, OPTIONS"} {
		w := i.get(http.MethodOptions, path)
		assert.Equal(t, http.StatusNoContent, w.Code)
		assert.Equal(t, want, w.Header().Get("Allow"))
	}
}

func TestMistakesAreToldAtLoad(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"edge_auth_issuer x":                                  "wrong argument count",
		"edge_auth_issuer {\n foo\n}":                         "unknown option 'foo'",
		"edge_auth_issuer {\n jwt a b\n}":                     "wrong argument count",
		"edge_auth_issuer {\n jwt api\n}":                     "path 'api'",
		"edge_auth_issuer {\n jwt /\n}":                       "path '/'",
		"edge_auth_issuer {\n jwt /a\n token /a/\n}":          "two endpoints at '/a/'",
		"edge_auth_issuer {\n token {\n foo\n }\n}":           "unknown token option 'foo'",
		"edge_auth_issuer {\n token\n access_lifetime 5m\n}":  "without the line 'jwt'",
		"edge_auth_issuer {\n access_lifetime 5\n}":           "a duration such as",
		"edge_auth_issuer {\n access_lifetime 2d\n}":          "shorter than access_lifetime",
		"edge_auth_issuer {\n refresh_lifetime 900d\n}":       "1s to",
		"edge_auth_issuer {\n rotate_refresh on\n}":           "only 'off' may follow",
		"edge_auth_issuer {\n deliver header\n}":              "body or cookie would do",
		"edge_auth_issuer {\n login_rate 5\n}":                "a number and a duration",
		"edge_auth_issuer {\n login_rate many 1m\n}":          "a number of attempts",
		"edge_auth_issuer {\n login_rate 0 1m\n}":             "a number from 1 on",
		"edge_auth_issuer {\n login_rate 5 soon\n}":           "a duration is needed",
		"edge_auth_issuer {\n issuer example.com\n}":          "https://login.example.com",
		"edge_auth_issuer {\n trusted_origins example.com\n}": "scheme and host are needed",
		"edge_auth_issuer {\n claim sub groups\n}":            "another name is needed",
		"edge_auth_issuer {\n claim a b\n}":                   "unknown field 'b'",
		"edge_auth_issuer {\n claim a\n}":                     "a name and a field",
		"edge_auth_issuer {\n audience\n}":                    "wrong argument count",
	} {
		err := new(Issuer).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		assert.ErrorContains(t, err, want, text)
	}
}

func TestOpaqueTokensAreOneALoginOrOneAUser(t *testing.T) {
	t.Parallel()
	obtain := func(i *testIssuer) string {
		w := i.post("/api-token-auth/", credentials)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		return fields(t, w)["token"]
	}
	many := configured(t, "edge_auth_issuer {\n token {\n lifetime 90d\n }\n}", djangoKey)
	first := obtain(many)
	assert.NotEqual(t, first, obtain(many))
	found, err := records.FindToken(t.Context(), many.store, first)
	require.NoError(t, err)
	assert.Equal(t, "alice", found.User)
	assert.Nil(t, found.Groups, "those of the user at the time")
	assert.Equal(t, "alice", found.CreatedBy)
	assert.InDelta(t, (90 * 24 * time.Hour).Seconds(), time.Until(found.Expires).Seconds(), 60)

	single := configured(t, "edge_auth_issuer {\n token {\n single\n }\n}", djangoKey)
	first = obtain(single)
	assert.Equal(t, first, obtain(single))
	found, err = records.FindToken(t.Context(), single.store, first)
	require.NoError(t, err)
	assert.True(t, found.Expires.IsZero())
	require.NoError(t, records.RevokeToken(t.Context(), single.store, found.ID))
	second := obtain(single)
	assert.NotEqual(t, first, second, "what was revoked never comes back")
	assert.Equal(t, second, obtain(single))
	require.NoError(t, records.RemoveUser(t.Context(), single.store, "alice", time.Now()))
	_, err = records.FindToken(t.Context(), single.store, second)
	require.Error(t, err)
}

func TestK35PublicKeysAreShownAndSecretsAreNot(t *testing.T) {
	t.Parallel()
	const private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGTA7rAMcrn9g\n-----END PRIVATE KEY-----"
	i := configured(t, "edge_auth_issuer {\n jwt\n jwks\n issuer https://login.example.com/\n}", private)
	w := i.get(http.MethodGet, "/.well-known/jwks.json")
	require.Equal(t, http.StatusOK, w.Code)
	loaded, err := keys.Read(w.Body.Bytes(), "")
	require.NoError(t, err)
	require.Len(t, loaded.Keys, 1)
	assert.NotContains(t, w.Body.String(), `"d"`)
	assert.Contains(t, w.Header().Get("Cache-Control"), "max-age=300")
	token := obtained(t, i)["access"]
	dot := strings.LastIndexByte(token, '.')
	found, err := keys.Static(loaded.Keys).Find(t.Context(), loaded.Keys[0].ID, "EdDSA")
	require.NoError(t, err)
	signature, err := base64URL(token[dot+1:])
	require.NoError(t, err)
	require.NoError(t, found[0].Verify("EdDSA", []byte(token[:dot]), signature))

	w = i.get(http.MethodGet, "/.well-known/openid-configuration")
	require.Equal(t, http.StatusOK, w.Code)
	assert.JSONEq(t, `{"issuer":"https://login.example.com/","jwks_uri":"https://login.example.com/.well-known/jwks.json",
		"response_types_supported":[],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["EdDSA"]}`, w.Body.String())
	w = i.get(http.MethodHead, "/.well-known/jwks.json")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Empty(t, w.Body.String())

	secret := configured(t, "edge_auth_issuer {\n jwks\n}", djangoKey)
	assert.JSONEq(t, `{"keys":[]}`, secret.get(http.MethodGet, "/.well-known/jwks.json").Body.String())
}

func TestR01BadBodiesAreToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n login_rate 1000 1m\n}", djangoKey)
	for body, want := range map[string]struct {
		code int
		text string
	}{
		`{"username":"alice","password":"wonderland"} x`:                       {400, "JSON parse error"},
		`{"username":"alice","password":"wonderland","username":"carol"}`:      {400, "JSON parse error"},
		`{"username":"alice","password":"\ud800"}`:                             {400, "Not a valid string."},
		`{"username":"alice","password":"x","a":` + strings.Repeat("[", 30000): {400, "JSON parse error"},
		`{"username":"` + strings.Repeat("a", maxBody) + `"}`:                  {400, "larger than 65536 bytes"},
		"\ufeff" + credentials:                                                 {400, "JSON parse error"},
		`null`:                                                                 {400, "but got NoneType"},
		`1.5`:                                                                  {400, "but got float"},
		`{"username":"` + strings.Repeat("a", 5000) + `","password":"x"}`:      {401, "No active account"},
		`{"username":"alice","password":"` + strings.Repeat("wonderland", 200) + `"}`: {401, "No active account"},
	} {
		w := i.post("/api/token/", body)
		assert.Equal(t, want.code, w.Code, "%.60s", body)
		assert.Contains(t, w.Body.String(), want.text, "%.60s", body)
		assert.True(t, json.Valid(w.Body.Bytes()))
	}
	for kind, code := range map[string]int{
		"application/json; charset=utf-16": 415, "application/vnd.api+json": 415, "text/json": 415, "multipart/form-data": 400, "multipart/form-data; boundary=x": 400,
		"application/x-www-form-urlencoded": 400, "; x": 415,
	} {
		w := i.post("/api/token/", credentials, "Content-Type: "+kind)
		assert.Equal(t, code, w.Code, kind)
	}
}
