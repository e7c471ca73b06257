package attacks

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// logInAs is the form of the login page.
func logInAs(user, password, next string) string {
	return url.Values{"username": {user}, "password": {password}, "next": {next}}.Encode()
}

func (e entry) submit(form string, headers ...string) harness.Answer {
	e.t.Helper()
	return e.send(http.MethodPost, "/login/", form, append([]string{asForm}, headers...)...)
}

// sessions are those that an answer begins.
func sessions(a harness.Answer) []string {
	var found []string
	for _, cookie := range a.Header.Values("Set-Cookie") {
		if pair, _, _ := strings.Cut(cookie, ";"); strings.HasPrefix(pair, "__Host-edge_auth=") {
			found = append(found, pair)
		}
	}
	return found
}

func TestLoginRowsByEachDoor(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	g, up := startIssuer(t, "", "10000 1m")
	g.EdgeAuth("builders!\n", "user", "add", "bob")
	g.EdgeAuth("", "user", "disable", "bob")
	byEachDoor(t, g, up, func(e entry) {
		run := func(name string, row func(e entry)) {
			e.t.Run(name, func(t *testing.T) { row(entry{g, t, e.door, up}) })
		}
		run("R02 L10 who there is", func(e entry) {
			for _, path := range []string{"/api/token/", "/api-token-auth/", "/login/"} {
				answers := make(map[string]bool)
				for _, pair := range [][2]string{{"alice", "wrong"}, {"bob", "wrong"}, {"bob", "builders!"}, {"nobody", "wrong"}, {"\x01", "wrong"}} {
					a := e.post(path, fmt.Sprintf(`{"username":%q,"password":%q}`, strings.ReplaceAll(pair[0], "\x01", "nob ody"), pair[1]))
					answers[fmt.Sprint(a.Status, a.Body, headersOf(a))] = true
				}
				assert.Len(e.t, answers, 1, "%s tells them apart: %v", path, answers)
			}
		})
		run("L12 half a login", func(e entry) {
			for _, a := range []harness.Answer{
				e.submit(""), e.submit("username=alice"), e.submit("password=wonderland"), e.send("GET", "/login/?username=alice&password=looking-glass", ""),
				e.send("HEAD", "/login/", ""), e.send("PUT", "/login/", logInAs("alice", "wonderland", ""), asForm),
			} {
				assert.Empty(e.t, sessions(a))
				assert.Contains(e.t, []int{200, 400, 405}, a.Status)
			}
		})
		run("L30 L31 L32 L33 L35 L36 L37 where a login leads", func(e entry) {
			for _, next := range []string{
				"//evil", "///evil", `/\evil`, `\/evil`, "/%09/evil", "/\t/evil", "/%5cevil", "https://evil", "http:evil", "https:/evil", "javascript:alert(1)", "data:text/html,x",
				"\x01javascript:x", "/a\r\nSet-Cookie: x=y", "/a\x00", "/%0d%0aSet-Cookie:x=y", "https://localhost@evil", "https://localhost#@evil", `https://localhost\@evil`,
				"https://localhost.evil", "admin", "./", "../", "?x", "#x", "", "/login/?next=/login/?next=/login/",
			} {
				a := e.submit(logInAs("alice", "wonderland", next))
				assert.Equal(e.t, 303, a.Status, "%q", next)
				assert.Equal(e.t, []string{"/"}, a.Header.Values("Location"), "%q", next)
				assert.Len(e.t, sessions(a), 1)
				assert.Len(e.t, a.Header.Values("Set-Cookie"), 2, "ours and that of CSRF: %q", next)
			}
			a := e.submit(logInAs("alice", "wonderland", "/app?a=b#c"))
			assert.Equal(e.t, "/app?a=b#c", a.Header.Get("Location"))
		})
		run("L38 two nexts", func(e entry) {
			a := e.submit(logInAs("alice", "wonderland", "/a") + "&next=//evil")
			assert.Equal(e.t, 400, a.Status)
			assert.Empty(e.t, sessions(a))
		})
		run("L39 L40 who is sent to the login page", func(e entry) {
			for _, c := range []struct {
				method  string
				headers []string
				status  int
			}{
				{"GET", []string{"Accept: text/html"}, 302},
				{"HEAD", []string{"Accept: text/html"}, 302},
				{"GET", []string{"Sec-Fetch-Mode: navigate"}, 302},
				{"GET", []string{"Sec-Fetch-Mode: cors", "Accept: text/html"}, 401},
				{"GET", []string{"Sec-Fetch-Mode: no-cors", "Accept: text/html"}, 401},
				{"GET", []string{"Accept: */*"}, 401},
				{"GET", []string{"Accept: application/json, text/html;q=0.1"}, 401},
				{"GET", nil, 401},
				{"POST", []string{"Accept: text/html"}, 401},
				{"POST", []string{"Sec-Fetch-Mode: navigate", "Accept: text/html"}, 401},
				{"PUT", []string{"Accept: text/html"}, 401},
			} {
				a := e.send(c.method, "/app?x=1", "", c.headers...)
				e.refused(c.status, a)
				if c.status == 302 {
					assert.Equal(e.t, "/login/?next=%2Fapp%3Fx%3D1", a.Header.Get("Location"), "%v", c)
				}
			}
			e.refused(401, e.send("POST", "/app", "card=tulips-and-roses", asForm, "Accept: text/html"))
		})
		run("L41 L42 pages", func(e entry) {
			const evil = `"><script>alert(1)</script>`
			for _, a := range []harness.Answer{
				e.send("GET", "/login/?next="+url.QueryEscape(evil), ""), e.submit(logInAs(evil, evil, evil)), e.submit(logInAs(evil, "", evil)), e.send("GET", "/logout/?"+url.QueryEscape(evil), ""),
			} {
				assert.NotContains(e.t, a.Body, "<script")
				for name, want := range map[string]string{
					"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "Referrer-Policy": "same-origin",
				} {
					assert.Contains(e.t, a.Header.Get(name), want, name)
				}
			}
			e.refused(403, e.submit(logInAs("alice", "wonderland", ""), "Origin: https://evil.example"))
			e.refused(403, e.submit(logInAs("alice", "wonderland", ""), "Sec-Fetch-Site: cross-site"))
		})
		run("L43 L44 a whole login", func(e entry) {
			a := e.send("GET", "/app", "", "Sec-Fetch-Mode: navigate")
			page := e.send("GET", a.Header.Get("Location"), "")
			assert.Contains(e.t, page.Body, `<form method="post"`)
			assert.Contains(e.t, page.Body, `value="/app"`)
			a = e.submit(logInAs("alice", "wonderland", "/app"))
			assert.NotContains(e.t, a.Header.Get("Location")+a.Body, "wonderland")
			other := e.submit(logInAs("alice", "wonderland", "/b"))
			for _, tab := range []harness.Answer{a, other} {
				require.Len(e.t, sessions(tab), 1)
				e.passes("Cookie: " + sessions(tab)[0])
			}
		})
	})
	for line := range strings.Lines(g.Log.String()) {
		for _, secret := range []string{"=wonderland", `"wonderland`, "builders!", "tulips-and-roses", "__Host-edge_auth="} {
			assert.NotContains(t, line, secret)
		}
	}
}

// Guesses are few, from whichever door they come and whatever they say of their
// address; the right password is a guess like any other while they are.
func TestL20L23GuessesAreFewHoweverTheyComeIn(t *testing.T) { //nolint:tparallel // the doors share a count
	t.Parallel()
	g, up := startIssuer(t, "", "5 1m")
	doors := harness.Doors
	for n := range 12 {
		e := entry{g, t, doors[n%len(doors)], up}
		headers := []string{fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", n), fmt.Sprintf("X-Real-IP: 192.0.2.%d", n), fmt.Sprintf("Forwarded: for=192.0.2.%d", n), fmt.Sprintf("CF-Connecting-IP: 192.0.2.%d", n)}
		path := []string{"/api/token/", "/api-token-auth/", "/login/", "/spa/api/token/"}[n%4]
		password := "wrong"
		if n >= 5 {
			password = "wonderland"
		}
		a := e.post(path, fmt.Sprintf(`{"username":%q,"password":%q}`, []string{"alice", "ALICE", " alice"}[n%3], password), headers...)
		if n < 5 {
			assert.Contains(t, []int{400, 401}, a.Status, "%s, as its Django has it: %s", path, a.Body)
			continue
		}
		e.refused(429, a)
		assert.NotEmpty(t, a.Header.Get("Retry-After"))
		assert.Contains(t, a.Body, "throttled")
		assert.Empty(t, a.Header.Values("Set-Cookie"))
	}
}

// Behind a proxy that is trusted, its word counts: users are told apart, and each of
// many addresses adds to one user's count.
func TestL20L23GuessesFromManyAddressesAreOneUsers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "servers {\n trusted_proxies static 127.0.0.1/32\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		login_rate 5 1m
	}
}`)
	for _, user := range []string{"alice", "carol"} {
		g.EdgeAuth("wonderland\n", "user", "add", user)
	}
	guess := func(from int, user, password string) int {
		return g.PostJSON("/api/token/", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password), fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", from)).Status
	}
	require.Equal(t, 200, guess(99, "carol", "wonderland"))
	for n := range 5 {
		require.Equal(t, 401, guess(n, "alice", "wrong"), "many addresses for one user")
		require.Equal(t, 401, guess(50, fmt.Sprintf("user%d", n), "wrong"), "one address for many users")
	}
	assert.Equal(t, 429, guess(10, "alice", "wonderland"))
	assert.Equal(t, 429, guess(50, "carol", "wonderland"))
	assert.Equal(t, 200, guess(51, "carol", "wonderland"), "others are not kept waiting")
	for n := range 9 {
		guess(100+n, "carol", "wrong")
	}
	assert.Equal(t, 429, guess(120, "carol", "wonderland"))
	assert.Equal(t, 200, guess(99, "carol", "wonderland"), "nobody locks her out of her own place")
}
