package integration

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// explained is what the admin API says of a request.
type explained struct {
	RequestID string `json:"request_id"`
	Server    string `json:"server"`
	Steps     []struct{ Step, Policy, Authenticator, Outcome, Detail string }
	Outcome   string
	Status    int
	Code      string
	Cause     string
	Upstream  string
	Headers   []struct{ Name, Value string }
	Removed   []string
	NotRun    []string `json:"not_run"`
}

// explain asks the running gateway about a request.
func explain(g *harness.Gateway, t testing.TB, body map[string]any) (explained, string) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	var raw json.RawMessage
	status := 0
	harness.Eventually(t, 10*time.Second, func() bool { // Caddy listens a moment before it has started
		resp, err := harness.Client.Post("http://"+g.Admin+"/edge_auth/explain", "application/json", bytes.NewReader(data))
		require.NoError(t, err)
		defer resp.Body.Close()
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&raw))
		status = resp.StatusCode
		return status != http.StatusConflict
	}, "Caddy does not finish starting")
	require.Equal(t, http.StatusOK, status, string(raw))
	var x explained
	require.NoError(t, json.Unmarshal(raw, &x))
	return x, string(raw)
}

// said is all that the steps say, a line each.
func (x *explained) said() string {
	var text strings.Builder
	for _, s := range x.Steps {
		text.WriteString(strings.Join([]string{s.Step, s.Policy, s.Authenticator, s.Outcome, s.Detail}, " ") + "\n")
	}
	return text.String()
}

const explainSite = `http://127.0.0.1:$PORT {
	handle /token {
		edge_auth api
		reverse_proxy UPSTREAM
	}
	handle /basic {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
	handle /jwt {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /session {
		edge_auth {
			session
			login_url /login/
		}
		reverse_proxy UPSTREAM
	}
	handle /group {
		edge_auth api {
			require group admins
		}
		reverse_proxy UPSTREAM
	}
	handle /scope {
		edge_auth api {
			require scope write
		}
		reverse_proxy UPSTREAM
	}
	handle /expression {
		edge_auth api {
			require expression auth_user().id == "root"
		}
		reverse_proxy UPSTREAM
	}
	handle /age {
		edge_auth api {
			session
			require max_age 1ms
		}
		reverse_proxy UPSTREAM
	}
	handle /amr {
		edge_auth api {
			session
			require amr mfa
		}
		reverse_proxy UPSTREAM
	}
	handle /method {
		edge_auth api {
			session
			require method session
		}
		reverse_proxy UPSTREAM
	}
	handle /twice {
		edge_auth api
		edge_auth {
			token {
				header X-Second
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /checked {
		edge_auth {
			jwt {
				key HS256 SECRET
				audience api
			}
			check_user strict
		}
		reverse_proxy UPSTREAM
	}
	handle /login/ {
		edge_auth {
			session
			login_url /login/
		}
		reverse_proxy UPSTREAM
	}
}`

func TestE22E36ExplainNamesTheCauseOfEachRefusal(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	secret := strings.Repeat("s", 32)
	g := harness.Start(t, "\tedge_auth {\n\t\tpolicy api {\n\t\t\ttoken\n\t\t}\n\t}", explainSite, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t), "SECRET", secret)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	g.EdgeAuth("correct horse\n", "user", "add", "gone")
	token := g.EdgeAuth("", "token", "create", "alice")
	revoked := g.EdgeAuth("", "token", "create", "alice", "--name", "revoked")
	g.EdgeAuth("", "token", "revoke", "--name", "revoked")
	disabled := g.EdgeAuth("", "token", "create", "gone")
	ended := g.EdgeAuth("", "session", "create", "gone")
	g.EdgeAuth("", "user", "logout", "gone")
	g.EdgeAuth("", "user", "disable", "gone")
	session := g.EdgeAuth("", "session", "create", "alice")
	sign := func(key string, claims map[string]any) string {
		all := harness.ClaimsOf("alice")
		maps.Copy(all, claims)
		return harness.HS256(key).Token(t, all)
	}
	good := "Authorization: Token " + token
	own := "Cookie: __Host-edge_auth=" + session

	for name, c := range map[string]struct {
		method, path string
		headers      []string
		status       int
		cause, says  string // of the whole, and in the steps
	}{
		"no credential":        {"", "/token", nil, 401, "no credential", "token absent nothing of its kind"},
		"another scheme":       {"", "/token", []string{"Authorization: Bearer x"}, 401, "no credential", "hint api   Authorization has the scheme 'Bearer'"},
		"another cookie":       {"", "/session", []string{"Cookie: sid=1"}, 401, "no credential", "cookies that were sent: sid; those that the policy reads as its own: __Host-edge_auth"},
		"unknown token":        {"", "/token", []string{"Authorization: Token ea_unknown"}, 401, "token_not_valid", "token rejected in the header Authorization (10 characters"},
		"revoked token":        {"", "/token", []string{"Authorization: Token " + revoked}, 401, "unknown token", "token rejected"},
		"disabled user":        {"", "/token", []string{"Authorization: Token " + disabled}, 401, "disabled", "token rejected"},
		"header twice":         {"", "/token", []string{good, good}, 401, "sent twice", "token rejected"},
		"token with spaces":    {"", "/token", []string{"Authorization: Token a b"}, 401, "more than one value", "token rejected"},
		"wrong password":       {"", "/basic", []string{harness.BasicHeader("wrong")}, 401, "authentication_failed", "basic rejected in the header Authorization: "},
		"malformed basic":      {"", "/basic", []string{"Authorization: Basic !!"}, 401, "not base64", "basic rejected"},
		"expired JWT":          {"", "/jwt", []string{"Authorization: Bearer " + sign(secret, map[string]any{"exp": 1000})}, 401, "expired", "jwt rejected"},
		"JWT for another":      {"", "/jwt", []string{"Authorization: Bearer " + sign(secret, map[string]any{"aud": "other"})}, 401, "aud", "jwt rejected"},
		"JWT of another key":   {"", "/jwt", []string{"Authorization: Bearer " + sign(strings.Repeat("x", 32), nil)}, 401, "signature", "jwt rejected"},
		"no JWT":               {"", "/jwt", []string{"Authorization: Bearer abc"}, 401, "three parts", "jwt rejected"},
		"ended session":        {"", "/session", []string{"Cookie: __Host-edge_auth=" + ended}, 401, "no credential", "it names nothing that is live"},
		"two sessions":         {"", "/session", []string{"Cookie: __Host-edge_auth=a; __Host-edge_auth=b"}, 401, "no credential", "two cookies of one name"},
		"to the login page":    {"", "/session", []string{navigation}, 302, "no credential", "session absent"},
		"another site":         {"POST", "/session", []string{own, "Origin: https://evil.example"}, 403, "Origin checking failed", "csrf inline session not met"},
		"not in the group":     {"", "/group", []string{good}, 403, "not met: require group admins", "alice has the groups staff"},
		"no scope":             {"", "/scope", []string{good}, 403, "not met: require scope write", "require api+  not met require scope write; alice has no scopes"},
		"false expression":     {"", "/expression", []string{good}, 403, "not met: require expression", "it is false for alice"},
		"login too old":        {"", "/age", []string{good}, 403, "not met: require max_age 1ms", "alice logged in at 20"},
		"no second factor":     {"", "/amr", []string{good}, 403, "not met: require amr mfa", "alice has no amr"},
		"another kind":         {"", "/method", []string{good}, 403, "not met: require method session", "of the kind token"},
		"second policy":        {"", "/twice", []string{good, "X-Second: nope"}, 401, "token_not_valid", "forward api  passed as alice"},
		"no user record":       {"", "/checked", []string{"Authorization: Bearer " + sign(secret, map[string]any{"sub": "stranger"})}, 401, "no user record", "jwt rejected"},
		"login page is behind": {"", "/login/", []string{navigation}, 401, "no credential", "session absent"},
		"preflight is guarded": {"OPTIONS", "/token", []string{"Origin: https://a.example", "Access-Control-Request-Method: PUT"}, 401, "no credential", "token absent"},
	} {
		method := c.method
		if method == "" {
			method = http.MethodGet
		}
		header := make(map[string][]string)
		for _, line := range c.headers {
			key, value, _ := strings.Cut(line, ": ")
			header[key] = append(header[key], value)
		}
		x, raw := explain(g, t, map[string]any{"method": method, "url": g.URL + c.path, "headers": header})
		real := g.Do(method, c.path, "", c.headers...)
		assert.Equal(t, c.status, real.Status, name)
		assert.Equal(t, real.Status, x.Status, "%s: what is explained is what happens", name)
		assert.Equal(t, "refused", x.Outcome, name)
		assert.Contains(t, x.Cause, c.cause, name)
		assert.Contains(t, x.said(), c.says, name)

		later, rawLater := explain(g, t, map[string]any{"request_id": real.Header.Get(authenticators.RequestIDHeader)})
		assert.Equal(t, x.Cause, later.Cause, name)
		assert.Equal(t, x.Code, later.Code, name)
		for _, hidden := range []string{token, revoked, disabled, session, ended, "YWxpY2U6", "ea_unknown", "eyJ"} {
			assert.NotContains(t, raw+rawLater, hidden, "%s: no secret is shown", name)
		}
	}
	assert.Empty(t, up.Taken(), "nothing was sent")
}

func TestExplainSaysWhatTheUpstreamWouldGet(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	encode
	rewrite /old /app/x
	request_header X-Token {header.X-Legacy}
	handle /app/* {
		edge_auth {
			token {
				header X-Token
			}
			session
			identity_header X-Who {http.auth.user.method}
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth off
		respond "open"
	}
}
http://other.example:$PORT {
	edge_auth_issuer
	respond "other"
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	token := g.EdgeAuth("", "token", "create", "alice")

	x, raw := explain(g, t, map[string]any{"url": g.URL + "/old?secret=value", "headers": map[string]any{
		"X-Legacy": token, "Remote-User": "admin", "Cookie": "mine=1; __Host-edge_auth=abc",
	}})
	assert.Equal(t, "passed", x.Outcome, raw)
	assert.Equal(t, up.Addr, x.Upstream)
	assert.Equal(t, []struct{ Name, Value string }{{"Remote-User", "alice"}, {"Remote-Groups", "staff"}, {"X-Who", "token"}}, x.Headers)
	assert.Equal(t, []string{"X-Token", "cookie __Host-edge_auth"}, x.Removed)
	assert.Equal(t, []string{"encode"}, x.NotRun)
	assert.Contains(t, x.said(), "strip    Remote-User: no client may send it")
	assert.NotContains(t, raw, token)
	assert.NotContains(t, raw, "secret=value", "values of the query are hidden")
	assert.Empty(t, up.Taken())

	x, _ = explain(g, t, map[string]any{"url": g.URL + "/"})
	assert.Equal(t, "passed", x.Outcome)
	assert.Contains(t, x.said(), "'edge_auth off' asks nobody")

	x, _ = explain(g, t, map[string]any{"url": strings.Replace(g.URL, "127.0.0.1", "other.example", 1) + "/login/"})
	assert.Equal(t, "answered", x.Outcome)
	assert.Contains(t, x.said(), "edge_auth_issuer answers")

	text := g.EdgeAuth("curl '"+g.URL+"/app/x' -H 'X-Legacy: "+token+"' --compressed", "explain", "-")
	assert.Contains(t, text, "passed, to "+up.Addr)
	assert.Contains(t, text, "Remote-User: alice")
	assert.NotContains(t, text, token)
}

func TestExplainOfAStoreThatIsDown(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g, token := startOnRedis(t, redis, up, "timeout 100ms\n cache off")
	redis.Stop()
	defer redis.Continue()
	x, _ := explain(g, t, map[string]any{"url": g.URL + "/", "headers": map[string]any{"Authorization": strings.TrimPrefix(token, "Authorization: ")}})
	assert.Equal(t, http.StatusServiceUnavailable, x.Status)
	assert.Contains(t, x.said(), "token unavailable")
	assert.Contains(t, x.Cause, "looking token up")
}

func TestExplainWithoutARunningCaddy(t *testing.T) {
	t.Parallel()
	g := harness.New(t)
	config := g.Write("Caddyfile", `{
	admin `+g.Admin+`
	auto_https off
	log {
		output file $DIR/caddy.log
	}
	edge_auth {
		store embedded $DIR/store.db
	}
}
http://127.0.0.1:$PORT {
	edge_auth {
		token
		jwt {
			key HS256 ssssssssssssssssssssssssssssssss
		}
		assertion {
			audience app
		}
	}
	respond "in"
}`)
	token := harness.HS256(strings.Repeat("s", 32)).Token(t, map[string]any{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	out, err := g.Command("curl '"+g.URL+"' -H 'Authorization: Bearer "+token+"'", "edge-auth", "explain", "--config", config, "-")
	require.NoError(t, err)
	assert.Contains(t, out, "it is alice")
	assert.Contains(t, out, "X-Edge-Auth-Assertion: [secret]")
	out, err = g.Command("curl '"+g.URL+"' -H 'Authorization: Token ea_unknown'", "edge-auth", "explain", "--config", config, "--json", "-")
	require.NoError(t, err)
	assert.Contains(t, out, `"status":401`)
	for _, made := range []string{"caddy.log", "store.db", "data/caddy/edge_auth"} {
		_, err := os.Stat(filepath.Join(g.Dir, made))
		require.ErrorIs(t, err, os.ErrNotExist, "%s: nothing is made", made)
	}

	g.Run("run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	own := g.EdgeAuth("", "token", "create", "alice")
	_, err = g.Command("curl '"+g.URL+"' -H 'Authorization: Token "+own+"'", "edge-auth", "explain", "--config", config, "-")
	require.ErrorContains(t, err, "let it explain, without --config")

	require.NoError(t, g.Cmd.Process.Signal(syscall.SIGTERM))
	harness.Eventually(t, 10*time.Second, func() bool {
		out, err = g.Command("curl '"+g.URL+"' -H 'Authorization: Token "+own+"'", "edge-auth", "explain", "--config", config, "-")
		return err == nil
	}, "the store stays in use")
	assert.Contains(t, out, "it is alice", "a store that nobody has open is read")
}

func TestExplainFindsTheServerAndTheWay(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	bind 127.0.0.1
	route {
		forward_auth 127.0.0.1:1 {
			uri /check
		}
		edge_auth {
			token
		}
		respond "one"
	}
}
http://two.example:$PORT {
	bind 127.0.0.2
	respond "two"
}`)
	x, _ := explain(g, t, map[string]any{"url": g.URL})
	assert.Equal(t, http.StatusUnauthorized, x.Status, "forward_auth is not where it ends")
	assert.Equal(t, []string{"forward_auth"}, x.NotRun)
	x, _ = explain(g, t, map[string]any{"url": strings.Replace(g.URL, "127.0.0.1", "two.example", 1)})
	assert.Equal(t, "passed", x.Outcome)
	_, err := g.Command("", "edge-auth", "--address", g.Admin, "explain", strings.Replace(g.URL, "http:", "https:", 1))
	require.ErrorContains(t, err, "speaks plain HTTP: write http://")
}

func TestExplainOfAReportByItsId(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		report_only
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	g.Get("/")
	lines := g.Log.Lines(`"msg":"would refuse"`)
	require.Len(t, lines, 1)
	_, after, _ := strings.Cut(lines[0], `"request_id":"`)
	id, _, _ := strings.Cut(after, `"`)
	x, _ := explain(g, t, map[string]any{"request_id": id})
	assert.Equal(t, "would refuse", x.Outcome)
	assert.Equal(t, "no credential", x.Cause)
	described, _ := explain(g, t, map[string]any{"url": g.URL})
	assert.Equal(t, "passed", described.Outcome)
	assert.Contains(t, described.said(), "would refuse 401 not_authenticated")
}

func TestExplainSaysWhatItCannotExplain(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n\tedge_auth\n\trespond ok\n}")
	for says, args := range map[string][]string{
		"which request?":                {},
		"one request can be explained":  {"-"},
		"no refusal with this id":       {"--id", "none"},
		"listens on port 1; they liste": {"http://a.example:1/"},
		"a whole address is needed":     {"/path"},
		"an IP address is needed":       {g.URL, "--client", "there"},
		"'Name: value' is needed":       {g.URL, "-H", "none"},
		"leave out --config":            {"--id", "x", "--config", "Caddyfile"},
		"describe an address":           {"--id", "x", "-X", "POST"},
	} {
		stdin := "curl https://a.example https://b.example"
		g.EdgeAuth("", "user", "list") // until it is up
		_, err := g.Command(stdin, append([]string{"edge-auth", "--address", g.Admin, "explain"}, args...)...)
		require.ErrorContains(t, err, says)
	}
}
