package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// TestDjangosRemoteUserMiddlewareTakesTheUserAndNoForgery is a real Django whose
// WSGI server folds header names, as most do.
func TestDjangosRemoteUserMiddlewareTakesTheUserAndNoForgery(t *testing.T) {
	t.Parallel()
	django := startPython(t, "/", "django/remote_user.py", t.TempDir())
	for _, forged := range []string{"Remote-User: admin", "Remote_user: admin"} {
		status, body := fetch(t, django+"/", forged)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "admin", body, "the baseline: without a gateway it believes anybody")
	}
	for name, global := range foldedNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := harness.Start(t, global, `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		optional
		identity_headers django
	}
	reverse_proxy DJANGO
}`, "DJANGO", strings.TrimPrefix(django, "http://"), "BASIC", harness.BasicAlice(t))
			for _, forged := range []string{"X-Any: x", "Remote-User: admin", "Remote_user: admin", "Connection: Remote-User"} {
				a := g.Get("/", harness.Alice, forged)
				require.Equal(t, http.StatusOK, a.Status, a.Body)
				assert.Equal(t, "alice", a.Body, forged)
				assert.Equal(t, "nobody", g.Get("/", forged).Body, forged)
			}
		})
	}
}

// foldedNames are a Caddy as it comes, which drops names with an underscore, and
// one that was told to let them by, and so drops those with a dash.
var foldedNames = map[string]string{
	"underscores dropped": "",
	"underscores let by":  "servers {\n expected_underscore_headers Remote_user\n}",
}

// startPHP runs PHP as a FastCGI server, and returns its address.
func startPHP(t *testing.T) string {
	t.Helper()
	address := "127.0.0.1:" + freeport.Take(t)
	cmd := exec.Command("php-cgi", "-b", address)
	out := new(harness.Log)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start(), "php-cgi is needed; ./test.sh installs it")
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	harness.Eventually(t, 10*time.Second, func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, "php-cgi does not listen: %s", out)
	return address
}

func TestPHPReadsTheUserInREMOTE_USERAndNoForgery(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("php/remote_user.php")
	require.NoError(t, err)
	php := startPHP(t)
	for name, global := range foldedNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := harness.New(t, "PHP", php, "BASIC", harness.BasicAlice(t))
			require.NoError(t, os.Mkdir(g.Dir+"/site", 0o700))
			g.Write("site/index.php", string(page))
			g.Serve(global, `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		optional
	}
	root $DIR/site
	php_fastcgi PHP
}
http://127.0.0.1:$PORT2 {
	root $DIR/site
	php_fastcgi PHP
}`)
			server := func(headers ...string) map[string]string {
				a := g.Get("/index.php", headers...)
				require.Equal(t, http.StatusOK, a.Status, a.Body)
				var vars map[string]string
				require.NoError(t, json.Unmarshal([]byte(a.Body), &vars), a.Body)
				return vars
			}
			nobody := map[string]string{"REMOTE_USER": "", "HTTP_REMOTE_USER": "", "HTTP_REMOTE_GROUPS": ""}
			for _, forged := range []string{"X-Any: x", "Remote-User: admin", "Remote_user: admin", "Remote.User: admin", "Remote-Groups: admin"} {
				assert.Equal(t, map[string]string{"REMOTE_USER": "alice", "HTTP_REMOTE_USER": "alice", "HTTP_REMOTE_GROUPS": ""}, server(harness.Alice, forged), forged)
				assert.Equal(t, nobody, server(forged), forged)
			}
			g.URL = g.Vars.Replace("http://127.0.0.1:$PORT2")
			got := server("Remote-User: admin", "Remote_user: admin")
			assert.Equal(t, "admin", got["HTTP_REMOTE_USER"], "the baseline: a site without edge_auth")
		})
	}
}

// grafana stands in for Grafana: its [auth.proxy] with header_name X-WEBAUTH-USER,
// headers Name:X-WEBAUTH-NAME Email:X-WEBAUTH-EMAIL Groups:X-WEBAUTH-GROUPS, and
// a whitelist. It answers who it takes the caller for.
func grafana(t *testing.T, whitelist string) string {
	t.Helper()
	_, trusted, err := net.ParseCIDR(whitelist)
	require.NoError(t, err)
	item := regexp.MustCompile(`"[^"]+"|[^,\t\n\v\f\r ]+`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		user := r.Header.Get("X-Webauth-User")
		switch {
		case user == "":
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		case !trusted.Contains(net.ParseIP(host)):
			http.Error(w, "proxy is not in the whitelist", http.StatusUnauthorized)
			return
		}
		var groups []string
		if text := r.Header.Get("X-Webauth-Groups"); strings.HasPrefix(strings.TrimSpace(text), "[") {
			_ = json.Unmarshal([]byte(text), &groups)
		} else {
			for _, group := range item.FindAllString(text, -1) {
				groups = append(groups, strings.Trim(group, `"`))
			}
		}
		fmt.Fprintf(w, "%s/%s/%s/%s", user, r.Header.Get("X-Webauth-Name"), r.Header.Get("X-Webauth-Email"), strings.Join(groups, ";"))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestGrafanaTakesTheUserAndTheGroupsAsTheyAre(t *testing.T) {
	t.Parallel()
	direct := grafana(t, "127.0.0.1/32")
	status, body := fetch(t, "http://"+direct+"/", "X-Webauth-User: admin")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "admin///", body, "the baseline: it believes whom it trusts")

	for name, c := range map[string]struct {
		whitelist string
		status    int
	}{"gateway that is trusted": {"127.0.0.1/32", http.StatusOK}, "gateway that is not": {"10.0.0.0/8", http.StatusUnauthorized}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, key := es256(t)
			g := harness.New(t, "GRAFANA", grafana(t, c.whitelist))
			g.Write("key.pem", harness.PublicPEM(t, &key.PublicKey))
			g.Serve("", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			key ES256 $DIR/key.pem
		}
		optional
		identity_headers grafana
	}
	reverse_proxy GRAFANA
}`)
			for groups, want := range map[string]string{
				`["staff","admins"]`: "staff;admins", `["staff admins"]`: "staff%20admins", `["staff,admins"]`: "staff%2Cadmins",
				`["[\"admins\"]"]`: "%5B%22admins%22]", `["\"staff","admins\""]`: "%22staff;admins%22",
			} {
				var list []string
				require.NoError(t, json.Unmarshal([]byte(groups), &list))
				token := signer.Token(t, map[string]any{
					"sub": "alice", "name": "Alice L.", "email": "alice@example.com", "groups": list, "exp": time.Now().Add(time.Hour).Unix(),
				})
				a := g.Get("/", "Authorization: Bearer "+token, "X-WEBAUTH-USER: admin", "X-WEBAUTH-ROLE: Admin", "X_WEBAUTH_GROUPS: admins")
				require.Equal(t, c.status, a.Status, a.Body)
				if c.status == http.StatusOK {
					assert.Equal(t, "alice/Alice L./alice@example.com/"+want, a.Body)
				}
			}
			a := g.Get("/", "X-WEBAUTH-USER: admin")
			assert.Equal(t, http.StatusFound, a.Status, "nobody, so Grafana's own login")
		})
	}
}

// TestUpstreamGetsTheHeadersOfItsPreset has the groups of one user joined as each
// backend wants them, from what was verified and from what was kept of it.
func TestUpstreamGetsTheHeadersOfItsPreset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy string
		want   map[string]string // "": not sent
	}{
		"jenkins": {"identity_headers jenkins", map[string]string{
			"X-Forwarded-User": "alice", "X-Forwarded-DisplayName": "Alice L.", "X-Forwarded-Mail": "alice@example.com", "X-Forwarded-Groups": "the board|a,b|c%7Cd", "X-Forwarded-Email": "",
		}},
		"gitea": {"identity_headers gitea", map[string]string{
			"X-Webauth-User": "alice", "X-Webauth-Fullname": "Alice L.", "X-Webauth-Email": "alice@example.com", "X-Webauth-Groups": "", "X-Webauth-Name": "",
		}},
		"django":            {"identity_headers django", map[string]string{"Remote-User": "alice", "Remote-Groups": "", "Remote-Name": "", "Remote-Email": ""}},
		"remote":            {"", map[string]string{"Remote-User": "alice", "Remote-Groups": "the board,a%2Cb,c|d"}},
		"remote, by pipe":   {"groups_separator pipe", map[string]string{"Remote-Groups": "the board|a,b|c%7Cd"}},
		"remote, by space":  {"groups_separator space", map[string]string{"Remote-Groups": "the%20board a,b c|d"}},
		"jenkins, by comma": {"identity_headers jenkins\n groups_separator comma", map[string]string{"X-Forwarded-Groups": "the board,a%2Cb,c|d"}},
		"placeholders remain": {"identity_headers jenkins\n identity_header X-Groups {http.auth.user.groups}", map[string]string{
			"X-Forwarded-Groups": "the board|a,b|c%7Cd", "X-Groups": "the board,a%2Cb,c|d",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, key := es256(t)
			up := harness.StartUpstream(t)
			g := harness.New(t, "UPSTREAM", up.Addr)
			g.Write("key.pem", harness.PublicPEM(t, &key.PublicKey))
			g.Serve("", "http://127.0.0.1:$PORT {\n edge_auth {\n jwt {\n key ES256 $DIR/key.pem\n}\n"+c.policy+"\n}\n reverse_proxy UPSTREAM\n}")
			token := "Authorization: Bearer " + signer.Token(t, map[string]any{
				"sub": "alice", "name": "Alice L.", "email": "alice@example.com", "groups": []string{"the board", "a,b", "c|d"}, "exp": time.Now().Add(time.Hour).Unix(),
			})
			for range 3 { // verified, and kept
				require.Equal(t, http.StatusOK, g.Get("/", token, "X-Forwarded-DisplayName: forged", "X-Forwarded-Mail: forged").Status)
				got := up.One(t)
				assert.NotContains(t, got, "forged")
				for field, value := range c.want {
					if value == "" {
						assert.Empty(t, harness.HeaderOf(got, field))
						continue
					}
					assert.Equal(t, []string{value}, harness.HeaderOf(got, field))
				}
			}
		})
	}
}
