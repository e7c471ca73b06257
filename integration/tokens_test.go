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

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
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

func TestC01C03C04C07T03TokenCasesOfARealDjangoRESTFramework(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.Addr)
	dump := must(os.ReadFile("testdata/drf/dump.json"))
	assert.Contains(t, g.EdgeAuth(string(dump), "import", "django", "-"), "tokens: 5 added")

	file, err := os.Open("testdata/drf/tokens.jsonl")
	require.NoError(t, err)
	defer file.Close()
	judged := 0
	for lines := bufio.NewScanner(file); lines.Scan(); judged++ {
		var c tokenCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		request := c.Method + " " + c.Path + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(g.URL, "http://") + "\r\nConnection: close\r\n"
		for _, h := range c.Headers {
			value := make([]byte, 0, len(h[1]))
			for _, char := range h[1] {
				value = append(value, byte(char)) // one byte a character: what was sent is shown as Latin-1
			}
			request += h[0] + ": " + string(value) + "\r\n"
		}
		name := fmt.Sprintf("%d %s", c.N, c.Name)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(g.Raw(request+"\r\n"))), nil)
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
			assert.Equal(t, []string{c.Body.Username}, harness.HeaderOf(up.One(t), "Remote-User"), name)
			continue
		}
		var said struct{ Detail string }
		require.NoError(t, json.Unmarshal(body, &said), name)
		assert.Equal(t, c.Body.Detail, said.Detail, name)
		assert.Empty(t, up.Taken(), name)
	}
	assert.Equal(t, 17, judged)
	a := g.Get("/me/token", "Authorization: Token "+strings.Repeat("b", 39)+"2")
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	assert.JSONEq(t, `{"detail":"User inactive or deleted.","code":"user_inactive"}`, a.Body, "bob is disabled in Django")
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

func TestT11T35UsersAndTokensOfARealDjangoGoOnWithTheirSecrets(t *testing.T) {
	t.Parallel()
	for name, format := range map[string][]string{
		"json":         {"--indent=1"},
		"natural keys": {"--natural-foreign", "--natural-primary"},
		"jsonl":        {"--format=jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := harness.StartUpstream(t)
			g := harness.Start(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		token
		login_rate 1000 1m
	}
	edge_auth
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
			dump := g.Write("dump.json", dumpOfDjango(t, format...))
			dry := g.EdgeAuth("", "import", "django", dump, "--dry-run")
			assert.Contains(t, dry, "users: 8 added, 0 changed, 0 unchanged\ntokens: 8 added, 0 changed, 0 unchanged\n")
			assert.Equal(t, "[]", g.EdgeAuth("", "user", "list", "--json"))
			said := g.EdgeAuth("", "import", "django", dump)
			assert.Equal(t, dry, said)
			assert.Contains(t, said, "user 'md5', the password: a hash by md5 can't be checked here")
			assert.Contains(t, said, "user '12345': login name '12345' looks like the primary key")
			assert.Contains(t, said, "that user is not in the dump, or could not be taken")
			again := g.EdgeAuth("", "import", "django", dump)
			assert.Contains(t, again, "users: 0 added, 0 changed, 8 unchanged\ntokens: 0 added, 0 changed, 8 unchanged\n")

			ask := func(token string) harness.Answer { return g.Get("/", "Authorization: Token "+token) }
			for number, user := range []string{"pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt"} {
				require.Equal(t, http.StatusOK, ask(fmt.Sprintf("%040x", number)).Status, user)
				got := up.One(t)
				assert.Equal(t, []string{user}, harness.HeaderOf(got, "Remote-User"))
				assert.Equal(t, []string{"First " + user}, harness.HeaderOf(got, "Remote-Name"))
				groups := "editors"
				if number == 0 {
					groups += ",staff"
				}
				assert.Equal(t, []string{groups}, harness.HeaderOf(got, "Remote-Groups"))
				login := func(password string) int {
					return g.Do(http.MethodPost, "/api-token-auth/", `{"username":"`+user+`","password":"`+password+`"}`, "Content-Type: application/json").Status
				}
				g.Told("password of " + user) // `user password` says whose it has changed, in these words
				assert.Equal(t, http.StatusBadRequest, login("password of another"), user)
				assert.Equal(t, http.StatusOK, login("password of "+user), user)
			}
			assert.Equal(t, http.StatusOK, ask(strings.Repeat("a", 40)).Status, "without a usable password the token still works, as in Django")
			assert.Equal(t, http.StatusUnauthorized, ask(strings.Repeat("b", 40)).Status)
			assert.Equal(t, http.StatusUnauthorized, ask(strings.Repeat("c", 40)).Status)
			for _, user := range []string{"unusable", "md5", "gone", "12345"} {
				a := g.Do(http.MethodPost, "/api/token/", `{"username":"`+user+`","password":"password of `+user+`"}`, "Content-Type: application/json")
				assert.Equal(t, http.StatusUnauthorized, a.Status, user)
			}

			// What was changed here since is not undone by another import.
			g.EdgeAuth("", "token", "revoke", "--user", "argon2")
			g.EdgeAuth("a new password\n", "user", "password", "bcrypt")
			again = g.EdgeAuth("", "import", "django", dump)
			assert.Contains(t, again, "users: 0 added, 0 changed, 8 unchanged")
			assert.Contains(t, again, "token of user 'argon2': it was revoked here since the last import")
			assert.Equal(t, http.StatusUnauthorized, ask(fmt.Sprintf("%040x", 2)).Status)
			a := g.Do(http.MethodPost, "/api/token/", `{"username":"bcrypt","password":"a new password"}`, "Content-Type: application/json")
			assert.Equal(t, http.StatusOK, a.Status)

			// And no secret of theirs has been written anywhere.
			for _, file := range []string{"edge_auth.db"} {
				kept := string(must(os.ReadFile(g.Dir + "/" + file)))
				assert.NotContains(t, kept, fmt.Sprintf("%040x", 1))
			}
			assert.NotContains(t, g.Log.String(), fmt.Sprintf("%040x", 1))
		})
	}
}

func TestT30X01RevokedTokenIsOutAtASecondGatewayWithinMilliseconds(t *testing.T) {
	// Not parallel: it measures time.
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	site := "http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}"
	global := "edge_auth {\n store redis " + redis.URL() + "\n}"
	first := harness.Start(t, global, site, "UPSTREAM", up.Addr)
	second := harness.Start(t, global, site, "UPSTREAM", up.Addr)
	first.EdgeAuth("correct horse\n", "user", "add", "alice")
	admin := func(method, path, body string) map[string]any {
		req := must(http.NewRequestWithContext(t.Context(), method, "http://"+first.Admin+"/edge_auth"+path, strings.NewReader(body)))
		resp, err := harness.Client.Do(req)
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
		warm(second, t, redis, authorization)
		admin(http.MethodDelete, "/tokens/"+made["id"].(string), "")
		revoked := time.Now()
		var last time.Duration
		for {
			began := time.Now()
			if second.Get("/", authorization).Status != http.StatusOK {
				break
			}
			last = began.Sub(revoked)
		}
		late = append(late, last)
		assert.Equal(t, http.StatusUnauthorized, first.Get("/", authorization).Status)
	}
	slices.Sort(late)
	t.Logf("median %v, at most %v", late[rounds/2], late[rounds-1])
	assert.Less(t, late[rounds/2], 50*time.Millisecond)
}

func TestT21X07FloodOfUnknownTokensCostsTheStoreLittle(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n}",
		"http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	good := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	warm(g, t, redis, good)
	reads := func() int {
		n, err := strconv.Atoi(calls(redis.Do(t, "INFO", "commandstats"), "getrange"))
		require.NoError(t, err)
		return n
	}

	before := reads()
	for n := range 200 {
		a := g.Get("/", fmt.Sprintf("Authorization: Token ea_%049d", n))
		require.Equal(t, http.StatusUnauthorized, a.Status)
		require.JSONEq(t, `{"detail":"Invalid token.","code":"token_not_valid"}`, a.Body)
	}
	assert.Equal(t, before, reads(), "the checksum tells them")

	// One that the store has to be asked for is asked for once, until there is one.
	unknown := "Authorization: Token 0123456789abcdef0123456789abcdef01234567"
	harness.Eventually(t, 10*time.Second, func() bool {
		before := reads()
		return g.Get("/", unknown).Status == http.StatusUnauthorized && reads() == before
	}, "Redis is asked each time")
	for range 50 {
		require.Equal(t, http.StatusUnauthorized, g.Get("/", unknown).Status)
	}
	assert.LessOrEqual(t, reads(), before+20)
	dump := `[{"model":"auth.user","pk":7,"fields":{"username":"alice","password":"!","is_active":true,"groups":[]}},
		{"model":"authtoken.token","pk":"0123456789abcdef0123456789abcdef01234567","fields":{"user":7,"created":"2026-11-01T00:00:00Z"}}]`
	g.EdgeAuth(dump, "import", "django", "-", "--overwrite")
	assert.Equal(t, http.StatusOK, g.Get("/", unknown).Status, "it is known at once")
	assert.Equal(t, http.StatusOK, g.Get("/", good).Status)
}

func TestT31T32T34TokensAreManagedByTheCommandLine(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}",
		"http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff", "--email", "alice@example.com")
	secret := g.EdgeAuth("", "token", "create", "alice", "--name", "ci", "--scope", "read", "--scope", "write", "--expires", "90d")
	passes := func(token string) bool { return g.Get("/", "Authorization: Token "+token).Status == http.StatusOK }
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
		require.NoError(t, json.Unmarshal([]byte(g.EdgeAuth(secret+"\n", append([]string{"token", "show", "--json"}, args...)...)), &shown))
		return shown
	}
	list := func(args ...string) (tokens []token) {
		require.NoError(t, json.Unmarshal([]byte(g.EdgeAuth("", append([]string{"token", "list", "--json"}, args...)...)), &tokens))
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
	got := up.One(t)
	assert.Equal(t, []string{"staff"}, harness.HeaderOf(got, "Remote-Groups"))
	assert.Equal(t, []string{"alice@example.com"}, harness.HeaderOf(got, "Remote-Email"))
	harness.Eventually(t, 10*time.Second, func() bool { return !show(shown.ID[:8]).LastUsed.IsZero() }, "the use is not noted")

	next := g.EdgeAuth("", "token", "rotate", shown.ID, "--overlap", "1h")
	assert.True(t, passes(secret) && passes(next))
	old := show(shown.ID)
	assert.NotEmpty(t, old.ReplacedBy)
	assert.WithinDuration(t, time.Now().Add(time.Hour), old.Expires, time.Minute)
	_, err := g.Command("", "edge-auth", "--address", g.Admin, "token", "rotate", shown.ID)
	require.ErrorContains(t, err, "has been replaced already, by "+old.ReplacedBy)
	last := g.EdgeAuth("", "token", "rotate", old.ReplacedBy)
	assert.False(t, passes(next), "without an overlap it ends at once")
	assert.True(t, passes(last))

	other := g.EdgeAuth("", "token", "create", "alice", "--name", "laptop", "--group", "")
	assert.Len(t, list(), 3)
	assert.Len(t, list("--user", "alice", "--name", "ci"), 2)
	assert.Len(t, list("alice", "--prefix", shown.ID[:6]), 1)
	assert.Empty(t, list("bob"))
	_ = up.Taken()
	require.True(t, passes(other))
	assert.Empty(t, harness.HeaderOf(up.One(t), "Remote-Groups"))

	g.EdgeAuth("", "user", "disable", "alice")
	assert.False(t, passes(other) || passes(last))
	g.EdgeAuth("", "user", "enable", "alice")
	assert.True(t, passes(other) && passes(last))
	g.EdgeAuth(other+"\n", "token", "revoke", "-")
	assert.False(t, passes(other))
	assert.Equal(t, "revoked 2 tokens", g.EdgeAuth("", "token", "revoke", "--name", "ci"))
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
		_, err := g.Command("", append([]string{"edge-auth", "--address", g.Admin}, args...)...)
		require.Error(t, err, args)
	}
	req := must(http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+g.Admin+"/edge_auth/tokens", nil))
	resp, err := harness.Client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode, "all tokens of all users are not revoked by a slip")
	_, err = g.Command(secret[:40]+"\n", "edge-auth", "--address", g.Admin, "token", "show", "-")
	require.ErrorContains(t, err, "was it cut, or mistyped?")
	assert.NotContains(t, err.Error(), secret[:20])
	for _, s := range []string{secret, next, last, other} {
		assert.NotContains(t, g.Log.String(), s)
	}
}

func TestT36TokensOfAnOAuthServer(t *testing.T) {
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
	up := harness.StartUpstream(t)
	file := t.TempDir() + "/secret"
	require.NoError(t, os.WriteFile(file, []byte("s3cret"), 0o600))
	g := harness.Start(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", `http://127.0.0.1:$PORT {
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
}`, "IDP", idp.URL, "SECRET", file, "UPSTREAM", up.Addr)
	for range 20 {
		require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Bearer slotted").Status)
	}
	got := up.Taken()[0]
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
	assert.Equal(t, []string{"Alice"}, harness.HeaderOf(got, "Remote-Name"))
	assert.Less(t, asked.Load(), int64(20), "answers are kept")
	active.Store(false)
	harness.Eventually(t, 10*time.Second, func() bool { return g.Get("/", "Authorization: Bearer slotted").Status == http.StatusUnauthorized }, "it never ends")
	a := g.Get("/", "Authorization: Bearer other")
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	assert.Equal(t, `Bearer realm="api", error="invalid_token", error_description="Invalid token."`, a.Header.Get("WWW-Authenticate"))

	idp.Close()
	a = g.Get("/", "Authorization: Bearer another")
	assert.Equal(t, http.StatusServiceUnavailable, a.Status, "an outage is no verdict")
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	assert.NotContains(t, g.Log.String(), "s3cret")
}

func TestT11EmbeddedStoreIsBackedUpRestoredAndMoved(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	sites := "http://127.0.0.1:$PORT {\n edge_auth_issuer {\n session\n token\n}\n edge_auth\n reverse_proxy UPSTREAM\n}"
	g := harness.Start(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", sites, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--pk", "7")
	token := g.EdgeAuth("", "token", "create", "alice", "--expires", "30d")
	session := g.EdgeAuth("", "session", "create", "alice")
	passes := func(g *harness.Gateway) bool {
		return g.Get("/", "Authorization: Token "+token).Status == http.StatusOK &&
			g.Get("/", "Cookie: __Host-edge_auth="+session).Status == http.StatusOK
	}
	require.True(t, passes(g))

	file := g.Dir + "/backup.db"
	assert.Contains(t, g.EdgeAuth("", "backup", file), "wrote "+file)
	assert.Equal(t, os.FileMode(0o600), must(os.Stat(file)).Mode())
	kept := string(must(os.ReadFile(file)))
	assert.NotContains(t, kept, token)
	assert.NotContains(t, kept, session)
	_, err := g.Command("", "edge-auth", "--address", g.Admin, "backup", file)
	require.ErrorContains(t, err, "exists already")

	// Under load, a restore fails no request.
	g.EdgeAuth("", "user", "remove", "alice")
	g.EdgeAuth("correct horse\n", "user", "add", "bob")
	bob := "Token " + g.EdgeAuth("", "token", "create", "bob")
	require.False(t, passes(g))
	for name, bad := range map[string]string{
		"text":      strings.Repeat("no database\n", 1000),
		"cut":       kept[:len(kept)/2],
		"empty":     "",
		"scrambled": kept[:8192] + strings.Repeat("\xff\x01", (len(kept)-8192)/2),
	} {
		_, err := g.Command("", "edge-auth", "--address", g.Admin, "restore", g.Write("bad.db", bad))
		require.ErrorContains(t, err, "not a backup of an embedded store, or damaged", name)
		require.Equal(t, http.StatusOK, g.Get("/", "Authorization: "+bob).Status, "what is there stays: "+name)
	}
	assert.Contains(t, g.EdgeAuth("", "restore", file), "valid again")
	require.True(t, passes(g), "all are back")
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Authorization: "+bob).Status)
	require.FileExists(t, g.Dir+"/edge_auth.db.before-restore")

	// To Redis.
	to := redis.URL()
	assert.Contains(t, g.EdgeAuth("", "migrate", "--to", to, "--dry-run"), "nothing was changed")
	assert.Equal(t, "0", strings.TrimSpace(redis.Do(t, "DBSIZE")))
	said := g.EdgeAuth("", "migrate", "--to", to)
	assert.Contains(t, said, "1 records: token")
	assert.Contains(t, said, "store redis "+to)
	require.True(t, passes(g), "who is known goes on")
	a := g.Do(http.MethodPost, "/api-token-auth/", `{"username":"alice","password":"correct horse"}`, "Content-Type: application/json")
	assert.Equal(t, http.StatusServiceUnavailable, a.Status, "nothing that would be lost is written")
	_, err = g.Command("", "edge-auth", "--address", g.Admin, "migrate", "--to", to)
	require.ErrorContains(t, err, "users are there already")

	config := "{\n\tadmin " + g.Admin + "\n\tauto_https off\nedge_auth {\n store redis " + to + "\n}\n}\n" + sites
	require.NoError(t, g.Reload(g.Write("Caddyfile", config)))
	harness.Eventually(t, 10*time.Second, func() bool {
		a, err := g.Try(context.Background(), http.MethodGet, "/", "", "Authorization: Token "+token)
		return err == nil && a.Status == http.StatusOK
	}, "the token is not in Redis")
	require.True(t, passes(g))
	a = g.Do(http.MethodPost, "/api-token-auth/", `{"username":"alice","password":"correct horse"}`, "Content-Type: application/json")
	assert.Equal(t, http.StatusOK, a.Status)
	g.EdgeAuth("", "user", "remove", "alice")
	assert.False(t, passes(g), "lists have moved as well")
	_, err = g.Command("", "edge-auth", "--address", g.Admin, "backup", g.Dir+"/r.db")
	require.ErrorContains(t, err, "for the embedded store")
}
