package attacks

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

const sessionCookie = "__Host-edge_auth"

// loginSite is a site with a login page, before what it guards.
func loginSite(t *testing.T, global string) *credentialSite {
	t.Helper()
	s := newCredentialSite(t, global, "session", "edge_auth_issuer {\n session\n login_rate 1000 1m\n }")
	s.admin("/users", `{"id":"alice","password":"correct horse"}`)
	s.admin("/users", `{"id":"bob","password":"correct horse"}`)
	return s
}

// submit sends a form as a page of this site does.
func (s *credentialSite) submit(t *testing.T, door harness.Door, path, form string, headers ...string) harness.Answer {
	t.Helper()
	a, err := door.Ask(t, s.g, harness.Request{
		Method: http.MethodPost, Path: path, Body: form,
		Headers: append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...),
	})
	require.NoError(t, err)
	return a
}

// origin is this site's own, as browsers say it.
func (s *credentialSite) origin() string {
	return "Origin: https://localhost:" + s.g.URL[strings.LastIndexByte(s.g.URL, ':')+1:]
}

// logIn returns the cookie of a new session.
func (s *credentialSite) logIn(t *testing.T, door harness.Door, user string, headers ...string) string {
	t.Helper()
	a := s.submit(t, door, "/login/", "username="+user+"&password=correct+horse", append(headers, s.origin())...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	return sessionCookieOf(t, a).Value
}

func sessionCookieOf(t *testing.T, a harness.Answer) *http.Cookie {
	t.Helper()
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == sessionCookie {
			return c
		}
	}
	require.Fail(t, "no session cookie", "%v", a.Header)
	return nil
}

// status is how the guarded page answers who has a session.
func (s *credentialSite) status(t *testing.T, door harness.Door, id string) int {
	t.Helper()
	a, err := door.Ask(t, s.g, harness.Request{Path: "/guarded/x", Headers: []string{"Cookie: " + sessionCookie + "=" + id}})
	require.NoError(t, err)
	return a.Status
}

func TestLoginsAndFixation(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	s := loginSite(t, "")
	for _, door := range harness.Doors {
		t.Run("S20 an id that the client brings, "+door.Name, func(t *testing.T) {
			id := s.logIn(t, door, "alice", "Cookie: "+sessionCookie+"="+unknownSession)
			assert.NotEqual(t, unknownSession, id)
			assert.Equal(t, 401, s.status(t, door, unknownSession))
			assert.Equal(t, 200, s.status(t, door, id), "the baseline")
		})
		t.Run("S20 S22 a session of another, "+door.Name, func(t *testing.T) {
			bobs := s.logIn(t, door, "bob")
			alices := s.logIn(t, door, "alice", "Cookie: "+sessionCookie+"="+bobs)
			assert.NotEqual(t, bobs, alices)
			assert.Equal(t, 401, s.status(t, door, bobs), "the one before has ended")
			s.up.Taken()
			assert.Equal(t, 200, s.status(t, door, alices))
			assert.Equal(t, []string{"alice"}, harness.HeaderOf(s.up.One(t), "Remote-User"))
		})
		t.Run("S21 an id in the query, in a field and under other names, "+door.Name, func(t *testing.T) {
			field := sessionCookie + "=" + unknownSession
			a := s.submit(t, door, "/login/?"+field+"&session="+unknownSession, "username=alice&password=correct+horse&"+field+"&sessionid="+unknownSession,
				"Cookie: edge_auth="+unknownSession, s.origin())
			require.Equal(t, http.StatusSeeOther, a.Status)
			assert.NotEqual(t, unknownSession, sessionCookieOf(t, a).Value)
			assert.Equal(t, 401, s.status(t, door, unknownSession))
		})
		t.Run("S23 the cookie, "+door.Name, func(t *testing.T) {
			a := s.submit(t, door, "/login/", "username=alice&password=correct+horse", s.origin())
			c := sessionCookieOf(t, a)
			assert.True(t, c.HttpOnly && c.Secure && c.Path == "/" && c.Domain == "" && c.SameSite == http.SameSiteLaxMode, "%v", c)
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		})
		t.Run("C76 a login that another site makes, "+door.Name, func(t *testing.T) {
			for _, header := range []string{"Origin: https://evil.example", "Origin: null", "Origin: https://evil.localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"} {
				a := s.submit(t, door, "/login/", "username=alice&password=correct+horse", header)
				assert.Equal(t, http.StatusForbidden, a.Status, header)
				assert.Empty(t, a.Header.Values("Set-Cookie"), header)
			}
		})
		t.Run("S60 S61 S62 logout, "+door.Name, func(t *testing.T) {
			id := s.logIn(t, door, "alice")
			cookie := "Cookie: " + sessionCookie + "=" + id
			for _, header := range []string{"Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"} {
				assert.Equal(t, http.StatusForbidden, s.submit(t, door, "/logout/", "", cookie, header).Status, "S61 %s", header)
			}
			a, err := door.Ask(t, s.g, harness.Request{Path: "/logout/", Headers: []string{cookie}})
			require.NoError(t, err)
			assert.Equal(t, 200, a.Status, "S61 GET asks, and ends nothing")
			assert.Equal(t, 200, s.status(t, door, id))
			a = s.submit(t, door, "/logout/", "", cookie, s.origin())
			require.Equal(t, http.StatusSeeOther, a.Status)
			c := sessionCookieOf(t, a)
			assert.True(t, c.Value == "" && c.MaxAge < 0 && c.HttpOnly && c.Secure && c.Path == "/" && c.Domain == "", "S62 %v", c)
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"), "S62")
			assert.Equal(t, 401, s.status(t, door, id), "S60")
			assert.Equal(t, http.StatusSeeOther, s.submit(t, door, "/logout/", "", cookie, s.origin()).Status, "S61 again")
			assert.Equal(t, http.StatusSeeOther, s.submit(t, door, "/logout/", "", s.origin()).Status, "S61 without a session")
		})
	}
	t.Run("S63 everywhere, and nobody else's", func(t *testing.T) {
		door := harness.Doors[1]
		one, two, bobs := s.logIn(t, door, "alice"), s.logIn(t, door, "alice"), s.logIn(t, door, "bob")
		s.submit(t, door, "/logout/", "everywhere=1&user=bob", "Cookie: "+sessionCookie+"="+one, s.origin())
		assert.Equal(t, []int{401, 401, 200}, []int{s.status(t, door, one), s.status(t, door, two), s.status(t, door, bobs)})
	})
	t.Run("S01 each change of an id", func(t *testing.T) {
		id := s.logIn(t, harness.Doors[1], "alice")
		s.up.Taken()
		changed := []string{ //nolint:prealloc // a table
			id[:42], id[:21], id + "A", id + id, strings.ToUpper(id), strings.ToLower(id), " " + id[:42], id[1:] + id[:1]}
		for i := range id {
			other := byte('A')
			if id[i] == other {
				other = 'B'
			}
			changed = append(changed, id[:i]+string(other)+id[i+1:])
		}
		for n, other := range changed {
			if other != id {
				require.Equal(t, 401, s.status(t, harness.Doors[n%2], other), other)
			}
		}
		assert.Empty(t, s.up.Taken())
		assert.Equal(t, 200, s.status(t, harness.Doors[0], id), "the baseline")
	})
}

// Logged out on one gateway, a session is dead on the other, also on a connection that
// was open before.
func TestS60OldCookieAfterLogoutOnTwoGateways(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	global := "edge_auth {\n store redis " + redis.URL() + "\n}"
	first := loginSite(t, global)
	second := newCredentialSite(t, global, "session", "")
	door := harness.Doors[0]
	id := first.logIn(t, door, "alice")
	require.Equal(t, 200, first.status(t, door, id))
	require.Equal(t, 200, second.status(t, door, id))
	conn, err := dialSite(t, second)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	onOld := func() int {
		_, err := fmt.Fprintf(conn, "GET /guarded/x HTTP/1.1\r\nHost: localhost:%s\r\nCookie: %s=%s\r\n\r\n", second.g.URL[strings.LastIndexByte(second.g.URL, ':')+1:], sessionCookie, id)
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	require.Equal(t, 200, onOld(), "the baseline")
	require.Equal(t, http.StatusSeeOther, first.submit(t, door, "/logout/", "", "Cookie: "+sessionCookie+"="+id, first.origin()).Status)
	assert.Equal(t, 401, first.status(t, door, id), "where it was logged out, at once")
	harness.Eventually(t, time.Second, func() bool { return onOld() == 401 }, "the old connection goes on")
	second.up.Taken()
	assert.Equal(t, 401, second.status(t, door, id))
	assert.Empty(t, second.up.Taken())
}

// dialSite opens a connection that stays.
func dialSite(t *testing.T, s *credentialSite) (net.Conn, error) {
	t.Helper()
	address := strings.TrimPrefix(s.g.URL, "http://")
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "localhost", NextProtos: []string{"http/1.1"}, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return conn, conn.SetDeadline(time.Now().Add(30 * time.Second))
}

// A logout that can't be written is none, and nobody is told that it was.
func TestS64LogoutThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := loginSite(t, "edge_auth {\n store redis "+redis.URL()+"\n}")
	door := harness.Doors[1]
	id := s.logIn(t, door, "alice")
	require.Equal(t, 200, s.status(t, door, id))
	redis.Kill()
	a := s.submit(t, door, "/logout/", "", "Cookie: "+sessionCookie+"="+id, s.origin())
	assert.Equal(t, http.StatusServiceUnavailable, a.Status)
	assert.Empty(t, a.Header.Values("Set-Cookie"))
}

// Who is disabled, or has another password, is out by every credential that we gave,
// and whose groups change has the new ones.
func TestChangesOfAUserReachEachCredential(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	redis := redistest.Start(t)
	global := "edge_auth {\n store redis " + redis.URL() + "\n}"
	s := newCredentialSite(t, global, ownPolicy+"\n check_user", "")
	other := newCredentialSite(t, global, ownPolicy+"\n check_user", "")
	headers := map[string]string{"token": "Authorization: Token {carol.token}", "jwt": "Authorization: Bearer {carol.jwt}", "session": "Cookie: __Host-edge_auth={carol.session}"}
	key := "/users/carol"
	ask := func(on *credentialSite, kind string) (int, []string) {
		on.up.Taken()
		a, err := harness.Doors[1].Ask(t, on.g, harness.Request{Path: "/guarded/x", Headers: []string{s.fill(headers[kind])}})
		require.NoError(t, err)
		for _, got := range on.up.Taken() {
			return a.Status, harness.HeaderOf(got, "Remote-Groups")
		}
		return a.Status, nil
	}
	s.own("carol")
	kinds := []string{"token", "session"} // each gateway signs by a key of its own here
	for _, on := range []*credentialSite{s, other} {
		for _, kind := range kinds {
			status, groups := ask(on, kind)
			require.Equal(t, 200, status, kind)
			require.Empty(t, groups)
		}
	}
	status, _ := ask(s, "jwt")
	require.Equal(t, 200, status)
	eventually := func(on *credentialSite, kind string, wanted int, groups string) {
		harness.Eventually(t, time.Second, func() bool {
			status, got := ask(on, kind)
			return status == wanted && (status != 200 || strings.Join(got, "") == groups)
		}, "%s: never %d with '%s'", kind, wanted, groups)
	}
	every := func(wanted int, groups string) {
		for _, kind := range kinds {
			eventually(s, kind, wanted, groups)
			eventually(other, kind, wanted, groups)
		}
		eventually(s, "jwt", wanted, groups)
	}
	t.Run("X04 S65 groups change", func(t *testing.T) {
		redis.Do(t, "SET", "edge_auth:user:carol", `{"groups":["sales"]}`)
		every(200, "sales")
	})
	t.Run("S65 T31 X01 disabled", func(t *testing.T) {
		require.Equal(t, 200, s.g.CallAdmin(http.MethodPost, key+"/disable", "").Status)
		every(401, "")
		redis.Do(t, "SET", "edge_auth:user:carol", `{"active":"no"}`)
		every(503, "") // a record that can't be read says nothing
		redis.Do(t, "SET", "edge_auth:user:carol", `{"active":false,"groups":["sales"]}`)
		every(401, "")
		require.Equal(t, 200, s.g.CallAdmin(http.MethodPost, key+"/enable", "").Status)
		every(200, "sales")
	})
	t.Run("S65 logged in before", func(t *testing.T) {
		redis.Do(t, "SET", "edge_auth:user:carol", fmt.Sprintf(`{"not_before":%d}`, time.Now().Add(time.Minute).Unix()))
		eventually(s, "jwt", 401, "")
		eventually(s, "session", 401, "")
		eventually(other, "session", 401, "")
	})
	t.Run("S31 T31 removed", func(t *testing.T) {
		redis.Do(t, "DEL", "edge_auth:user:carol")
		eventually(s, "token", 401, "")
		eventually(other, "token", 401, "")
	})
}

// Each kind of credential that we give, and passwords, are out with the next request once
// their user is disabled or gone, has another password, or has left the group.
func TestS65NextRequestIsOutByEachKindOfCredential(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	redis := redistest.Start(t)
	s := newCredentialSite(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "token", `
	edge_auth_issuer {
		jwt
		session
		token
		login_rate 1000 1m
	}
	handle /revoked {
		edge_auth {
			jwt {
				check_revoked
			}
			require group staff
		}
		reverse_proxy UPSTREAM
	}
	handle /staff {
		edge_auth {
			token
			jwt
			session
			basic
			check_user
			require group staff
		}
		reverse_proxy UPSTREAM
	}`)
	admin := func(method, path, body string) {
		a := s.g.CallAdmin(method, path, body)
		require.Equal(t, 200, a.Status, a.Body)
	}
	for name, c := range map[string]struct {
		change func(user string)
		want   int
		until  string // the kind that is good until it expires: its policy does not ask
	}{
		"disabled":         {func(user string) { admin(http.MethodPost, "/users/"+user+"/disable", "") }, 401, "check_revoked"},
		"gone":             {func(user string) { admin(http.MethodDelete, "/users/"+user, "") }, 401, ""},
		"password changed": {func(user string) { admin(http.MethodPut, "/users/"+user+"/password", `{"password":"battery staple"}`) }, 401, ""},
		"group removed":    {func(user string) { redis.Do(t, "SET", "edge_auth:user:"+user, `{"groups":["sales"]}`) }, 403, "check_revoked"},
	} {
		for _, door := range harness.Doors {
			t.Run("S65 "+name+", "+door.Name, func(t *testing.T) {
				user := strings.ReplaceAll(name, " ", "-") + "-" + door.Name
				s.admin("/users", `{"id":"`+user+`","password":"correct horse","groups":["staff"]}`)
				tokens := func(path, form string) map[string]string {
					a := s.submit(t, door, path, form)
					require.Equal(t, 200, a.Status, a.Body)
					var all map[string]string
					require.NoError(t, json.Unmarshal([]byte(a.Body), &all))
					return all
				}
				login := "username=" + user + "&password=correct+horse"
				pair := tokens("/api/token/", login)
				bearer := "Authorization: Bearer "
				requests := map[string]harness.Request{
					"session":        {Path: "/staff", Headers: []string{"Cookie: " + sessionCookie + "=" + s.logIn(t, door, user)}},
					"token":          {Path: "/staff", Headers: []string{"Authorization: Token " + tokens("/api-token-auth/", login)["token"]}},
					"token of admin": {Path: "/staff", Headers: []string{"Authorization: Token " + s.admin("/tokens", `{"user":"`+user+`"}`)["token"]}},
					"JWT of admin":   {Path: "/staff", Headers: []string{bearer + s.admin("/jwt", `{"user":"`+user+`"}`)["jwt"]}},
					"check_user":     {Path: "/staff", Headers: []string{bearer + pair["access"]}},
					"check_revoked":  {Path: "/revoked", Headers: []string{bearer + pair["access"]}},
					"password":       {Path: "/staff", Headers: []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":correct horse"))}},
				}
				status := func(r harness.Request) int {
					a, err := door.Ask(t, s.g, r)
					require.NoError(t, err)
					got := s.up.Taken()
					assert.Equal(t, a.Status == 200, len(got) == 1, "%s: %q", a.Body, got)
					return a.Status
				}
				for kind, r := range requests {
					require.Equal(t, 200, status(r), kind)
				}
				c.change(user)
				if c.want == 403 { // Redis tells of what others write, and the gateway has done what it did itself
					harness.Eventually(t, time.Second, func() bool { return status(requests["session"]) == 403 }, "the group stays")
				}
				for kind, r := range requests {
					want := c.want
					if kind == c.until {
						want = 200
					}
					assert.Equal(t, want, status(r), kind)
				}
				if c.want == 401 {
					assert.Equal(t, 401, s.submit(t, door, "/api/token/refresh/", "refresh="+pair["refresh"]).Status)
					return
				}
				next := bearer + tokens("/api/token/refresh/", "refresh="+pair["refresh"])["access"]
				for _, path := range []string{"/staff", "/revoked"} {
					assert.Equal(t, 403, status(harness.Request{Path: path, Headers: []string{next}}), path)
				}
			})
		}
	}
}
