package attacks

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// valueSite shows all that a credential says.
const valueSite = `
	log
	handle /limited {
		edge_auth {
			JWT
			require group nobody
			login_url /login/
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			JWT
			identity_header X-A {http.auth.user.claims.tenant}
			identity_header X-B "{http.auth.user.name} of {http.auth.user.claims.tenant}"
		}
		reverse_proxy UPSTREAM {
			header_up X-Next next
		}
	}`

// A token that somebody got signed with hostile values in it: from another issuer, or
// since users choose their names.
func TestH70ValuesBreakOutOfNoHeader(t *testing.T) { //nolint:tparallel // the rows share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", valueSite)
	watchLog(t, g)
	token := func(claims map[string]any) string {
		all := harness.ClaimsOf("alice")
		maps.Copy(all, claims)
		return "Authorization: Bearer " + harness.HS256(aliceSecret).Token(t, all)
	}
	send := func(door harness.Door, claims map[string]any) (int, string) {
		a, got := ask(t, door, g, up, harness.Request{Path: "/page", Headers: []string{token(claims)}})
		return a.Status, got
	}
	door := harness.Doors[0]

	for name, hostile := range map[string]string{
		"CR LF": "a\r\nRemote-User: mallory", "LF": "a\nRemote-User: mallory", "CR": "a\rRemote-User: mallory", "NUL": "a\x00mallory", "escape": "a\x1b[31m",
		"DEL": "a\x7fb", "C1": "a\u0085Remote-User: mallory", "tab": "a\tb",
	} {
		t.Run("H70 "+name, func(t *testing.T) {
			status, got := send(door, map[string]any{"sub": hostile})
			assert.Equal(t, http.StatusUnauthorized, status, "no subject")
			assert.Empty(t, got)

			status, got = send(door, map[string]any{"name": hostile, "email": hostile, "groups": []string{hostile, "staff"}, "tenant": hostile})
			if status == http.StatusUnauthorized {
				assert.Empty(t, got)
				return
			}
			require.Equal(t, http.StatusOK, status)
			assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
			for _, name := range []string{"Remote-Name", "Remote-Email", "Remote-Groups", "X-A", "X-B"} {
				values := harness.HeaderOf(got, name)
				require.LessOrEqual(t, len(values), 1, name)
				assert.NotRegexp(t, `[\x00-\x1f\x7f]`, strings.Join(values, ""), name)
			}
			assert.Equal(t, []string{"next"}, harness.HeaderOf(got, "X-Next"), "the next header is whole")
			assert.Len(t, identityIn(got), 6, "%v", identityIn(got))
		})
	}

	t.Run("H71 names of groups", func(t *testing.T) {
		for _, door := range harness.Doors {
			for _, c := range [][2]string{
				{"a,admins", "a%2Cadmins,"},
				{"a%2Cadmins", "a%252Cadmins,"},
				{" admins", "%20admins,"},
				{"admins ", "admins%20,"},
				{",", "%2C,"},
				{"%", "%25,"},
				{" ", "%20,"},
				{"", ""},
			} {
				status, got := send(door, map[string]any{"groups": []string{c[0], "staff"}})
				require.Equal(t, http.StatusOK, status, c[0])
				assert.Equal(t, []string{c[1] + "staff"}, harness.HeaderOf(got, "Remote-Groups"), "%s: %q", door.Name, c[0])
			}
			status, got := send(door, map[string]any{"groups": []string{""}})
			require.Equal(t, http.StatusOK, status)
			assert.Empty(t, harness.HeaderOf(got, "Remote-Groups"), door.Name)
		}
	})

	t.Run("H72 placeholders", func(t *testing.T) {
		for _, text := range []string{"{env.HOME}", "{http.request.header.Authorization}", "{file./etc/passwd}", "{http.auth.user.groups}", "${HOME}", "{{.}}", "%24%7Benv.HOME%7D"} {
			status, got := send(door, map[string]any{"sub": text, "name": text, "tenant": text})
			require.Equal(t, http.StatusOK, status, text)
			for _, name := range []string{"Remote-User", "Remote-Name", "X-A"} {
				assert.Equal(t, []string{text}, harness.HeaderOf(got, name), name)
			}
			assert.Equal(t, []string{text + " of " + text}, harness.HeaderOf(got, "X-B"))
			if strings.HasPrefix(text, "{") {
				assert.NotEmpty(t, waitFor(t, g, `"user_id":"`+text+`"`))
			}
			a, got := ask(t, door, g, up, harness.Request{Path: "/limited?next=" + text, Headers: []string{token(map[string]any{"sub": text})}})
			assert.Equal(t, http.StatusForbidden, a.Status)
			assert.Empty(t, got)
			a, _ = ask(t, door, g, up, harness.Request{Path: "/limited?next=" + text, Headers: []string{"Accept: text/html"}})
			assert.Equal(t, http.StatusFound, a.Status)
			assert.NotContains(t, a.Header.Get("Location"), g.Dir, "the home of the gateway")
		}
	})

	t.Run("H73 names of all languages", func(t *testing.T) {
		for _, text := range []string{"Zoë", "عربي", "🦊 fox", "a\u2028b", "e\u0301"} {
			for _, door := range harness.Doors {
				status, got := send(door, map[string]any{"sub": text, "name": text})
				require.Equal(t, http.StatusOK, status, text)
				assert.Equal(t, []string{text}, harness.HeaderOf(got, "Remote-User"), "UTF-8 as it is")
				assert.Equal(t, []string{text}, harness.HeaderOf(got, "Remote-Name"))
			}
		}
	})
}

// However long a value is, it is whole at the upstream, or refused: by Caddy's bound of
// all headers, by that of a token, or since no record holds as much.
func TestH71LongValuesAreWholeOrRefused(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	groups := make([]string, 5000)
	for i := range groups {
		groups[i] = fmt.Sprintf("g-%d", i)
	}
	groups[2500] = "a,admins"
	listed := strings.Replace(strings.Join(groups, ","), "a,admins", "a%2Cadmins", 1)
	long := strings.Repeat("0123456789abcdef", 4<<10) // 64 KB
	values := map[string]struct {
		claims       map[string]any
		header, want string
	}{
		"5,000 groups":  {map[string]any{"groups": groups}, "Remote-Groups", listed},
		"64 KB group":   {map[string]any{"groups": []string{"staff", long}}, "Remote-Groups", "staff," + long},
		"64 KB of name": {map[string]any{"name": long}, "Remote-Name", long},
	}
	const site = `
	handle /wide {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
				max_size 1MB
			}
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
			}
			token
		}
		reverse_proxy UPSTREAM
	}`
	up := harness.StartUpstream(t)
	start := func(global string) *harness.Gateway {
		g := harness.New(t, "UPSTREAM", up.Addr, "SECRET", "`"+aliceSecret+"`")
		g.ServeTLS(global, site)
		watchLog(t, g)
		return g
	}
	send := func(t *testing.T, g *harness.Gateway, door harness.Door, path string, claims map[string]any) (int, string, error) {
		all := harness.ClaimsOf("alice")
		maps.Copy(all, claims)
		a, err := door.Ask(t, g, harness.Request{Path: path, Headers: []string{"Authorization: Bearer " + harness.HS256(aliceSecret).Token(t, all)}})
		return a.Status, strings.Join(up.Taken(), ""), err
	}
	usual, wide := start(""), start("servers {\n max_header_size 2MB\n}")
	for name, value := range values {
		for _, door := range harness.Doors {
			t.Run("H71 "+name+", "+door.Name, func(t *testing.T) {
				status, got, err := send(t, usual, door, "/wide", value.claims)
				if err == nil || door.Name != "h2" { // where Go ends the connection
					require.NoError(t, err)
					assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, status, "beyond max_header_size")
				}
				assert.Empty(t, got)

				status, got, err = send(t, wide, door, "/", value.claims)
				require.NoError(t, err)
				assert.Equal(t, http.StatusUnauthorized, status, "beyond max_size")
				assert.Empty(t, got)

				status, got, err = send(t, wide, door, "/wide", value.claims)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status)
				assert.True(t, slices.Equal([]string{value.want}, harness.HeaderOf(got, value.header)), "not whole")
			})
		}
	}
	t.Run("H71 of a record", func(t *testing.T) {
		user := func(id string, groups ...string) string {
			return `{"id":"` + id + `","password":"correct horse","groups":["` + strings.Join(groups, `","`) + `"]}`
		}
		adminMakes(wide, "/users", user("alice", groups...))
		header := "Authorization: Token " + adminMakes(wide, "/tokens", `{"user":"alice"}`)["token"]
		for _, door := range harness.Doors {
			a, got := ask(t, door, wide, up, harness.Request{Path: "/", Headers: []string{header}})
			require.Equal(t, http.StatusOK, a.Status, door.Name)
			assert.True(t, slices.Equal([]string{listed}, harness.HeaderOf(got, "Remote-Groups")), "%s: not whole", door.Name)
		}
		a := wide.CallAdmin(http.MethodPost, "/users", user("bob", "staff", long))
		assert.Equal(t, http.StatusBadRequest, a.Status, "%.200s", a.Body)
	})
}

func TestH73InvalidUTF8IsNoClaim(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	watchLog(t, g)
	issuer := harness.HS256(aliceSecret)
	// encoding/json would make U+FFFD of the bytes, so they are put in after it.
	sign := issuer.Sign
	for _, raw := range []string{"\xff\xfe", "\xc0\xaf", "\xed\xa0\x80"} {
		payload := fmt.Sprintf(`{"sub":"alice%s","aud":"api","exp":4102444800}`, raw)
		input := base64URL(`{"alg":"HS256","typ":"JWT"}`) + "." + base64URL(payload)
		a, got := ask(t, harness.Doors[0], g, up, harness.Request{Path: "/", Headers: []string{"Authorization: Bearer " + input + "." + base64URL(string(sign([]byte(input))))}})
		assert.Equal(t, http.StatusUnauthorized, a.Status, "%q", raw)
		assert.Empty(t, got)
	}
}

// A Host may hold what separates values elsewhere.
func TestH74HostWithSeparatorsIsRefusedOrChangesNothing(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", ":$PORT {\n edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr, "JWT", aliceJWT)
	watchLog(t, g)
	token := aliceToken(t)
	for _, host := range []string{`a"b`, "a;b", "a,b", "a'b", "a=b", "a b", "a\tb", "Remote-User: mallory", "a;for=10.0.0.1;host=\"x", "a/b", "a\\b", "<a>", "a%00b", "a%0d%0aRemote-User: mallory"} {
		reply := g.Raw("GET / HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\nConnection: close\r\n\r\n")
		got := strings.Join(up.Taken(), "")
		if strings.HasPrefix(reply, "HTTP/1.1 4") {
			assert.Empty(t, got, host)
			continue
		}
		require.True(t, strings.HasPrefix(reply, "HTTP/1.1 200"), reply)
		assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got), host)
	}
}
