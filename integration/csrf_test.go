package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// What other sites make a browser send.
func TestC74C75C76UnsafeRequestsByCookieNeedTheTokenOfTheLogin(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		session
		jwt
		deliver cookie
	}
	edge_auth
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse battery staple\n", "user", "add", "alice")
	login := func(path, body, kind, origin string) harness.Answer {
		return g.Do(http.MethodPost, path, body, "Content-Type: "+kind, "Origin: "+origin)
	}
	form, json := "username=alice&password=correct+horse+battery+staple", `{"username":"alice","password":"correct horse battery staple"}`
	page := g.Get("/login/")
	token := cookieOf(t, page, "csrftoken")
	assert.Len(t, token, 32)
	assert.Contains(t, strings.Join(page.Header.Values("Set-Cookie"), "\n"), "csrftoken="+token+"; Path=/; Max-Age=31449600; Secure; SameSite=Lax")
	assert.Empty(t, g.Get("/login/", "Cookie: csrftoken="+token).Header.Values("Set-Cookie"), "who has one keeps it")
	assert.Equal(t, http.StatusForbidden, login("/login/", form, "application/x-www-form-urlencoded", "https://evil.example").Status, "C76")

	for credential, answer := range map[string]harness.Answer{
		"__Host-edge_auth":    login("/login/", form, "application/x-www-form-urlencoded", g.URL),
		"__Host-access_token": login("/api/token/", json, "application/json", g.URL),
	} {
		token := cookieOf(t, answer, "csrftoken")
		cookies := "Cookie: " + credential + "=" + cookieOf(t, answer, credential) + "; csrftoken=" + token
		require.Equal(t, http.StatusOK, g.Get("/", cookies).Status)
		up.Taken()
		assert.Regexp(t, `127\.0\.0\.1 +Go-http-client/1\.1`, g.EdgeAuth("", "session", "list", "alice"), "where and what with")
		for name, headers := range map[string][]string{
			"no token":          nil,
			"of another login":  {"X-Csrftoken: " + csrfSecret},
			"other site":        {"X-Csrftoken: " + token, "Origin: https://evil.example"},
			"null":              {"X-Csrftoken: " + token, "Origin: null"},
			"sibling":           {"X-Csrftoken: " + token, "Origin: http://evil.127.0.0.1"},
			"cross-site":        {"X-Csrftoken: " + token, "Sec-Fetch-Site: cross-site"},
			"in a cookie alone": {"Cookie: x=" + token},
			"in the query":      {"X-Original-Url: /?csrfmiddlewaretoken=" + token},
			"as text":           {"Content-Type: text/plain"},
		} {
			refused := g.Do(http.MethodPost, "/", "csrfmiddlewaretoken="+token, append(headers, cookies)...)
			assert.Equal(t, http.StatusForbidden, refused.Status, name)
			assert.Contains(t, refused.Body, `"detail":"CSRF Failed: `, name)
			assert.Contains(t, refused.Body, `"code":"csrf_failed"`, name)
		}
		assert.Empty(t, up.Taken())
		large := "csrfmiddlewaretoken=" + token + "&text=" + strings.Repeat("x", 100<<10)
		for name, c := range map[string]struct {
			body    string
			headers []string
		}{
			"header": {"a=b", []string{"X-Csrftoken: " + token, "Origin: " + g.URL, cookies}},
			"form":   {large, []string{"Content-Type: application/x-www-form-urlencoded", cookies}},
		} {
			require.Equal(t, http.StatusOK, g.Do(http.MethodPost, "/", c.body, c.headers...).Status, name)
			_, body, _ := strings.Cut(up.One(t), "\r\n\r\n")
			assert.Equal(t, c.body, body, "the whole form arrives")
		}
		// C75: the credential that was used decides.
		api := strings.Fields(g.EdgeAuth("", "token", "create", "alice"))
		both := g.Do(http.MethodPost, "/", "a=b", cookies, "Authorization: Token "+api[len(api)-1])
		assert.Equal(t, http.StatusOK, both.Status, both.Body)
		up.Taken()
	}
}

// cookieOf is the value of a cookie that an answer sets.
func cookieOf(t *testing.T, a harness.Answer, name string) string {
	t.Helper()
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	require.Fail(t, "no cookie "+name, "%d %s %v", a.Status, a.Body, a.Header)
	return ""
}
