package issuer

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlainHTTPIsWhereBrowsersKeepNoCookieOfOurs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, header string
		want         bool
	}{
		{"app.example.com", "", true},
		{"192.0.2.1:8080", "", true},
		{"[2001:db8::1]:8080", "", true},
		{"localhost.example.com", "", true},
		{"notlocalhost", "", true},
		{"app.example.com", "Origin: http://app.example.com", true},
		{"app.example.com", "X-Forwarded-Proto: http", true},
		{"app.example.com", "X-Forwarded-Proto: http, https", true}, // the first is the browser's
		{"localhost", "", false},
		{"LOCALHOST:8080", "", false},
		{"app.localhost:8080", "", false},
		{"127.0.0.1:8080", "", false},
		{"127.9.9.9", "", false},
		{"[::1]:8080", "", false},
		{"[::1]", "", false},
		{"app.example.com", "Origin: https://app.example.com", false},
		{"app.example.com", "Sec-Fetch-Site: none", false},
		{"app.example.com", "X-Forwarded-Proto: https", false},
		{"app.example.com", "X-Forwarded-Proto: HTTPS , http", false},
		{"app.example.com", `Forwarded: for=192.0.2.1;Proto=https`, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/login/", nil)
		r.Host = c.host
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(name, value)
		}
		assert.Equal(t, c.want, byPlainHTTP(r), c)
		r.TLS = new(tls.ConnectionState)
		assert.False(t, byPlainHTTP(r), c)
	}
}

// told are the warnings of plain HTTP about a host.
func (i *testIssuer) toldOf(host string) int {
	n := 0
	for _, entry := range i.logs.FilterMessageSnippet("by plain HTTP").All() {
		if entry.ContextMap()["host"] == host {
			n++
		}
	}
	return n
}

// newHost is a host that the process, which keeps those that it warned of, has not seen.
func newHost(name string) string { return name + "-" + strings.ToLower(rand.Text()) + ".example.com" }

const noLogin = "over which your browser keeps no login"

func TestS23LoginThatWouldBeLostIsToldAndNotMade(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	const form = "Content-Type: application/x-www-form-urlencoded"
	host := newHost("lost")
	for range 2 {
		w := i.page("/login/?next=/app", "Host: "+host, "Upgrade-Insecure-Requests: 1")
		require.Equal(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Body.String(), noLogin)
		w = i.post("/login/", loginOf("alice", "wonderland", "/app").Encode(), "Host: "+host, "Origin: http://"+host, form)
		assert.Equal(t, http.StatusForbidden, w.Code)
		assert.Contains(t, w.Body.String(), noLogin)
		assert.Contains(t, w.Body.String(), `value="/app"`)
		assert.Empty(t, w.Header()["Set-Cookie"])
	}
	assert.Equal(t, 1, i.toldOf(host), "once")
	w := i.post("/login/", `{"username":"alice","password":"wonderland"}`, "Host: "+host, "Origin: http://"+host)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Equal(t, "plain_http", fields(t, w)["code"])
	assert.Empty(t, i.logs.FilterMessage("login").All(), "nobody is logged in")

	for name, headers := range map[string][]string{
		"a program":         {"Host: " + host},
		"behind a proxy":    {"Host: " + host, "Origin: https://" + host},
		"the own machine":   {"Host: localhost:8080", "Origin: http://localhost:8080"},
		"a proxy that says": {"Host: " + host, "Origin: http://" + host, "X-Forwarded-Proto: https"},
	} {
		w := i.post("/login/", loginOf("alice", "wonderland", "/app").Encode(), append(headers, form)...)
		assert.Equal(t, http.StatusSeeOther, w.Code, name)
	}
	assert.NotContains(t, i.page("/login/", "Host: localhost").Body.String(), noLogin)
	assert.Equal(t, 1, i.toldOf(host))
}

func TestProbesOfALoginPageWarnOfNothing(t *testing.T) {
	t.Parallel()
	i := browsed(t, "")
	assert.Contains(t, i.page("/login/", "Host: probed.example.com").Body.String(), noLogin)
	assert.Zero(t, i.toldOf("probed.example.com"))
}

func TestTokensInCookiesThatAreLostAreWarnedAboutOnce(t *testing.T) {
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n deliver cookie\n}", djangoKey)
	host := newHost("spa")
	for range 2 {
		w := i.post("/api/token/", `{"username":"alice","password":"wonderland"}`, "Host: "+host, "Origin: http://"+host)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
	}
	assert.Equal(t, 1, i.toldOf(host))
}

func TestHostsThatClientsNameFillNeitherMemoryNorTheLog(t *testing.T) {
	t.Parallel()
	var told hosts
	lines := 0
	for n := range 10_000 { // within ten seconds
		if told.first(fmt.Sprint(n), time.Second+time.Duration(n)*time.Millisecond) {
			lines++
		}
	}
	assert.Equal(t, firstHosts+1, lines)
	assert.False(t, told.first("0", time.Hour), "once is enough")
	assert.True(t, told.first("app.example.com", time.Hour), "whatever others have named")
	for n := range 2 * maxHosts {
		assert.True(t, told.first(fmt.Sprint("later ", n), time.Hour+time.Duration(n+1)*hostsEvery))
	}
	assert.Len(t, told.told, maxHosts)
}
