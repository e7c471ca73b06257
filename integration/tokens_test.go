package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// tokenCase is a request that a real Django REST framework was sent, and its answer.
type tokenCase struct {
	N               int
	Name            string
	Method, Path    string
	Headers         [][2]string
	Status          int
	Challenge       string
	Body            struct{ Detail, Username string }
	StatusOfGateway []int `json:"status_of_a_gateway"`
}

// otherTokenCases are those where our answer is another.
var otherTokenCases = map[int]string{
	43: "a view whose first authenticator has no scheme answers 403; a credential that is wrong is 401 here, with a challenge",
}

func TestTokenCasesOfARealDjangoRESTFramework(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
	handle /me/token {
		edge_auth {
			token
		}
		reverse_proxy UPSTREAM
	}
	handle /me/admin {
		edge_auth {
			token
			require group staff
		}
		reverse_proxy UPSTREAM
	}
	handle /me/optional {
		edge_auth {
			token
			optional
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.addr)
	dump := must(os.ReadFile("testdata/drf/dump.json"))
	assert.Contains(t, g.edgeAuth(string(dump), "import", "django", "-"), "tokens: 5 added")

	file, err := os.Open("testdata/drf/tokens.jsonl")
	require.NoError(t, err)
	defer file.Close()
	judged := 0
	for lines := bufio.NewScanner(file); lines.Scan(); judged++ {
		var c tokenCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		request := c.Method + " " + c.Path + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(g.url, "http://") + "\r\nConnection: close\r\n"
		for _, h := range c.Headers {
			value := make([]byte, 0, len(h[1]))
			for _, char := range h[1] {
				value = append(value, byte(char)) // one byte a character: what was sent is shown as Latin-1
			}
			request += h[0] + ": " + string(value) + "\r\n"
		}
		name := fmt.Sprintf("%d %s", c.N, c.Name)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(g.raw(request+"\r\n"))), nil)
		require.NoError(t, err, name)
		body := must(io.ReadAll(resp.Body))
		switch {
		case c.StatusOfGateway != nil:
			assert.Contains(t, c.StatusOfGateway, resp.StatusCode, name)
			continue
		case otherTokenCases[c.N] != "":
			c.Status, c.Challenge = http.StatusUnauthorized, "Token"
		}
		require.Equal(t, c.Status, resp.StatusCode, "%s: %s", name, body)
		assert.Equal(t, c.Challenge, resp.Header.Get("WWW-Authenticate"), name)
		if c.Status == http.StatusOK {
			assert.Equal(t, []string{c.Body.Username}, header(up.one(t), "Remote-User"), name)
			continue
		}
		var said struct{ Detail string }
		require.NoError(t, json.Unmarshal(body, &said), name)
		assert.Equal(t, c.Body.Detail, said.Detail, name)
		assert.Empty(t, up.taken(), name)
	}
	assert.Equal(t, 17, judged)
	a := g.get("/me/token", "Authorization: Token "+strings.Repeat("b", 39)+"2")
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.JSONEq(t, `{"detail":"User inactive or deleted.","code":"user_inactive"}`, a.body, "bob is disabled in Django")
}

// dumpOfDjango is what dumpdata of a real Django writes.
func dumpOfDjango(t *testing.T, options ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"drf/dump.py", t.TempDir()}, options...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	return string(out)
}

func TestUsersAndTokensOfARealDjangoGoOnWithTheirSecrets(t *testing.T) {
	t.Parallel()
	for name, format := range map[string][]string{
		"json":         {"--indent=1"},
		"natural keys": {"--natural-foreign", "--natural-primary"},
		"jsonl":        {"--format=jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t)
			g := startGateway(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		token
		login_rate 1000 1m
	}
	edge_auth
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr)
			dump := g.write("dump.json", dumpOfDjango(t, format...))
			dry := g.edgeAuth("", "import", "django", dump, "--dry-run")
			assert.Contains(t, dry, "users: 8 added, 0 changed, 0 unchanged\ntokens: 8 added, 0 changed, 0 unchanged\n")
			assert.Equal(t, "[]", g.edgeAuth("", "user", "list", "--json"))
			said := g.edgeAuth("", "import", "django", dump)
			assert.Equal(t, dry, said)
			assert.Contains(t, said, "user 'md5', the password: a hash by md5 can't be checked here")
			assert.Contains(t, said, "user '12345': login name '12345' looks like the primary key")
			assert.Contains(t, said, "that user is not in the dump, or could not be taken")
			again := g.edgeAuth("", "import", "django", dump)
			assert.Contains(t, again, "users: 0 added, 0 changed, 8 unchanged\ntokens: 0 added, 0 changed, 8 unchanged\n")

			ask := func(token string) answer { return g.get("/", "Authorization: Token "+token) }
			for number, user := range []string{"pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt"} {
				require.Equal(t, http.StatusOK, ask(fmt.Sprintf("%040x", number)).status, user)
				got := up.one(t)
				assert.Equal(t, []string{user}, header(got, "Remote-User"))
				assert.Equal(t, []string{"First " + user}, header(got, "Remote-Name"))
				groups := "editors"
				if number == 0 {
					groups += ",staff"
				}
				assert.Equal(t, []string{groups}, header(got, "Remote-Groups"))
				login := func(password string) int {
					return g.do(http.MethodPost, "/api-token-auth/", `{"username":"`+user+`","password":"`+password+`"}`, "Content-Type: application/json").status
				}
				assert.Equal(t, http.StatusBadRequest, login("password of another"), user)
				assert.Equal(t, http.StatusOK, login("password of "+user), user)
			}
			assert.Equal(t, http.StatusOK, ask(strings.Repeat("a", 40)).status, "without a usable password the token still works, as in Django")
			assert.Equal(t, http.StatusUnauthorized, ask(strings.Repeat("b", 40)).status)
			assert.Equal(t, http.StatusUnauthorized, ask(strings.Repeat("c", 40)).status)
			for _, user := range []string{"unusable", "md5", "gone", "12345"} {
				a := g.do(http.MethodPost, "/api/token/", `{"username":"`+user+`","password":"password of `+user+`"}`, "Content-Type: application/json")
				assert.Equal(t, http.StatusUnauthorized, a.status, user)
			}

			// What was changed here since is not undone by another import.
			g.edgeAuth("", "token", "revoke", "--user", "argon2")
			g.edgeAuth("a new password\n", "user", "password", "bcrypt")
			again = g.edgeAuth("", "import", "django", dump)
			assert.Contains(t, again, "users: 0 added, 0 changed, 8 unchanged")
			assert.Contains(t, again, "token of user 'argon2': it was revoked here since the last import")
			assert.Equal(t, http.StatusUnauthorized, ask(fmt.Sprintf("%040x", 2)).status)
			a := g.do(http.MethodPost, "/api/token/", `{"username":"bcrypt","password":"a new password"}`, "Content-Type: application/json")
			assert.Equal(t, http.StatusOK, a.status)

			// And no secret of theirs has been written anywhere.
			for _, file := range []string{"edge_auth.db"} {
				kept := string(must(os.ReadFile(g.dir + "/" + file)))
				assert.NotContains(t, kept, fmt.Sprintf("%040x", 1))
			}
			assert.NotContains(t, g.log.String(), fmt.Sprintf("%040x", 1))
		})
	}
}

func TestRevokedTokenIsOutAtASecondGatewayWithinMilliseconds(t *testing.T) {
	// Not parallel: it measures time.
	redis := redistest.Start(t)
	up := startUpstream(t)
	site := "http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}"
	global := "edge_auth {\n store redis " + redis.URL() + "\n}"
	first := startGateway(t, global, site, "UPSTREAM", up.addr)
	second := startGateway(t, global, site, "UPSTREAM", up.addr)
	first.edgeAuth("correct horse\n", "user", "add", "alice")
	admin := func(method, path, body string) map[string]any {
		req := must(http.NewRequestWithContext(t.Context(), method, "http://"+first.admin+"/edge_auth"+path, strings.NewReader(body)))
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		var said map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&said))
		return said
	}
	const rounds = 100
	late := make([]time.Duration, 0, rounds)
	for range rounds {
		made := admin(http.MethodPost, "/tokens", `{"user":"alice"}`)
		authorization := "Authorization: Token " + made["token"].(string)
		second.warm(t, redis, authorization)
		admin(http.MethodDelete, "/tokens/"+made["id"].(string), "")
		revoked := time.Now()
		var last time.Duration
		for {
			began := time.Now()
			if second.get("/", authorization).status != http.StatusOK {
				break
			}
			last = began.Sub(revoked)
		}
		late = append(late, last)
		assert.Equal(t, http.StatusUnauthorized, first.get("/", authorization).status)
	}
	slices.Sort(late)
	t.Logf("median %v, at most %v", late[rounds/2], late[rounds-1])
	assert.Less(t, late[rounds/2], 50*time.Millisecond)
}

func TestFloodOfUnknownTokensCostsTheStoreLittle(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := startUpstream(t)
	g := startGateway(t, "edge_auth {\n store redis "+redis.URL()+"\n}",
		"http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice")
	good := "Authorization: Token " + g.edgeAuth("", "token", "create", "alice")
	g.warm(t, redis, good)
	reads := func() int {
		n, err := strconv.Atoi(calls(redis.Do(t, "INFO", "commandstats"), "getrange"))
		require.NoError(t, err)
		return n
	}

	before := reads()
	for n := range 200 {
		a := g.get("/", fmt.Sprintf("Authorization: Token ea_%049d", n))
		require.Equal(t, http.StatusUnauthorized, a.status)
		require.JSONEq(t, `{"detail":"Invalid token.","code":"token_not_valid"}`, a.body)
	}
	assert.Equal(t, before, reads(), "the checksum tells them")

	// One that the store has to be asked for is asked for once, until there is one.
	unknown := "Authorization: Token 0123456789abcdef0123456789abcdef01234567"
	eventually(t, 10*time.Second, func() bool {
		before := reads()
		return g.get("/", unknown).status == http.StatusUnauthorized && reads() == before
	}, "Redis is asked each time")
	for range 50 {
		require.Equal(t, http.StatusUnauthorized, g.get("/", unknown).status)
	}
	assert.LessOrEqual(t, reads(), before+20)
	dump := `[{"model":"auth.user","pk":7,"fields":{"username":"alice","password":"!","is_active":true,"groups":[]}},
		{"model":"authtoken.token","pk":"0123456789abcdef0123456789abcdef01234567","fields":{"user":7,"created":"2026-11-01T00:00:00Z"}}]`
	g.edgeAuth(dump, "import", "django", "-", "--overwrite")
	assert.Equal(t, http.StatusOK, g.get("/", unknown).status, "it is known at once")
	assert.Equal(t, http.StatusOK, g.get("/", good).status)
}

func TestTokensAreManagedByTheCommandLine(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}",
		"http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff", "--email", "alice@example.com")
	secret := g.edgeAuth("", "token", "create", "alice", "--name", "ci", "--scope", "read", "--scope", "write", "--expires", "90d")
	passes := func(token string) bool { return g.get("/", "Authorization: Token "+token).status == http.StatusOK }
	type token struct {
		ID, User, Name string
		Scopes, Groups []string
		CreatedBy      string    `json:"created_by"`
		LastUsed       time.Time `json:"last_used"`
		Created        time.Time
		Expires        time.Time
		ReplacedBy     string `json:"replaced_by"`
	}
	show := func(args ...string) (shown token) {
		require.NoError(t, json.Unmarshal([]byte(g.edgeAuth(secret+"\n", append([]string{"token", "show", "--json"}, args...)...)), &shown))
		return shown
	}
	list := func(args ...string) (tokens []token) {
		require.NoError(t, json.Unmarshal([]byte(g.edgeAuth("", append([]string{"token", "list", "--json"}, args...)...)), &tokens))
		return tokens
	}
	shown := show("-")
	assert.Equal(t, "alice", shown.User)
	assert.Equal(t, "ci", shown.Name)
	assert.Equal(t, []string{"read", "write"}, shown.Scopes)
	assert.Empty(t, shown.Groups)
	assert.Contains(t, shown.CreatedBy, "command line")
	assert.Equal(t, shown.Created.Add(90*24*time.Hour), shown.Expires)
	assert.Zero(t, shown.LastUsed)
	require.True(t, passes(secret))
	got := up.one(t)
	assert.Equal(t, []string{"staff"}, header(got, "Remote-Groups"))
	assert.Equal(t, []string{"alice@example.com"}, header(got, "Remote-Email"))
	eventually(t, 10*time.Second, func() bool { return !show(shown.ID[:8]).LastUsed.IsZero() }, "the use is not noted")

	next := g.edgeAuth("", "token", "rotate", shown.ID, "--overlap", "1h")
	assert.True(t, passes(secret) && passes(next))
	old := show(shown.ID)
	assert.NotEmpty(t, old.ReplacedBy)
	assert.WithinDuration(t, time.Now().Add(time.Hour), old.Expires, time.Minute)
	_, err := g.command("", "edge-auth", "--address", g.admin, "token", "rotate", shown.ID)
	require.ErrorContains(t, err, "has been replaced already, by "+old.ReplacedBy)
	last := g.edgeAuth("", "token", "rotate", old.ReplacedBy)
	assert.False(t, passes(next), "without an overlap it ends at once")
	assert.True(t, passes(last))

	other := g.edgeAuth("", "token", "create", "alice", "--name", "laptop", "--group", "")
	assert.Len(t, list(), 3)
	assert.Len(t, list("--user", "alice", "--name", "ci"), 2)
	assert.Len(t, list("alice", "--prefix", shown.ID[:6]), 1)
	assert.Empty(t, list("bob"))
	_ = up.taken()
	require.True(t, passes(other))
	assert.Empty(t, header(up.one(t), "Remote-Groups"))

	g.edgeAuth("", "user", "disable", "alice")
	assert.False(t, passes(other) || passes(last))
	g.edgeAuth("", "user", "enable", "alice")
	assert.True(t, passes(other) && passes(last))
	g.edgeAuth(other+"\n", "token", "revoke", "-")
	assert.False(t, passes(other))
	assert.Equal(t, "revoked 2 tokens", g.edgeAuth("", "token", "revoke", "--name", "ci"))
	assert.False(t, passes(last) || passes(secret))
	for _, args := range [][]string{
		{"token", "revoke"},
		{"token", "revoke", shown.ID, "--user", "alice"},
		{"token", "revoke", shown.ID},
		{"token", "show", "0123"},
		{"token", "rotate", shown.ID},
		{"token", "create", "nobody"},
		{"token", "create", "alice", "--expires", "soon"},
		{"user", "disable", " "},
	} {
		_, err := g.command("", append([]string{"edge-auth", "--address", g.admin}, args...)...)
		require.Error(t, err, args)
	}
	req := must(http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+g.admin+"/edge_auth/tokens", nil))
	resp, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode, "all tokens of all users are not revoked by a slip")
	_, err = g.command(secret[:40]+"\n", "edge-auth", "--address", g.admin, "token", "show", "-")
	require.ErrorContains(t, err, "was it cut, or mistyped?")
	assert.NotContains(t, err.Error(), secret[:20])
	for _, s := range []string{secret, next, last, other} {
		assert.NotContains(t, g.log.String(), s)
	}
}

func TestTokensOfAnOAuthServer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var active atomic.Bool
	active.Store(true)
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if id != "gateway" || secret != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("token") == "slotted" {
			_, _ = fmt.Fprintf(w, `{"active":%v,"sub":"alice","scope":"read","username":"Alice"}`, active.Load())
			return
		}
		_, _ = io.WriteString(w, `{"active":false}`)
	}))
	defer idp.Close()
	up := startUpstream(t)
	file := t.TempDir() + "/secret"
	require.NoError(t, os.WriteFile(file, []byte("s3cret"), 0o600))
	g := startGateway(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
			own
			introspect IDP/introspect {
				client_id gateway
				client_secret {file.SECRET}
				max_age 1s
				claim name username
			}
		}
		require scope read
	}
	reverse_proxy UPSTREAM
}`, "IDP", idp.URL, "SECRET", file, "UPSTREAM", up.addr)
	for range 20 {
		require.Equal(t, http.StatusOK, g.get("/", "Authorization: Bearer slotted").status)
	}
	got := up.taken()[0]
	assert.Equal(t, []string{"alice"}, header(got, "Remote-User"))
	assert.Equal(t, []string{"Alice"}, header(got, "Remote-Name"))
	assert.Less(t, asked.Load(), int64(20), "answers are kept")
	active.Store(false)
	eventually(t, 10*time.Second, func() bool { return g.get("/", "Authorization: Bearer slotted").status == http.StatusUnauthorized }, "it never ends")
	a := g.get("/", "Authorization: Bearer other")
	assert.Equal(t, http.StatusUnauthorized, a.status)
	assert.Equal(t, `Bearer realm="api", error="invalid_token", error_description="Invalid token."`, a.header.Get("WWW-Authenticate"))

	idp.Close()
	a = g.get("/", "Authorization: Bearer another")
	assert.Equal(t, http.StatusServiceUnavailable, a.status, "an outage is no verdict")
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	assert.NotContains(t, g.log.String(), "s3cret")
}

func TestEmbeddedStoreIsBackedUpRestoredAndMoved(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := startUpstream(t)
	sites := "http://127.0.0.1:$PORT {\n edge_auth_issuer {\n session\n token\n}\n edge_auth\n reverse_proxy UPSTREAM\n}"
	g := startGateway(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", sites, "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice", "--pk", "7")
	token := g.edgeAuth("", "token", "create", "alice", "--expires", "30d")
	session := g.edgeAuth("", "session", "create", "alice")
	passes := func(g *gateway) bool {
		return g.get("/", "Authorization: Token "+token).status == http.StatusOK &&
			g.get("/", "Cookie: __Host-edge_auth="+session).status == http.StatusOK
	}
	require.True(t, passes(g))

	file := g.dir + "/backup.db"
	assert.Contains(t, g.edgeAuth("", "backup", file), "wrote "+file)
	assert.Equal(t, os.FileMode(0o600), must(os.Stat(file)).Mode())
	kept := string(must(os.ReadFile(file)))
	assert.NotContains(t, kept, token)
	assert.NotContains(t, kept, session)
	_, err := g.command("", "edge-auth", "--address", g.admin, "backup", file)
	require.ErrorContains(t, err, "exists already")

	// Under load, a restore fails no request.
	g.edgeAuth("", "user", "remove", "alice")
	g.edgeAuth("correct horse\n", "user", "add", "bob")
	bob := "Token " + g.edgeAuth("", "token", "create", "bob")
	require.False(t, passes(g))
	for name, bad := range map[string]string{
		"text":      strings.Repeat("no database\n", 1000),
		"cut":       kept[:len(kept)/2],
		"empty":     "",
		"scrambled": kept[:8192] + strings.Repeat("\xff\x01", (len(kept)-8192)/2),
	} {
		_, err := g.command("", "edge-auth", "--address", g.admin, "restore", g.write("bad.db", bad))
		require.ErrorContains(t, err, "not a backup of an embedded store, or damaged", name)
		require.Equal(t, http.StatusOK, g.get("/", "Authorization: "+bob).status, "what is there stays: "+name)
	}
	assert.Contains(t, g.edgeAuth("", "restore", file), "valid again")
	require.True(t, passes(g), "all are back")
	assert.Equal(t, http.StatusUnauthorized, g.get("/", "Authorization: "+bob).status)
	require.FileExists(t, g.dir+"/edge_auth.db.before-restore")

	// To Redis.
	to := redis.URL()
	assert.Contains(t, g.edgeAuth("", "migrate", "--to", to, "--dry-run"), "nothing was changed")
	assert.Equal(t, "0", strings.TrimSpace(redis.Do(t, "DBSIZE")))
	said := g.edgeAuth("", "migrate", "--to", to)
	assert.Contains(t, said, "1 records: token")
	assert.Contains(t, said, "store redis "+to)
	require.True(t, passes(g), "who is known goes on")
	a := g.do(http.MethodPost, "/api-token-auth/", `{"username":"alice","password":"correct horse"}`, "Content-Type: application/json")
	assert.Equal(t, http.StatusServiceUnavailable, a.status, "nothing that would be lost is written")
	_, err = g.command("", "edge-auth", "--address", g.admin, "migrate", "--to", to)
	require.ErrorContains(t, err, "users are there already")

	config := "{\n\tadmin " + g.admin + "\n\tauto_https off\nedge_auth {\n store redis " + to + "\n}\n}\n" + sites
	require.NoError(t, g.reload(g.write("Caddyfile", config)))
	eventually(t, 10*time.Second, func() bool {
		a, err := g.try(context.Background(), http.MethodGet, "/", "", "Authorization: Token "+token)
		return err == nil && a.status == http.StatusOK
	}, "the token is not in Redis")
	require.True(t, passes(g))
	a = g.do(http.MethodPost, "/api-token-auth/", `{"username":"alice","password":"correct horse"}`, "Content-Type: application/json")
	assert.Equal(t, http.StatusOK, a.status)
	g.edgeAuth("", "user", "remove", "alice")
	assert.False(t, passes(g), "lists have moved as well")
	_, err = g.command("", "edge-auth", "--address", g.admin, "backup", g.dir+"/r.db")
	require.ErrorContains(t, err, "for the embedded store")
}
