package integration

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// everything is a site that issues and takes all kinds of credential of ours.
const everything = `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		token
		session
	}
	edge_auth {
		token
		jwt
		session
	}
	respond ok
}`

// issued makes one of each kind, uses it, and returns them by what they are.
func issued(t *testing.T, g *harness.Gateway) map[string]string {
	t.Helper()
	const login = `{"username":"alice","password":"correct horse battery"}`
	g.EdgeAuth("correct horse battery\n", "user", "add", "alice")
	token := g.EdgeAuth("", "token", "create", "alice", "--name", "ci")
	session := g.EdgeAuth("", "session", "create", "alice")
	jwt := g.EdgeAuth("", "jwt", "create", "alice")
	for _, header := range []string{"Authorization: Token " + token, "Authorization: Bearer " + jwt, "Cookie: __Host-edge_auth=" + session} {
		require.Equal(t, http.StatusOK, g.Get("/", header).Status)
	}
	pair := g.PostJSON("/api/token/", login)
	require.Equal(t, http.StatusOK, pair.Status, pair.Body)
	single := g.PostJSON("/api-token-auth/", login)
	require.Equal(t, http.StatusOK, single.Status, single.Body)
	return map[string]string{
		"token": token, "session id": session, "JWT": jwt, "password": "correct horse battery",
		"access token": field(t, pair.Body, "access"), "refresh token": field(t, pair.Body, "refresh"), "token by the issuer": field(t, single.Body, "token"),
	}
}

func field(t *testing.T, body, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(strings.ReplaceAll(body, `": "`, `":"`), `"`+name+`":"`)
	require.True(t, found, body)
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

// T11: whoever gets a copy of a store gets no credential.
func TestT11StoresHoldDigestsOnly(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	redis := redistest.Start(t, "--dir", folder)
	embedded := harness.Start(t, "", everything)
	ofEmbedded := issued(t, embedded)
	embedded.EdgeAuth("", "backup", embedded.Dir+"/backup.db")
	onRedis := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n}", everything)
	ofRedis := issued(t, onRedis)
	redis.Do(t, "SAVE")
	for _, c := range []struct {
		file    string
		secrets map[string]string
	}{
		{filepath.Join(embedded.Dir, "data", "caddy", "edge_auth.db"), ofEmbedded},
		{filepath.Join(embedded.Dir, "backup.db"), ofEmbedded},
		{filepath.Join(folder, "dump.rdb"), ofRedis},
	} {
		data, err := os.ReadFile(c.file)
		require.NoError(t, err)
		assert.Contains(t, string(data), "alice", "baseline: the records are there")
		for what, secret := range c.secrets {
			assert.NotContains(t, string(data), secret, "%s in %s", what, c.file)
			if parts := strings.Split(secret, "."); len(parts) == 3 {
				assert.NotContains(t, string(data), parts[2], "signature of %s in %s", what, c.file)
			}
		}
	}
}

// E11: the password of a Redis is in no error, log, metric or answer of the admin
// API, whether that Redis refuses it, is down, or has never been there.
func TestE11PasswordOfRedisIsNeverShown(t *testing.T) {
	t.Parallel()
	const right, wrong = "right-password-of-redis", "wrong-password-of-redis"
	redis := redistest.Start(t, "--requirepass", right)
	for name, c := range map[string]struct{ url, want string }{
		"refused":          {"redis://default:" + wrong + "@" + redis.Addr + "/0", "WRONGPASS"},
		"refused, no user": {"redis://:" + wrong + "@" + redis.Addr + "/0", "WRONGPASS"},
		"nobody there":     {"redis://:" + wrong + "@127.0.0.1:1/0", "connection refused"},
		"no such host":     {"redis://:" + wrong + "@redis.invalid:6379/0", "redis.invalid"},
	} {
		for _, by := range []string{"in clear", "by a placeholder"} {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				g := harness.New(t)
				g.Secret("password of Redis", wrong)
				url := c.url
				if by != "in clear" {
					g.Env = append(g.Env, "OF_REDIS="+wrong)
					url = strings.Replace(url, wrong, "{env.OF_REDIS}", 1)
				}
				g.Serve("debug\n edge_auth {\n store redis "+url+"\n}", "http://127.0.0.1:$PORT {\n edge_auth {\n token\n}\n respond ok\n}")
				a := g.Get("/", "Authorization: Token "+strings.Repeat("0123456789", 4))
				assert.Equal(t, http.StatusServiceUnavailable, a.Status)
				harness.Eventually(t, 10*time.Second, func() bool { return strings.Contains(g.Log.String(), c.want) }, "the cause is told: %s", g.Log)
				_, err := g.Command("", "edge-auth", "--address", g.Admin, "health")
				require.Error(t, err)
				assert.NotContains(t, err.Error(), wrong)
				if by == "in clear" {
					return
				}
				adapted, err := g.Command("", "adapt", "--config", g.Dir+"/Caddyfile")
				require.NoError(t, err)
				assert.Contains(t, adapted, "{env.OF_REDIS}")
				assert.NotContains(t, adapted, wrong)
				resp, err := harness.Client.Get("http://" + g.Admin + "/config/")
				require.NoError(t, err)
				defer resp.Body.Close()
				shown, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Contains(t, string(shown), "{env.OF_REDIS}", "E34: the admin API shows the placeholder")
			})
		}
	}
}

// E40: a secret that is not there keeps the config from loading. Nothing is ever
// signed, checked or unlocked with an empty one.
func TestE40SecretsThatAreMissingOrEmptyAreRefusedAtLoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ global, policy, want string }{
		"E40 signing key is missing":          {"signing_key $DIR/none.pem", "token", "none.pem"},
		"E40 signing key is empty":            {"signing_key $DIR/empty", "token", "signing_key"},
		"E40 signing key is a folder":         {"signing_key $DIR", "token", "is a directory"},
		"E40 signing key of nothing":          {"signing_key {env.EDGE_AUTH_UNSET}", "token", "EDGE_AUTH_UNSET"},
		"E40 signing key of an empty text":    {"signing_key {env.EDGE_AUTH_EMPTY}", "token", "EDGE_AUTH_EMPTY"},
		"E40 key file is missing":             {"", "jwt {\n key EdDSA $DIR/none.pem\n}", "none.pem"},
		"E40 key file is empty":               {"", "jwt {\n key EdDSA $DIR/empty\n}", "empty"},
		"E40 key file is a folder":            {"", "jwt {\n key EdDSA $DIR\n}", "is a directory"},
		"E40 key of nothing":                  {"", "jwt {\n key HS256 {env.EDGE_AUTH_UNSET}\n}", "EDGE_AUTH_UNSET"},
		"E40 key of an empty text":            {"", "jwt {\n key HS256 {env.EDGE_AUTH_EMPTY}\n}", "EDGE_AUTH_EMPTY"},
		"E40 key of a missing file":           {"", "jwt {\n key HS256 {file.$DIR/none}\n}", "none"},
		"E40 key of an empty file":            {"", "jwt {\n key HS256 {file.$DIR/empty}\n}", ""},
		"E40 key that the shell leaves empty": {"", "jwt {\n key HS256 {$EDGE_AUTH_UNSET}\n}", ""},
		"E40 htpasswd is missing":             {"", "basic {\n htpasswd $DIR/none\n}", "none"},
		"E40 htpasswd is empty":               {"", "basic {\n htpasswd $DIR/empty\n}", "lists no user"},
		"E40 htpasswd is a folder":            {"", "basic {\n htpasswd $DIR\n}", "is a directory"},
		"E40 password of Redis is unset":      {"store redis redis://127.0.0.1:6379 {\n password {env.EDGE_AUTH_UNSET}\n}", "token", "EDGE_AUTH_UNSET"},
		"E40 password of Redis is empty":      {"store redis redis://127.0.0.1:6379 {\n password {env.EDGE_AUTH_EMPTY}\n}", "token", "EDGE_AUTH_EMPTY"},
		"E40 CA file is missing":              {"store redis rediss://127.0.0.1:6379 {\n tls {\n ca $DIR/none.pem\n}\n}", "token", "none.pem"},
		"E40 CA file is empty":                {"store redis rediss://127.0.0.1:6379 {\n tls {\n ca $DIR/empty\n}\n}", "token", "empty"},
		"E40 session secret is unset":         {"store redis redis://127.0.0.1:6379", "session express {\n secret {env.EDGE_AUTH_UNSET}\n}", "EDGE_AUTH_UNSET"},
		"E40 session secret is empty":         {"store redis redis://127.0.0.1:6379", "session express {\n secret {env.EDGE_AUTH_EMPTY}\n}", "EDGE_AUTH_EMPTY"},
		"E40 session secret left empty":       {"store redis redis://127.0.0.1:6379", "session express {\n secret {$EDGE_AUTH_UNSET}\n}", ""},
		"E40 basic user's hash left empty":    {"", "basic {\n alice {$EDGE_AUTH_UNSET}\n}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := harness.New(t)
			g.Env = append(g.Env, "EDGE_AUTH_EMPTY=")
			g.Write("empty", "")
			config := g.Write("Caddyfile", "{\n admin off\n edge_auth {\n"+c.global+"\n}\n}\nhttp://127.0.0.1:$PORT {\n edge_auth {\n"+c.policy+"\n}\n}\n")
			_, err := g.Command("", "validate", "--adapter", "caddyfile", "--config", config)
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

// E44: what the gateway writes is for its owner only, whatever the umask.
func TestE44FilesAreForTheirOwnerOnlyWhateverTheUmask(t *testing.T) {
	t.Parallel()
	g := harness.New(t)
	config := g.Write("Caddyfile", "{\n admin "+g.Admin+"\n auto_https off\n}\n"+everything)
	g.RunBy([]string{"/bin/sh", "-c", `umask 000; exec "$0" "$@"`}, "run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
	issued(t, g)
	ours := 0
	data := filepath.Join(g.Dir, "data", "caddy")
	require.NoError(t, filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		if !strings.Contains(path, "edge_auth") {
			return nil
		}
		info, err := entry.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		} else {
			ours++
		}
		assert.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
	assert.Equal(t, 2, ours, "the store and the signing key")
	folder, err := os.Stat(data)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), folder.Mode().Perm())
}

// E35: what stands on a command line, others see.
func TestE35CommandsTakeCredentialsFromStandardInputOnly(t *testing.T) {
	t.Parallel()
	g := harness.New(t)
	for _, args := range [][]string{
		{"jwt", "revoke", "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"},
		{"explain", "https://app.example.com/", "-H", "Authorization: Token ea_0123456789abcdef"},
		{"explain", "https://app.example.com/", "-H", "cookie: sessionid=0123456789abcdef"},
		{"migrate", "--to", "redis://default:hunter2-hunter2@127.0.0.1:6379/0"},
		{"migrate", "--to", "redis://:hunter2-hunter2@127.0.0.1:6379/0"},
	} {
		_, err := g.Command("", append([]string{"edge-auth", "--address", g.Admin}, args...)...)
		require.ErrorContains(t, err, "others see what stands on a command line", "%v", args)
		for _, secret := range []string{"c2lnbmF0dXJl", "0123456789abcdef", "hunter2"} {
			assert.NotContains(t, err.Error(), secret)
		}
	}
	_, err := g.Command("", "edge-auth", "--address", g.Admin, "migrate", "--to", "redis://:{env.REDIS_PASSWORD}@127.0.0.1:6379/0")
	assert.NotContains(t, err.Error(), "others see", "a placeholder is no password")
}
