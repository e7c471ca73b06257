package integration

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// realServers answer with the user that they have read from the request, each by its
// own rules of which names are the same.
var realServers = map[string]struct {
	start func(t *testing.T, port string) (command []string)
	folds []string // what it takes for Remote-User besides, without a gateway
}{
	"gunicorn": {func(t *testing.T, port string) []string {
		return []string{"/usr/bin/python3", "-m", "gunicorn", "--chdir", servers(t), "--workers", "1", "--bind", "127.0.0.1:" + port, "remote_user:application"}
	}, []string{"Remote_User: admin"}},
	"uWSGI": {func(t *testing.T, port string) []string {
		return []string{"uwsgi_python3", "--http-socket", "127.0.0.1:" + port, "--chdir", servers(t), "--module", "remote_user", "--die-on-term", "--disable-logging"}
	}, []string{"Remote_User: admin"}},
	"lighttpd, CGI": {func(t *testing.T, port string) []string {
		config := filepath.Join(t.TempDir(), "lighttpd.conf")
		require.NoError(t, os.WriteFile(config, []byte(`
server.modules = ("mod_cgi", "mod_alias")
server.document-root = "`+servers(t)+`"
server.bind = "127.0.0.1"
server.port = `+port+`
alias.url = ("/" => "`+servers(t)+`/remote_user.cgi")
cgi.assign = (".cgi" => "/bin/sh")
`), 0o600))
		return []string{"/usr/sbin/lighttpd", "-D", "-f", config}
	}, []string{"Remote_User: admin", "Remote!User: admin", "Remote~User: admin"}},
	"Puma": {func(t *testing.T, port string) []string {
		return []string{"puma", "--bind", "tcp://127.0.0.1:" + port, "--threads", "1:1", servers(t) + "/remote_user.ru"}
	}, []string{"Remote_User: admin"}},
	"Node": {func(t *testing.T, port string) []string {
		return []string{"node", servers(t) + "/remote_user.js", port}
	}, nil},
}

func servers(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("servers")
	require.NoError(t, err)
	return path
}

// Django and PHP are in upstreams_test.go.
func TestH14RealServersReadTheUserAndNoForgery(t *testing.T) {
	t.Parallel()
	for name, server := range realServers {
		t.Run("H14 "+name, func(t *testing.T) {
			t.Parallel()
			port := freeport.Take(t)
			address := startSite(t, port, "/", server.start(t, port)...)
			_, body := fetch(t, "http://"+address+"/", "Remote-User: admin")
			require.Equal(t, "admin", strings.TrimSpace(body), "the baseline: without a gateway it believes anybody")
			for _, line := range server.folds {
				assert.Contains(t, direct(t, address, line), "admin", "the baseline: %s", line)
			}
			for _, global := range foldedNames {
				g := harness.Start(t, global, `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		optional
	}
	reverse_proxy SERVER
}`, "SERVER", address, "BASIC", harness.BasicAlice(t))
				for _, line := range []string{
					"X-Any: x", "Remote-User: admin", "Remote_User: admin", "remote_user: admin", "Remote.User: admin", "Remote!User: admin", "Remote~User: admin", "Remote^User: admin", "Remote|User: admin",
					"Remote`User: admin", "Remote#User: admin", "Connection: Remote-User", "HTTP_REMOTE_USER: admin", "HTTP-REMOTE-USER: admin",
				} {
					a := g.Get("/", line)
					require.Equal(t, http.StatusOK, a.Status, "%s: %s", line, a.Body)
					assert.Equal(t, "nobody", strings.TrimSpace(a.Body), line)
					assert.Equal(t, "alice", strings.TrimSpace(g.Get("/", line, harness.Alice).Body), line)
				}
				trailer := g.Raw("POST / HTTP/1.1\r\nHost: " + strings.TrimPrefix(g.URL, "http://") + "\r\n" + harness.Alice +
					"\r\nConnection: close\r\nTrailer: Remote-User\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nRemote-User: admin\r\nRemote_User: admin\r\n\r\n")
				assert.NotContains(t, trailer, "admin")
			}
		})
	}
}

// direct asks a server with a header line as it stands.
func direct(t *testing.T, address, line string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	conn.Close()
	g := &harness.Gateway{T: t, URL: "http://" + address}
	return g.Raw("GET / HTTP/1.1\r\nHost: " + address + "\r\n" + line + "\r\nConnection: close\r\n\r\n")
}
