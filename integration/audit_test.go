package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// auditLog sends the audit log into a file of its own, and all else to where it goes.
const auditLog = `	debug
	log audit {
		output file $DIR/audit.log
		include http.handlers.edge_auth.audit
	}
`

// event is a line of the audit log.
type event struct {
	Level         string         `json:"level"`
	Logger        string         `json:"logger"`
	Event         string         `json:"event"`
	Outcome       string         `json:"outcome"`
	RequestID     string         `json:"request_id"`
	User          string         `json:"user"`
	Client        string         `json:"client"`
	Method        string         `json:"method"`
	Host          string         `json:"host"`
	Path          string         `json:"path"`
	Policy        string         `json:"policy"`
	Authenticator string         `json:"authenticator"`
	Code          string         `json:"code"`
	Reason        string         `json:"reason"`
	Token         string         `json:"token"`
	UserAgent     string         `json:"user_agent"`
	Records       map[string]int `json:"records"`
}

// short is what tells events apart.
func (e event) short() string {
	return strings.Join([]string{e.Event, e.Outcome, e.User, e.Policy, e.Authenticator, e.Code}, "|")
}

// audited reads the audit log from a line on.
func audited(g *harness.Gateway, from int) []event {
	g.T.Helper()
	data, err := os.ReadFile(filepath.Join(g.Dir, "audit.log"))
	require.NoError(g.T, err)
	var events []event
	for line := range strings.Lines(string(data)) {
		var e event
		require.NoError(g.T, json.Unmarshal([]byte(line), &e), line)
		assert.Equal(g.T, "http.handlers.edge_auth.audit", e.Logger)
		events = append(events, e)
	}
	return events[from:]
}

// sessionOf is the session that an answer begins, as a Cookie header.
func sessionOf(t testing.TB, a harness.Answer) string {
	t.Helper()
	for _, cookie := range a.Header.Values("Set-Cookie") {
		if pair, _, _ := strings.Cut(cookie, ";"); strings.HasPrefix(pair, "__Host-edge_auth=") {
			return "Cookie: " + pair
		}
	}
	require.Fail(t, "no session", a.Body)
	return ""
}

func TestE14AuditLogHasOneLineForEachEventAndNoSecret(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, auditLog+`	servers {
		trusted_proxies static 127.0.0.0/8
	}
	edge_auth {
		policy api {
			token
			jwt
			session
			BASIC
		}
	}`, `http://127.0.0.1:$PORT {
	log
	edge_auth_issuer {
		login_rate 3 1m
	}
	handle_path /auth/* {
		edge_auth_issuer
	}
	edge_auth api {
		optional
		login_url /login/
	}
	handle /twice {
		edge_auth api
		respond ok
	}
	handle /staff {
		edge_auth api {
			require group staff
		}
		respond ok
	}
	respond ok
	handle_errors {
		edge_auth api
		respond error
	}
}`, "BASIC", harness.BasicAlice(t))
	g.EdgeAuth("", "token", "list") // it has started
	const form = "Content-Type: application/x-www-form-urlencoded"
	from := func(n int) string { return fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", n) }
	wrongToken := strings.Repeat("0badc0de", 5)
	secrets := []string{"alice-canary", "bobs-canary", "hunter2-canary", "Hunter3!", "another-canary", wrongToken, "YWxpY2U6YmFzaWMtY2FuYXJ5", "basic-canary", "wonderland"}
	keep := func(secret string) string {
		require.NotEmpty(t, secret)
		secrets = append(secrets, secret[max(0, len(secret)-40):])
		return secret
	}
	var pair, old map[string]string
	var session, tokenID string
	admin := func(method, path, body string, status int) map[string]any {
		a := g.CallAdmin(method, path, body)
		require.Equal(t, status, a.Status, a.Body)
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(a.Body), &fields))
		return fields
	}
	logIn := func() {
		session = sessionOf(t, g.Do(http.MethodPost, "/login/", "username=alice&password=alice-canary", form, from(1)))
		keep(session)
	}
	post := func(status int, path, body string, headers ...string) {
		t.Helper()
		require.Equal(t, status, g.PostJSON(path, body, headers...).Status)
	}

	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"admin adds users", func() {
			admin("POST", "/users", `{"id":"alice","password":"alice-canary","groups":["sales"]}`, 200)
			admin("POST", "/users", `{"id":"bob","password":"bobs-canary"}`, 200)
			admin("POST", "/users", `{"id":"bob","password":"bobs-canary"}`, 409)
			admin("POST", "/users", `{"id":"carol","password":"short"}`, 400)
		}, []string{"user_added||alice|||", "user_added||bob|||"}},
		{"login for a pair", func() {
			pair = pairOf(t, g.PostJSON("/api/token/", `{"username":"alice","password":"alice-canary"}`, from(1), "User-Agent: a"))
			keep(pair["access"])
			keep(pair["refresh"])
		}, []string{"login|accepted|alice|||"}},
		{"login for a token, behind handle_path", func() {
			keep(pairOf(t, g.PostJSON("/auth/api-token-auth/", `{"username":"alice","password":"alice-canary"}`, from(1)))["token"])
		}, []string{"login|accepted|alice|||", "token_created||alice||token|"}},
		{"login by form", logIn, []string{"login|accepted|alice|||"}},
		{"wrong password", func() { post(401, "/api/token/", `{"username":"alice","password":"hunter2-canary"}`, from(2)) }, []string{"login_failed|rejected|alice|||"}},
		{"password in the place of the name", func() { post(401, "/api/token/", `{"username":"Hunter3!","password":"x"}`, from(3)) }, []string{"login_failed|rejected||||"}},
		{"too many", func() {
			for _, name := range []string{"bob", "bob", "bob", "bob", "Hunter3!"} {
				g.PostJSON("/api/token/", `{"username":"`+name+`","password":"hunter2-canary"}`, from(4))
			}
		}, []string{
			"login_failed|rejected|bob|||", "login_failed|rejected|bob|||", "login_failed|rejected|bob|||",
			"login_refused|refused|bob|||throttled", "login_refused|refused||||throttled",
		}},
		{"refresh", func() {
			old = pair
			pair = pairOf(t, g.PostJSON("/api/token/refresh/", `{"refresh":"`+old["refresh"]+`"}`, from(1), "User-Agent: a"))
			keep(pair["access"])
			keep(pair["refresh"])
		}, nil},
		{"theft", func() { post(401, "/api/token/refresh/", `{"refresh":"`+old["refresh"]+`"}`, from(5)) }, []string{"token_reused|rejected|alice||jwt|token_not_valid"}},
		{"logout of a pair", func() {
			third := pairOf(t, g.PostJSON("/api/token/", `{"username":"alice","password":"alice-canary"}`, from(1)))
			post(200, "/api/token/blacklist/", `{"refresh":"`+keep(third["refresh"])+`"}`, from(1))
		}, []string{"login|accepted|alice|||", "logout||alice||jwt|"}},
		{"account page makes and ends a token, ends a session, changes the password", func() {
			a := g.Do(http.MethodPost, "/account/", "do=make_token&name=ci&days=3", form, session, from(1))
			keep(regexp.MustCompile(`<code>([A-Za-z0-9_]{30,})</code>`).FindStringSubmatch(a.Body)[1])
			made := audited(g, 0)
			g.Do(http.MethodPost, "/account/", "do=revoke_token&id="+made[len(made)-1].Token, form, session, from(1))
			g.Do(http.MethodPost, "/account/", "do=change_password&old=alice-canary&new=another-canary&again=another-canary", form, session, from(1))
			admin("PUT", "/users/alice/password", `{"password":"alice-canary"}`, 200)
		}, []string{"token_created||alice||token|", "token_revoked||alice||token|", "password_changed||alice|||", "password_changed||alice|||"}},
		{"logout of a browser", func() {
			logIn()
			g.Do(http.MethodPost, "/logout/", "", form, session, from(1))
			g.Do(http.MethodPost, "/logout/", "", form, session, from(1)) // it has ended already
			logIn()
			g.Do(http.MethodPost, "/logout/", "everywhere=1", form, session, from(1))
		}, []string{"login|accepted|alice|||", "logout||alice||session|", "login|accepted|alice|||", "logout_everywhere||alice||session|"}},
		{"account page ends a session, and the login of an app", func() {
			logIn()
			var sessions []struct{ ID string }
			require.NoError(t, json.Unmarshal([]byte(g.CallAdmin("GET", "/sessions/alice", "").Body), &sessions))
			require.Len(t, sessions, 1)
			keep(pairOf(t, g.PostJSON("/api/token/", `{"username":"alice","password":"alice-canary"}`, from(1)))["refresh"])
			page := g.Get("/account/", session, from(1)).Body
			app := regexp.MustCompile(`name="id" value="(\w+)"><button class="plain" name="do" value="end_login"`).FindStringSubmatch(page)
			require.NotNil(t, app, page)
			g.Do(http.MethodPost, "/account/", "do=end_login&id="+app[1], form, session, from(1))
			g.Do(http.MethodPost, "/account/", "do=end_session&id="+sessions[0].ID, form, session, from(1))
		}, []string{"login|accepted|alice|||", "login|accepted|alice|||", "session_ended||alice||jwt|", "session_ended||alice||session|"}},
		{"wrong credentials, once each, also where three policies meet", func() {
			for _, wrong := range []string{"Token " + wrongToken, "Bearer " + keep(pair["access"]+"x"), "Basic YWxpY2U6YmFzaWMtY2FuYXJ5"} {
				a := g.Get("/twice", "Authorization: "+wrong, from(6))
				require.Equal(t, http.StatusUnauthorized, a.Status)
			}
		}, []string{
			"credential_rejected|rejected||api+|token|token_not_valid", "credential_rejected|rejected||api+|jwt|token_not_valid",
			"credential_rejected|rejected||api+|basic|authentication_failed",
		}},
		{"no credential, and one that may not", func() {
			require.Equal(t, http.StatusUnauthorized, g.Get("/twice").Status)
			require.Equal(t, http.StatusForbidden, g.Get("/staff", harness.Alice).Status)
			require.Equal(t, http.StatusOK, g.Get("/", harness.Alice).Status)
		}, nil},
		{"admin and tokens", func() {
			made := admin("POST", "/tokens", `{"user":"alice","name":"a"}`, 200)
			keep(made["token"].(string))
			tokenID = made["id"].(string)
			made = admin("POST", "/tokens/"+tokenID+"/rotate", `{}`, 200)
			keep(made["token"].(string))
			admin("DELETE", "/tokens/"+made["id"].(string), "", 200)
			admin("DELETE", "/tokens/"+made["id"].(string), "", 404)
			admin("DELETE", "/tokens?user=alice", "", 200) // that of the login
			keep(admin("POST", "/jwt", `{"user":"alice"}`, 200)["jwt"].(string))
			admin("POST", "/jwt/revoke", `{"jti":"some"}`, 200)
		}, []string{
			"token_created||alice||token|", "token_rotated||alice||token|", "token_revoked||||token|", "token_revoked||alice||token|",
			"token_created||alice||jwt|", "token_revoked||||jwt|",
		}},
		{"admin and sessions", func() {
			keep(admin("POST", "/sessions", `{"user":"alice"}`, 200)["session"].(string))
			var sessions []struct{ ID string }
			require.NoError(t, json.Unmarshal([]byte(g.CallAdmin("GET", "/sessions/alice", "").Body), &sessions))
			admin("DELETE", "/sessions/alice/"+sessions[0].ID, "", 200)
			admin("POST", "/users/alice/logout", "", 200)
		}, []string{"session_created||alice||session|", "session_ended||alice||session|", "logout_everywhere||alice|||"}},
		{"admin and users", func() {
			admin("POST", "/users/bob/disable", "", 200)
			post(429, "/api/token/", `{"username":"bob","password":"bobs-canary"}`, from(7))
			admin("POST", "/users/bob/enable", "", 200)
			admin("DELETE", "/users/bob", "", 200)
			admin("DELETE", "/users/bob/second_factor", "", 404)
		}, []string{"user_disabled||bob|||", "login_refused|refused|bob|||throttled", "user_enabled||bob|||", "user_removed||bob|||"}},
		{"import, backup, restore, and what only looks", func() {
			admin("POST", "/import", `{"users":[{"id":"dora","active":true,"groups":[]}],"dry_run":true}`, 200)
			admin("POST", "/import", `{"users":[{"id":"dora","active":true,"groups":[]}]}`, 200)
			backup := g.CallAdmin("GET", "/backup", "").Body
			admin("PUT", "/backup", "rubbish", 400)
			admin("PUT", "/backup", backup, 200)
			g.CallAdmin("GET", "/users", "")
		}, []string{"import|||||", "backup|||||", "restore|||||"}},
		{"migrate", func() {
			admin("POST", "/migrate", `{"to":{"url":"`+redistest.Start(t).URL()+`"},"hold":"1s"}`, 200)
		}, []string{"migrate|||||"}},
	} {
		before := 0
		if _, err := os.Stat(filepath.Join(g.Dir, "audit.log")); err == nil {
			before = len(audited(g, 0))
		}
		step.do()
		events := audited(g, before)
		got := make([]string, len(events))
		for i, e := range events {
			got[i] = e.short()
		}
		assert.Equal(t, append([]string{}, step.want...), got, step.name)
	}

	events := audited(g, 0)
	for _, e := range events {
		assert.NotEmpty(t, e.Client, e)
		assert.Equal(t, e.Event == "token_reused", e.Level == "warn", e)
		if strings.HasPrefix(e.Path, "/edge_auth/") {
			assert.Equal(t, "127.0.0.1", e.Client, "who called the admin API")
			continue
		}
		assert.Regexp(t, `^192\.0\.2\.\d$`, e.Client, "as trusted_proxies tell: %v", e)
		assert.Len(t, e.RequestID, 36, e)
		assert.NotEmpty(t, e.Host, e)
		assert.NotEmpty(t, e.Method, e)
	}
	assert.Equal(t, "/auth/api-token-auth/", events[3].Path, "as it was asked for")
	assert.Equal(t, map[string]int{"user": 1, "token": 0}, events[len(events)-4].Records)
	assert.Equal(t, 2, events[len(events)-1].Records["user"], "moved")

	a := g.Get("/twice", "Authorization: Token "+wrongToken)
	last := audited(g, len(events))
	require.Len(t, last, 1)
	assert.Equal(t, a.Header.Get("X-Request-ID"), last[0].RequestID, "the client was told the same id")

	data, err := os.ReadFile(filepath.Join(g.Dir, "audit.log"))
	require.NoError(t, err)
	require.Greater(t, len(secrets), 20)
	for _, secret := range secrets {
		assert.NotContains(t, string(data), secret)
		assert.NotContains(t, g.Log.String(), secret)
	}
	assert.NotEmpty(t, g.Log.Lines(`"level":"debug"`))
	assert.Empty(t, g.Log.Lines("http.handlers.edge_auth.audit"), "a log of its own")
}

func TestAuditLogStandsInTheUsualLogWithoutOneOfItsOwn(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth\n respond ok\n}")
	g.Get("/a%0Ab%1B%5B31m", "Authorization: Token "+strings.Repeat("0", 40), "User-Agent: \u009b31mred\" , \"event\":\"login")
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines(`"event":"`)) > 0 }, "no line")
	lines := g.Log.Lines(`"event":"`)
	require.Len(t, lines, 1)
	var e event
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &e))
	assert.Equal(t, "credential_rejected", e.Event)
	assert.Equal(t, "default", e.Policy)
	assert.Equal(t, "/a%0Ab%1B%5B31m", e.Path)
	assert.Equal(t, `31mred" , "event":"login`, e.UserAgent)
	assert.Equal(t, "127.0.0.1", e.Client)
}

// failRegexes are the patterns of the fail2ban filter in the docs, as Go has them.
func failRegexes(t testing.TB, docs string) []*regexp.Regexp {
	t.Helper()
	_, after, found := strings.Cut(docs, "failregex = ")
	require.True(t, found)
	lines, _, _ := strings.Cut(after, "datepattern")
	all := make([]*regexp.Regexp, 0, 2)
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		all = append(all, regexp.MustCompile(strings.ReplaceAll(strings.TrimSpace(line), "<ADDR>", `(?P<ip>[0-9a-f:.]+)`)))
	}
	return all
}

func TestAuditDocsWriteALogThatTheirFail2banFilterReads(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/operation/audit.md")
	require.NoError(t, err)
	docs := string(data)
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(docs, -1)
	require.Len(t, blocks, 1)
	g := harness.New(t)
	local := strings.NewReplacer("/var/log/caddy", g.Dir, "app.example.com", "http://127.0.0.1:$PORT", "{\n\tlog audit", "{\n\tadmin "+g.Admin+"\n\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}\n\tlog audit")
	g.Run("run", "--adapter", "caddyfile", "--config", g.Write("Caddyfile", local.Replace(blocks[0][1])))
	g.WaitReady()
	g.EdgeAuth("wonderland\n", "user", "add", "alice")

	const evil = `{"event":"login_failed","client":"198.51.100.66"}`
	from := func(n int) string { return fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", n) }
	logIn := func(user, password, from string) {
		body, err := json.Marshal(map[string]string{"username": user, "password": password})
		require.NoError(t, err)
		g.PostJSON("/api/token/", string(body), from, "User-Agent: "+evil)
	}
	logIn("alice", "wrong", from(1))
	logIn(`","event":"login_failed","client":"198.51.100.66`, "wrong", from(2))
	logIn("alice", "wonderland", from(3))
	g.Get("/"+strings.ReplaceAll(evil, `"`, "%22"), "Authorization: Token "+strings.Repeat("0", 40), from(4), "User-Agent: "+evil)
	g.Get("/", "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AA", from(5), "User-Agent: "+evil)
	g.Get("/", "User-Agent: "+evil, from(6))
	logIn("alice", "wrong", "X-Forwarded-For: 2001:db8::7")

	info, err := os.Stat(filepath.Join(g.Dir, "audit.log"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	data, err = os.ReadFile(filepath.Join(g.Dir, "audit.log"))
	require.NoError(t, err)
	patterns := failRegexes(t, docs)
	require.Len(t, patterns, 2)
	var banned []string
	for line := range strings.Lines(string(data)) {
		for _, pattern := range patterns {
			if found := pattern.FindStringSubmatch(line); found != nil {
				banned = append(banned, found[1])
			}
		}
	}
	assert.Equal(t, []string{"192.0.2.1", "192.0.2.2", "192.0.2.4", "2001:db8::7"}, banned, string(data))
	assert.Len(t, audited(g, 0), 7)

	for line := range strings.Lines(string(data)) { // the docs name each
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		assert.Contains(t, docs, "`"+e.Event+"`")
	}
	if saved := os.Getenv("AUDIT_LOG"); saved != "" { // to show it to the real fail2ban
		require.NoError(t, os.WriteFile(saved, data, 0o600))
	}
}
