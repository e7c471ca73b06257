package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// startDjango runs a real Django with its sessions in Redis, and returns its URL.
func startDjango(t testing.TB, redisURL string) string {
	t.Helper()
	return startPython(t, "/whoami/", "django/site.py", redisURL, t.TempDir())
}

// startPython runs a site until the test ends, with a free port before its
// arguments, and returns its URL as soon as it answers at path.
func startPython(t testing.TB, path, script string, args ...string) string {
	t.Helper()
	port := freeport.Take(t)
	// Debian's Python has Debian's Django; another Python in PATH would not.
	return "http://" + startSite(t, port, path, append([]string{"/usr/bin/python3", script, port}, args...)...)
}

// djangoLogin logs alice in at the Django app and returns her session cookie.
func djangoLogin(t testing.TB, base string) string {
	t.Helper()
	resp, err := http.PostForm(base+"/login/", url.Values{"username": {"alice"}, "password": {"wonderland"}})
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for _, c := range resp.Cookies() {
		if c.Name == "sessionid" {
			return "Cookie: sessionid=" + c.Value
		}
	}
	require.Fail(t, "Django set no session cookie")
	return ""
}

func TestDjangoLoginIsKnownAtTheGatewayAndEndsWithDjangosLogout(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	django := startDjango(t, redis.URL())
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session django
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)

	assert.Equal(t, http.StatusUnauthorized, g.Get("/").Status)
	cookie := djangoLogin(t, django)
	passed := g.Get("/", cookie, "Remote-User: admin")
	assert.Equal(t, http.StatusOK, passed.Status, passed.Body)
	got := up.One(t)
	assert.Equal(t, []string{"1"}, harness.HeaderOf(got, "Remote-User"), "Django's primary key")
	assert.Equal(t, []string{strings.TrimPrefix(cookie, "Cookie: ")}, harness.HeaderOf(got, "Cookie"), "the app's own cookie stays")

	assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie+"x").Status)
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie+"; sessionid=00000000000000000000000000000000").Status, "never pick one of two")

	req, err := http.NewRequest(http.MethodGet, django+"/logout/", nil)
	require.NoError(t, err)
	req.Header.Set("Cookie", strings.TrimPrefix(cookie, "Cookie: "))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie).Status, "the very next request")
	assert.Empty(t, up.Taken())
}

func TestAnonymousDjangoSessionIsNobody(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session django
		optional
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	id := strings.Repeat("a", 32)
	redis.Do(t, "SET", ":1:django.contrib.sessions.cache"+id, `{"cart": [1, 2]}`)
	assert.Equal(t, http.StatusOK, g.Get("/", "Cookie: sessionid="+id).Status)
	assert.Empty(t, harness.HeaderOf(up.One(t), "Remote-User"))
}
