package integration

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// djangoSite is a real Django with the recipe, and a gateway that asks for its
// users.
type djangoSite struct {
	*harness.Gateway
	t    *testing.T
	base string
	up   *harness.Upstream
}

func startDjangoSite(t *testing.T, checkUser string) (*djangoSite, *redistest.Server) {
	t.Helper()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	return &djangoSite{
		t: t, base: startDjango(t, redis.URL()), up: up,
		Gateway: harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session django
		`+checkUser+`
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr),
	}, redis
}

func (d *djangoSite) post(path string, form url.Values) (answer string, cookies []*http.Cookie) {
	d.t.Helper()
	resp, err := http.PostForm(d.base+path, form)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	require.Equal(d.t, http.StatusOK, resp.StatusCode, "%s", body)
	return string(body), resp.Cookies()
}

// change changes a user, and returns when Django committed that.
func (d *djangoSite) change(username, action string) time.Time {
	d.t.Helper()
	text, _ := d.post("/change/", url.Values{"username": {username}, "action": {action}, "password": {"a new one"}})
	seconds, err := strconv.ParseFloat(text, 64)
	require.NoError(d.t, err)
	return time.UnixMicro(int64(seconds * 1e6))
}

// login returns the cookie of a user whose password is "a new one".
func (d *djangoSite) login(username string) string {
	d.t.Helper()
	_, cookies := d.post("/login/", url.Values{"username": {username}, "password": {"a new one"}})
	for _, c := range cookies {
		if c.Name == "sessionid" {
			return "Cookie: sessionid=" + c.Value
		}
	}
	require.Fail(d.t, "no session")
	return ""
}

// A session lives on in Redis for two weeks. Its user need not.
func TestUserWhoIsGoneFromDjangoIsRefusedWithinMilliseconds(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"delete", "disable", "password"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			d, _ := startDjangoSite(t, "check_user")
			const users = 11
			delays := make([]time.Duration, 0, users)
			for i := range users {
				name := "user" + strconv.Itoa(i)
				d.change(name, "password") // makes the user
				cookie := d.login(name)
				require.Equal(t, http.StatusOK, d.Get("/", cookie).Status)
				committed := d.change(name, action)
				harness.Eventually(t, 5*time.Second, func() bool { return d.Get("/", cookie).Status == http.StatusUnauthorized }, "%s is still let in", name)
				delays = append(delays, time.Since(committed))
			}
			slices.Sort(delays)
			t.Logf("%s: median %s, most %s", action, delays[len(delays)/2], delays[len(delays)-1])
			assert.Less(t, delays[len(delays)/2], 50*time.Millisecond)
		})
	}
}

func TestUserComesBackWithTheNewPassword(t *testing.T) {
	t.Parallel()
	d, _ := startDjangoSite(t, "check_user")
	d.change("bob", "password")
	old := d.login("bob")
	d.change("bob", "password") // another salt is another hash
	refused := d.Get("/", old)
	assert.Equal(t, http.StatusUnauthorized, refused.Status)
	assert.Contains(t, refused.Body, "user_inactive")
	assert.Empty(t, refused.Header.Values("Set-Cookie"), "Django's cookie is left alone")
	assert.Equal(t, http.StatusOK, d.Get("/", d.login("bob")).Status)
}

func TestGroupsOfDjangoAreThoseOfNow(t *testing.T) {
	t.Parallel()
	d, _ := startDjangoSite(t, "check_user")
	d.change("carol", "password")
	cookie := d.login("carol")
	groups := func() []string {
		require.Equal(t, http.StatusOK, d.Get("/", cookie).Status)
		return harness.HeaderOf(d.up.One(t), "Remote-Groups")
	}
	assert.Empty(t, groups())
	d.change("carol", "group")
	assert.Equal(t, []string{"staff"}, groups())
	d.change("carol", "rename group")
	assert.Equal(t, []string{"team"}, groups())
	d.change("carol", "clear group")
	assert.Empty(t, groups())
	d.change("carol", "roll back")
	assert.Empty(t, groups(), "what is rolled back was never told")
}

func TestWhatSendsNoSignalIsToldBySyncAll(t *testing.T) {
	t.Parallel()
	d, redis := startDjangoSite(t, "check_user strict")
	alice := djangoLogin(t, d.base)
	redis.Do(t, "DEL", "edge_auth:user:1")
	assert.Equal(t, http.StatusUnauthorized, d.Get("/", alice).Status, "strict: no record")
	d.post("/sync/", nil)
	assert.Equal(t, http.StatusOK, d.Get("/", alice).Status)
	assert.Contains(t, redis.Do(t, "GET", "edge_auth:user:1"), `"name": "alice"`)
	d.change("alice", "update")
	assert.Equal(t, http.StatusOK, d.Get("/", alice).Status)
	d.post("/sync/", nil)
	assert.Equal(t, http.StatusUnauthorized, d.Get("/", alice).Status)
}

func TestRedisDownLogsNobodyOutOfDjango(t *testing.T) {
	t.Parallel()
	d, redis := startDjangoSite(t, "check_user")
	cookie := djangoLogin(t, d.base)
	require.Equal(t, http.StatusOK, d.Get("/", cookie).Status)
	redis.Kill()
	down := d.Get("/", cookie)
	assert.Equal(t, http.StatusServiceUnavailable, down.Status)
	assert.Empty(t, down.Header.Values("Set-Cookie"))
}

// The recipes of other languages write records that are read.
func TestRecipesOfNodeAndPHPDisableAUser(t *testing.T) {
	t.Parallel()
	dir, err := npmClient()
	require.NoError(t, err)
	recipes, err := filepath.Abs("../docs/recipes")
	require.NoError(t, err)
	for name, tell := range map[string]func(port, active string) *exec.Cmd{
		"Node": func(port, active string) *exec.Cmd {
			script := `import { createClient } from "redis"; import { tellEdgeAuth } from "./edge_auth.mjs";
const client = await createClient({ url: "redis://127.0.0.1:` + port + `" }).connect();
await tellEdgeAuth(client, { id: 7, active: ` + active + `, name: "Ann", groups: ["staff", "a,b"] });
await client.close();`
			recipe, err := os.ReadFile(recipes + "/edge_auth.mjs")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(dir+"/edge_auth.mjs", recipe, 0o600))
			cmd := exec.Command("node", "--input-type=module", "-e", script)
			cmd.Dir = dir
			return cmd
		},
		"PHP": func(port, active string) *exec.Cmd {
			return exec.Command("php", "-r", `require '`+recipes+`/edge_auth.php';
$redis = new Redis; $redis->connect('127.0.0.1', `+port+`);
tell_edge_auth($redis, 7, active: `+active+`, name: 'Ann', groups: [3 => 'staff', 5 => 'a,b']);`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			up := harness.StartUpstream(t)
			g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session flask
		check_user strict
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
			const id = "9b25aca4-4ea9-4ad3-9a76-64d0973014e6"
			redis.Do(t, "SET", "session:"+id, `{"_user_id":"7"}`)
			_, port, _ := strings.Cut(redis.Addr, ":")
			cookie := "Cookie: session=" + id
			require.Equal(t, http.StatusUnauthorized, g.Get("/", cookie).Status)
			for active, status := range map[string]int{"true": http.StatusOK, "false": http.StatusUnauthorized} {
				out, err := tell(port, active).CombinedOutput()
				require.NoError(t, err, "%s", out)
				assert.Equal(t, status, g.Get("/", cookie).Status)
			}
			got := up.One(t)
			assert.Equal(t, []string{"Ann"}, harness.HeaderOf(got, "Remote-Name"))
			assert.Equal(t, []string{"staff,a%2Cb"}, harness.HeaderOf(got, "Remote-Groups"))
		})
	}
}
