package attacks

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// cachePolicies are policies that judge one and the same credential differently.
const cachePolicies = `
	handle /plain/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /audience/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience other
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /issuer/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
				issuer https://other.example.com
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /key/* {
		edge_auth {
			jwt {
				key HS256 ANOTHER
				audience api
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /user/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
				user login
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /leeway/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
				leeway 1m
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /rule/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
			}
			require user root
		}
		reverse_proxy UPSTREAM
	}`

// What one policy has found out of a credential is nothing to another.
func TestX10OneTokenUnderPoliciesThatJudgeItDifferently(t *testing.T) {
	t.Parallel()
	secret, another := strings.Repeat("s", 32), strings.Repeat("a", 32)
	s := newCredentialSite(t, "", "token", cachePolicies, "SECRET", secret, "ANOTHER", another)
	claims := harness.ClaimsOf("alice")
	claims["login"] = "al"
	good := harness.HS256(secret).Token(t, claims)
	claims["exp"] = time.Now().Add(-10 * time.Second).Unix()
	late := harness.HS256(secret).Token(t, claims)
	type want struct {
		status int
		user   string
	}
	expected := map[string]map[string]want{
		good: {"plain": {200, "alice"}, "audience": {401, ""}, "issuer": {401, ""}, "key": {401, ""}, "user": {200, "al"}, "leeway": {200, "alice"}, "rule": {403, ""}, "guarded": {401, ""}},
		late: {"plain": {401, ""}, "leeway": {200, "alice"}, "user": {401, ""}},
	}
	for round := range 4 { // from the second on all is known; maps give another order each time
		for token, policies := range expected {
			for policy, w := range policies {
				door := harness.Doors[round%3]
				a, err := door.Ask(t, s.g, harness.Request{Path: "/" + policy + "/x", Headers: []string{"Authorization: Bearer " + token}})
				require.NoError(t, err)
				assert.Equal(t, w.status, a.Status, policy)
				for _, got := range s.up.Taken() {
					assert.Equal(t, []string{w.user}, harness.HeaderOf(got, "Remote-User"), policy)
				}
			}
		}
	}
}

// One text as a session id, as a token, in two databases and under two prefixes is four
// credentials.
func TestX11OneTextInSeveralPlaces(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	const text = "0123456789abcdef0123456789abcdef"
	session := func(path, key, database string) string {
		return `
	handle ` + path + ` {
		edge_auth {
			session custom {
				cookie sid
				key ` + key + `
				decode json
				user owner
				redis redis://` + redis.Addr + `/` + database + `
			}
		}
		reverse_proxy UPSTREAM
	}`
	}
	token := `
	handle /token/* {
		edge_auth {
			token {
				key tok:{token}
			}
		}
		reverse_proxy UPSTREAM
	}`
	s := newCredentialSite(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "token",
		session("/one/*", "one:{id}", "0")+session("/two/*", "two:{id}", "0")+session("/third/*", "one:{id}", "3")+token)
	put := func(database, key, user string) {
		redis.Do(t, "EVAL", "redis.call('SELECT', "+database+"); return redis.call('SET', KEYS[1], ARGV[1])", "1", key, `{"user":"`+user+`","owner":"`+user+`"}`)
	}
	put("0", "one:"+text, "alice")
	put("0", "two:"+text, "bob")
	put("3", "one:"+text, "carol")
	put("0", "tok:"+text, "dave")
	for round := range 4 {
		for path, user := range map[string]string{"/one/x": "alice", "/two/x": "bob", "/third/x": "carol", "/token/x": "dave"} {
			a, err := harness.Doors[round%3].Ask(t, s.g, harness.Request{Path: path, Headers: []string{"Cookie: sid=" + text, "Authorization: Token " + text}})
			require.NoError(t, err)
			require.Equal(t, 200, a.Status, path)
			assert.Equal(t, []string{user}, harness.HeaderOf(s.up.One(t), "Remote-User"), path)
		}
	}
}

// After a reload has been answered nothing is decided by the config before it.
func TestX13NothingIsDecidedByTheConfigBefore(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	old, fresh := strings.Repeat("o", 32), strings.Repeat("n", 32)
	claims := harness.ClaimsOf("alice")
	claims["roles"], claims["login"] = []string{"admins"}, "al"
	token := "Authorization: Bearer " + harness.HS256(old).Token(t, claims)
	redis.Do(t, "SET", "sess:abc", `{"id":"alice","login":"al","roles":["admins"]}`)
	both := func(jwt, session, more string) string {
		return "{\n\tadmin ADMIN\n\tauto_https off\n edge_auth {\n store redis " + redis.URL() + "\n}\n}\nhttp://127.0.0.1:$PORT {\n edge_auth {\n jwt {\n audience api\n" + jwt +
			"\n}\n session custom {\n cookie sid\n decode json\n" + session + "\n}\n" + more + "\n}\n reverse_proxy UPSTREAM\n}"
	}
	const plain = "key sess:{id}\n user id"
	g := harness.New(t, "UPSTREAM", up.Addr)
	config := func(text string) string { return g.Write("Caddyfile", strings.Replace(text, "ADMIN", g.Admin, 1)) }
	first := both("key HS256 "+old, plain, "")
	g.Run("run", "--config", config(first), "--adapter", "caddyfile")
	g.WaitReady()
	reload := func(text string) { // what `caddy reload` does, without another process
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.Admin+"/load", strings.NewReader(g.Vars.Replace(strings.Replace(text, "ADMIN", g.Admin, 1))))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "text/caddyfile")
		resp, err := harness.Client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, string(said))
	}
	type want struct {
		status int
		user   string
		groups string
	}
	ask := func(header string) want {
		var a harness.Answer
		harness.Eventually(t, 5*time.Second, func() (answered bool) { // a connection that waits at the old listener is reset by a reload
			var err error
			a, err = g.Try(t.Context(), http.MethodGet, "/", "", header)
			return err == nil
		}, "no answer")
		w := want{status: a.Status}
		for _, got := range up.Taken() {
			w.user, w.groups = strings.Join(harness.HeaderOf(got, "Remote-User"), ","), strings.Join(harness.HeaderOf(got, "Remote-Groups"), ",")
		}
		return w
	}
	for _, c := range []struct {
		name, config string
		jwt, session want
	}{
		{"X13 the key of JWTs", both("key HS256 "+fresh, plain, ""), want{401, "", ""}, want{200, "alice", ""}},
		{"X13 the path of the user", both("key HS256 "+old+"\n user login", "key sess:{id}\n user login", ""), want{200, "al", ""}, want{200, "al", ""}},
		{"X13 the map of groups", both("key HS256 "+old+"\n claim groups roles", plain+"\n claim groups roles", ""), want{200, "alice", "admins"}, want{200, "alice", "admins"}},
		{"X13 a prefix of ids", both("key HS256 "+old+"\n id_prefix j-", plain+"\n id_prefix s-", ""), want{200, "j-alice", ""}, want{200, "s-alice", ""}},
		{"X13 a secret of cookies", both("key HS256 "+old, plain+"\n signature express\n secret x", ""), want{200, "alice", ""}, want{401, "", ""}},
		{"X13 a rule", both("key HS256 "+old, plain, "require user root"), want{403, "", ""}, want{403, "", ""}},
		{"X13 who must have a record", both("key HS256 "+old, plain, "check_user strict"), want{401, "", ""}, want{401, "", ""}},
		{"X13 the audience", strings.Replace(both("key HS256 "+old, plain, ""), "audience api", "audience web", 1), want{401, "", ""}, want{200, "alice", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			reload(first)
			for range 3 {
				require.Equal(t, want{200, "alice", ""}, ask(token), "the baseline")
				require.Equal(t, want{200, "alice", ""}, ask("Cookie: sid=abc"))
			}
			reload(c.config)
			assert.Equal(t, c.jwt, ask(token))
			assert.Equal(t, c.session, ask("Cookie: sid=abc"))
		})
	}
}

// What is for one caller is kept by no cache in between.
func TestX15AnswersOfOursAreNotStored(t *testing.T) {
	t.Parallel()
	s := loginSite(t, "")
	for _, path := range []string{"/guarded/x", "/login/", "/account/", "/logout/"} {
		for _, door := range harness.Doors {
			a, err := door.Ask(t, s.g, harness.Request{Path: path})
			require.NoError(t, err)
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"), path)
		}
	}
	assert.Equal(t, "no-store", s.submit(t, harness.Doors[0], "/login/", "username=alice&password=wrong", s.origin()).Header.Get("Cache-Control"))
	assert.Equal(t, "no-store", s.submit(t, harness.Doors[0], "/login/", "username=alice&password=correct+horse", s.origin()).Header.Get("Cache-Control"))
}

// Many callers at once, good, bad and of other users: each gets their own identity.
func TestX20EachCallerGetsTheirOwnIdentity(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+" {\n timeout 10s\n}\n}", "http://127.0.0.1:$PORT {\n edge_auth {\n session custom {\n cookie sid\n key sess:{id}\n decode json\n user id\n}\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	for n := range 10 {
		redis.Do(t, "SET", fmt.Sprintf("sess:user%d", n), fmt.Sprintf(`{"id":"u%d"}`, n))
	}
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			id := fmt.Sprintf("user%d", n%20) // of which the upper half is unknown
			a, err := g.Try(t.Context(), "GET", fmt.Sprintf("/?n=%d", n%20), "", "Cookie: sid="+id)
			if err != nil {
				t.Error(err)
				return
			}
			assert.Equal(t, n%20 < 10, a.Status == 200, "%s: %d", id, a.Status)
			assert.Contains(t, []int{200, 401}, a.Status)
		})
	}
	all.Wait()
	requests := up.Taken()
	assert.Len(t, requests, 100)
	for _, request := range requests {
		_, n, _ := strings.Cut(request, "?n=")
		n, _, _ = strings.Cut(n, " ")
		assert.Equal(t, []string{"u" + n}, harness.HeaderOf(request, "Remote-User"))
	}
}
