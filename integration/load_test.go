package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

func TestUserStandsInTheAccessLogAndNoSecretDoes(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "debug", `http://127.0.0.1:$PORT {
	log
	edge_auth {
		token
		basic
		jwt
		session
	}
	reverse_proxy UPSTREAM {
		header_up X-Seen {http.auth.user.id}/{http.auth.user.method}/{http.auth.user.groups}/{http.auth.user.claims.token_name}
	}
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	token := g.EdgeAuth("", "token", "create", "alice", "--name", "ci")
	session := g.EdgeAuth("", "session", "create", "alice")
	jwt := g.EdgeAuth("", "jwt", "create", "alice")
	require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Token "+token).Status)
	assert.Equal(t, []string{"alice/token/staff/ci"}, harness.HeaderOf(up.One(t), "X-Seen"))
	require.Equal(t, http.StatusOK, g.Get("/", "Cookie: __Host-edge_auth="+session).Status)
	require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Bearer "+jwt).Status)
	require.Equal(t, http.StatusOK, g.Get("/", harness.BasicHeader("correct horse")).Status)
	wrong := []string{"Token ea_canary1canary1", "Bearer eyJcanary2.eyJ.x", "Basic Y2FuYXJ5MzpjYW5hcnkz"}
	for _, credential := range wrong {
		require.Equal(t, http.StatusUnauthorized, g.Get("/", "Authorization: "+credential).Status)
	}
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines(`"user_id":"alice"`)) == 4 }, "user_id is missing")

	log := g.Log.String()
	for _, secret := range []string{token, session, jwt, jwt[strings.LastIndex(jwt, "."):], "correct horse", "canary1", "canary2", "Y2FuYXJ5MzpjYW5hcnkz", "canary3"} {
		assert.NotContains(t, log, secret)
	}
	// Nor does the file that keeps the records hold one.
	file, err := os.ReadFile(filepath.Join(g.Dir, "data", "caddy", "edge_auth.db"))
	require.NoError(t, err)
	for _, secret := range []string{token, session, "correct horse"} {
		assert.NotContains(t, string(file), secret)
	}
}

func TestH65OpenWayToAGuardedUpstreamIsToldAtLoad(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	handle /open/* {
		reverse_proxy 127.0.0.1:9
	}
	handle /other/* {
		reverse_proxy 127.0.0.1:10
	}
	handle {
		edge_auth {
			BASIC
		}
		reverse_proxy 127.0.0.1:9
	}
}`, "BASIC", harness.BasicAlice(t))
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines("clients can forge them")) > 0 }, "no warning")
	lines := g.Log.Lines("clients can forge them")
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0], "path /open/*")
	assert.Contains(t, lines[0], `"upstream":"127.0.0.1:9"`)
}

func TestErrorRoutesThatNothingStripsAreRefused(t *testing.T) {
	t.Parallel()
	g := harness.New(t, "BASIC", harness.BasicAlice(t))
	site := `{
	admin off
}
&(guard) {
	edge_auth {
		BASIC
	}
}
http://127.0.0.1:$PORT {
	invoke guard
	handle_errors {
		STRIP
		reverse_proxy 127.0.0.1:9
	}
}
`
	_, err := g.Command("", "validate", "--adapter", "caddyfile", "--config", g.Write("Caddyfile", strings.Replace(site, "STRIP", "", 1)))
	require.ErrorContains(t, err, "put 'edge_auth off' first into handle_errors")
	_, err = g.Command("", "validate", "--adapter", "caddyfile", "--config", g.Write("Caddyfile", strings.Replace(site, "STRIP", "edge_auth off", 1)))
	require.NoError(t, err)
}

func TestMistakesAreRefusedByValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"missing key file":   {"jwt {\n key RS256 $DIR/missing.pem\n}", "missing.pem"},
		"unset secret":       {"jwt {\n key HS256 {env.EDGE_AUTH_TEST_UNSET}\n}", "EDGE_AUTH_TEST_UNSET"},
		"no key at all":      {"jwt {\n key RS256 $DIR/Caddyfile\n}", "not JSON"},
		"missing htpasswd":   {"basic {\n htpasswd $DIR/missing\n}", "missing"},
		"session of Django":  {"session django", "store redis"},
		"jwks over http":     {"jwt {\n jwks http://idp.example.com/keys\n}", "https is needed"},
		"secret and public":  {"jwt {\n key HS256 01234567890123456789012345678901\n key EdDSA {env.PUBLIC_KEY}\n}", "a 'jwt' of its own"},
		"leeway":             {"jwt {\n leeway 1h\n}", "0s to 5m"},
		"header of two uses": {"token\n identity_header Remote-User x", "two identity headers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := harness.New(t)
			config := g.Write("Caddyfile", "{\n admin off\n}\nhttp://127.0.0.1:$PORT {\n edge_auth {\n"+c.body+"\n}\n}\n")
			_, err := g.Command("", "validate", "--adapter", "caddyfile", "--config", config)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestValidateLeavesARunningCaddyAlone(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	_, err := g.Command("", "validate", "--adapter", "caddyfile", "--config", g.Dir+"/Caddyfile")
	require.NoError(t, err, "the store's file is locked by the running Caddy, and validate does not touch it")
	assert.Equal(t, http.StatusOK, g.Get("/", token).Status)
}

func TestMetricsCountOutcomes(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "metrics", "http://127.0.0.1:$PORT {\n edge_auth {\n BASIC\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	g.Get("/", harness.Alice)
	g.Get("/")
	g.Get("/", harness.BasicHeader("wrong"))
	metrics := g.Metrics()
	for _, want := range []string{
		`caddy_edge_auth_requests_total{authenticator="basic",outcome="accepted",policy="inline"} 1`,
		`caddy_edge_auth_requests_total{authenticator="",outcome="absent",policy="inline"} 1`,
		`caddy_edge_auth_requests_total{authenticator="basic",outcome="rejected",policy="inline"} 1`,
	} {
		assert.Contains(t, metrics, want)
	}
}

// tour finds the shell lines of README.md that the tour consists of.
var tour = regexp.MustCompile("(?s)<!-- tour -->\n```sh\n(.*?)```")

// TestTourOfTheREADMERunsAsPrinted runs Caddyfile.example and every line of
// the tour, on other ports.
func TestTourOfTheREADMERunsAsPrinted(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	example, err := os.ReadFile("../Caddyfile.example")
	require.NoError(t, err)
	g := harness.New(t)
	ports := strings.NewReplacer("localhost:8080", strings.TrimPrefix(g.URL, "http://"), "localhost:8081", g.Vars.Replace("127.0.0.1:$PORT2"), "\tauto_https off", "\tauto_https off\n\tadmin "+g.Admin)
	g.Run("run", "--adapter", "caddyfile", "--config", g.Write("Caddyfile", ports.Replace(string(example))))
	g.WaitReady()
	harness.Eventually(t, 20*time.Second, func() bool { return len(g.Log.Lines("demo user made")) == 1 }, "no demo user:\n%s", g.Log)

	blocks := tour.FindAllStringSubmatch(string(readme), -1)
	require.Len(t, blocks, 7)
	script := "set -e\n"
	for i, block := range blocks {
		script += "echo '== " + string(rune('1'+i)) + "'\n" + block[1]
	}
	script = ports.Replace(script)
	script = strings.ReplaceAll(script, "./caddy edge-auth", harness.Caddy+" edge-auth --address "+g.Admin)
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = g.Env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	parts := strings.Split(string(out), "== ")[1:]
	require.Len(t, parts, 7)
	assert.Contains(t, parts[1], "Authentication credentials were not provided.")
	assert.Contains(t, parts[1], "Remote-User: demo\n")
	assert.Contains(t, parts[1], "Remote-Groups: staff\n")
	assert.NotContains(t, parts[2], "admin")
	assert.Contains(t, parts[2], "X-Forwarded-For: ", "the upstream did get the request")
	assert.Equal(t, 2, strings.Count(parts[3], "Remote-User: demo\n"))
	assert.Equal(t, 1, strings.Count(parts[3], "Remote-User: alice\n"))
	assert.Contains(t, parts[4], `{"refresh":"eyJ`)
	assert.Contains(t, parts[4], "Unable to log in with provided credentials.")
	assert.Equal(t, 1, strings.Count(parts[5], "Remote-User: demo\n"))
	assert.Equal(t, 1, strings.Count(parts[5], "You do not have permission"))
	assert.Contains(t, parts[6], "tour")
	assert.Contains(t, parts[6], "Invalid token.")
}

// TestEveryCaddyfileInTheDocsIsValid adapts and validates each.
func TestEveryCaddyfileInTheDocsIsValid(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	files := []string{"../README.md"}
	for _, pages := range []string{"../docs/*.md", "../docs/*/*.md"} {
		more, err := filepath.Glob(pages)
		require.NoError(t, err)
		files = append(files, more...)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for i, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			found++
			g := harness.New(t)
			g.Env = append(g.Env, "REDIS_USER=u", "REDIS_PASSWORD=p", "SIGNING_KEY="+strings.Repeat("k", 40),
				"SESSION_SECRET=s", "INTROSPECT_SECRET=s", "SECRET_KEY=s", "COOKIE_PASSWORD=s", "SESSION_KEY=s", "APP_KEY="+strings.Repeat("k", 32))
			config := g.Write("Caddyfile", strings.ReplaceAll(wholeSite(block[1]), "/var/log/caddy", g.Dir))
			out, err := g.Command("", "adapt", "--adapter", "caddyfile", "--config", config, "--validate")
			require.NoError(t, err, "%s, block %d: %s", file, i+1, out)
		}
	}
	assert.Greater(t, found, 5)
}

// wholeSite completes a block that shows an authenticator alone.
func wholeSite(block string) string {
	if !strings.HasPrefix(block, "session") {
		return block
	}
	return "{\nedge_auth {\nstore redis redis://127.0.0.1:6379/0\n}\n}\nexample.com {\nedge_auth {\n" + block + "}\n}"
}

func TestRiskyConfigsAreWarnedAbout(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "edge_auth {\n store redis redis://127.0.0.1:1\n}", `http://127.0.0.1:$PORT {
	log
	edge_auth {
		token {
			header X-API-Key
		}
		session django
		jwt https://idp.example.com
	}
}
http://127.0.0.1:$PORT2 {
	edge_auth {
		token {
			id_prefix own:
		}
		session django
	}
}`)
	assert.Len(t, g.Log.Lines("mixes own user names"), 1)
	assert.Len(t, g.Log.Lines("access log shows"), 1)
	assert.Len(t, g.Log.Lines("no audience is demanded"), 1)
}

func TestE21ErrorPagesGetNoCredentials(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		session
		require user root
	}
	reverse_proxy 127.0.0.1:1
	handle_errors {
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	for _, credential := range []string{harness.Alice, harness.BasicHeader("wrong")} {
		g.Get("/", credential, "Cookie: __Host-edge_auth="+strings.Repeat("A", 43)+"; theme=dark")
		got := up.One(t)
		assert.Empty(t, harness.HeaderOf(got, "Authorization"))
		assert.Equal(t, []string{"theme=dark"}, harness.HeaderOf(got, "Cookie"))
		assert.Empty(t, harness.HeaderOf(got, "Remote-User"))
	}
}
