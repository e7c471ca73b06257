package integration

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// startSite runs the server of a framework until the test ends, and returns its
// address as soon as it answers at path.
func startSite(t testing.TB, port, path string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	out := new(harness.Log)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start(), "%s is needed; ./test.sh installs it", command[0])
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address := "127.0.0.1:" + port
	harness.Eventually(t, 30*time.Second, func() bool {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	}, "%v does not answer: %s", command, out)
	return address
}

const siteSecret = "a secret of the application behind"

// site is a real server with sessions in Redis, and how Edge Auth is told.
type site struct {
	name   string
	start  func(t *testing.T, redis *redistest.Server) (address string)
	login  string // its path
	config string // of the session block
	cookie string
	user   string // the id of whoever logs in as alice

	// keepsID says that logging in or out keeps the session's id, and with it the
	// cookie.
	keepsID bool
}

func sites() []site {
	node := func(script string, args ...string) func(*testing.T, *redistest.Server) string {
		return func(t *testing.T, redis *redistest.Server) string {
			dir, err := npmClient()
			require.NoError(t, err)
			port := freeport.Take(t)
			return startSite(t, port, "/whoami", append([]string{"node", dir + "/" + script, port, redis.URL(), siteSecret}, args...)...)
		}
	}
	express := node("express.js")
	flask := func(args ...string) func(*testing.T, *redistest.Server) string {
		return func(t *testing.T, redis *redistest.Server) string {
			base := startPython(t, "/whoami", "flask/site.py", append([]string{redis.URL(), siteSecret}, args...)...)
			return strings.TrimPrefix(base, "http://")
		}
	}
	return append(phpSites(), []site{
		{
			name: "Express with Passport", start: express, login: "/login", cookie: "connect.sid", user: "4711",
			config: "session express {\n secret `" + siteSecret + "`\n}",
		},
		{
			name: "Express with an id of its own", start: express, login: "/login?plain", cookie: "connect.sid", user: "alice",
			config: "session express {\n secret another `" + siteSecret + "`\n user userId\n}",
		},
		{
			name: "Koa, koa-generic-session", start: node("koa.js", "generic"), login: "/login", cookie: "koa.sid", user: "4711",
			config: "session koa {\n secret `" + siteSecret + "`\n user user.id\n}",
		},
		{
			name: "Koa, koa-session", start: node("koa.js", "session"), login: "/login", cookie: "koa.sess", user: "4711",
			config: "session koa-session {\n secret `" + siteSecret + "`\n user user.id\n}",
		},
		{
			name: "Fastify", start: node("fastify.js"), login: "/login", cookie: "sessionId", user: "4711",
			config: "session fastify {\n secret `" + siteSecret + "`\n}",
		},
		{
			name: "Fastify as Express", start: node("fastify.js", "s:"), login: "/login", cookie: "sessionId", user: "4711",
			config: "session fastify {\n secret `" + siteSecret + "`\n}",
		},
		{
			name: "hapi", start: node("hapi.js"), login: "/login", cookie: "session", user: "4711",
			config: "session hapi {\n secret `" + siteSecret + "`\n}",
		},
		{
			name: "Flask", start: flask(), login: "/login", cookie: "session", user: "alice", keepsID: true,
			config: "session flask",
		},
		{
			name: "Flask, signed", start: flask("signed"), login: "/login", cookie: "session", user: "alice", keepsID: true,
			config: "session flask {\n secret `" + siteSecret + "`\n}",
		},
	}...)
}

func phpSites() []site {
	handlers := []string{"php", "php_binary", "php_serialize", "igbinary", "msgpack"}
	all := make([]site, 0, len(handlers))
	for _, handler := range handlers {
		all = append(all, site{
			name: "PHP, " + handler, login: "/login", cookie: "PHPSESSID", user: "4711",
			config: "session php {\n claim name user.name\n}",
			start: func(t *testing.T, redis *redistest.Server) string {
				port := freeport.Take(t)
				return startSite(t, port, "/whoami", "php", "-S", "127.0.0.1:"+port, "-d", "session.save_handler=redis",
					"-d", `session.save_path="tcp://`+redis.Addr+`"`, "-d", "session.serialize_handler="+handler, "php/site.php")
			},
		})
	}
	return all
}

// browser keeps cookies, as browsers do.
type browser struct {
	client *http.Client
	base   string
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{client: &http.Client{Jar: jar}, base: base}
}

func (b *browser) post(t *testing.T, path string) *http.Response {
	t.Helper()
	resp, err := b.client.PostForm(b.base+path, url.Values{"username": {"alice"}, "password": {"x"}})
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	return resp
}

// cookie is what the browser sends: a cookie, and after it the one with its
// signature, where there is one.
func (b *browser) cookie(t *testing.T, name string) (header string, beside string) {
	t.Helper()
	at, err := url.Parse(b.base)
	require.NoError(t, err)
	for _, c := range b.client.Jar.Cookies(at) {
		switch c.Name {
		case name:
			header = "Cookie: " + name + "=" + c.Value
		case name + ".sig":
			beside = "; " + c.Name + "=" + c.Value
		}
	}
	require.NotEmpty(t, header, "no cookie "+name)
	return header, beside
}

// Whoever logs in to a real application through the gateway is known next door,
// until they log out.
func TestLoginsOfRealServersAreKnownAtTheGateway(t *testing.T) {
	t.Parallel()
	for _, s := range sites() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			app := s.start(t, redis)
			up := harness.StartUpstream(t)
			g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	@app path /login /logout /whoami
	handle @app {
		edge_auth off
		reverse_proxy `+app+`
	}
	handle {
		edge_auth {
			`+s.config+`
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr)

			b := newBrowser(t, g.URL)
			require.Equal(t, http.StatusUnauthorized, g.Get("/").Status)
			b.post(t, s.login)
			cookie, beside := b.cookie(t, s.cookie)
			keys := ttls(t, redis)
			passed := g.Get("/", cookie+beside, "Remote-User: admin")
			require.Equal(t, http.StatusOK, passed.Status, passed.Body)
			got := up.One(t)
			assert.Equal(t, []string{s.user}, harness.HeaderOf(got, "Remote-User"))
			assert.Equal(t, []string{strings.TrimPrefix(cookie, "Cookie: ") + beside}, harness.HeaderOf(got, "Cookie"), "the app's own cookie stays")
			assert.Empty(t, passed.Header.Values("Set-Cookie"), "and is never set")
			assert.Equal(t, keys, ttls(t, redis), "nothing is written")

			name, value, _ := strings.Cut(strings.TrimPrefix(cookie, "Cookie: "), "=")
			changed := value[:len(value)-1] + string(value[len(value)-1]^1)
			for _, forged := range []string{changed, value + "0", value[1:], value + "; " + name + "=" + changed} {
				assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Cookie: "+name+"="+forged+beside).Status, forged)
			}

			b.post(t, "/logout")
			for range 2 {
				assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie+beside).Status, "the very next request")
			}
			assert.Empty(t, up.Taken())

			b.post(t, s.login)
			again, beside := b.cookie(t, s.cookie)
			assert.Equal(t, s.keepsID, again == cookie)
			assert.Equal(t, http.StatusOK, g.Get("/", again+beside).Status)
		})
	}
}

// ttls lists the keys in Redis that expire, in whole minutes.
func ttls(t *testing.T, redis *redistest.Server) string {
	t.Helper()
	return redis.Do(t, "EVAL", `local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
	all[#all+1] = key .. ' ' .. math.ceil(redis.call('TTL', key) / 60)
end
table.sort(all)
return table.concat(all, '\n')`, "0")
}
