package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// C74 to C76 of the catalogue: what other sites make a browser send.
func TestUnsafeRequestsByCookieNeedTheTokenOfTheLogin(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		session
		jwt
		deliver cookie
	}
	edge_auth
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr)
	g.edgeAuth("correct horse battery staple\n", "user", "add", "alice")
	login := func(path, body, kind, origin string) answer {
		return g.do(http.MethodPost, path, body, "Content-Type: "+kind, "Origin: "+origin)
	}
	form, json := "username=alice&password=correct+horse+battery+staple", `{"username":"alice","password":"correct horse battery staple"}`
	page := g.get("/login/")
	token := cookieOf(t, page, "csrftoken")
	assert.Len(t, token, 32)
	assert.Contains(t, strings.Join(page.header.Values("Set-Cookie"), "\n"), "csrftoken="+token+"; Path=/; Max-Age=31449600; Secure; SameSite=Lax")
	assert.Empty(t, g.get("/login/", "Cookie: csrftoken="+token).header.Values("Set-Cookie"), "who has one keeps it")
	assert.Equal(t, http.StatusForbidden, login("/login/", form, "application/x-www-form-urlencoded", "https://evil.example").status, "C76")

	for credential, answer := range map[string]answer{
		"__Host-edge_auth":    login("/login/", form, "application/x-www-form-urlencoded", g.url),
		"__Host-access_token": login("/api/token/", json, "application/json", g.url),
	} {
		token := cookieOf(t, answer, "csrftoken")
		cookies := "Cookie: " + credential + "=" + cookieOf(t, answer, credential) + "; csrftoken=" + token
		require.Equal(t, http.StatusOK, g.get("/", cookies).status)
		up.taken()
		assert.Regexp(t, `127\.0\.0\.1 +Go-http-client/1\.1`, g.edgeAuth("", "session", "list", "alice"), "where and what with")
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
			refused := g.do(http.MethodPost, "/", "csrfmiddlewaretoken="+token, append(headers, cookies)...)
			assert.Equal(t, http.StatusForbidden, refused.status, name)
			assert.Contains(t, refused.body, `"detail":"CSRF Failed: `, name)
			assert.Contains(t, refused.body, `"code":"csrf_failed"`, name)
		}
		assert.Empty(t, up.taken())
		large := "csrfmiddlewaretoken=" + token + "&text=" + strings.Repeat("x", 100<<10)
		for name, c := range map[string]struct {
			body    string
			headers []string
		}{
			"header": {"a=b", []string{"X-Csrftoken: " + token, "Origin: " + g.url, cookies}},
			"form":   {large, []string{"Content-Type: application/x-www-form-urlencoded", cookies}},
		} {
			require.Equal(t, http.StatusOK, g.do(http.MethodPost, "/", c.body, c.headers...).status, name)
			_, body, _ := strings.Cut(up.one(t), "\r\n\r\n")
			assert.Equal(t, c.body, body, "the whole form arrives")
		}
		// C75: the credential that was used decides.
		api := strings.Fields(g.edgeAuth("", "token", "create", "alice"))
		both := g.do(http.MethodPost, "/", "a=b", cookies, "Authorization: Token "+api[len(api)-1])
		assert.Equal(t, http.StatusOK, both.status, both.body)
		up.taken()
	}
}

// cookieOf is the value of a cookie that an answer sets.
func cookieOf(t *testing.T, a answer, name string) string {
	t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	require.Fail(t, "no cookie "+name, "%d %s %v", a.status, a.body, a.header)
	return ""
}
