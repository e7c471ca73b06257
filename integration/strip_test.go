package integration

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// forgeries are ways to send a forged Remote-User: header lines of a request.
var forgeries = map[string][]string{
	"plain":              {"Remote-User: admin"},
	"lower case":         {"remote-user: admin"},
	"upper case":         {"REMOTE-USER: admin"},
	"underscore":         {"remote_user: admin"},
	"dot":                {"Remote.User: admin"},
	"exclamation mark":   {"Remote!User: admin"},
	"other characters":   {"Remote^User: admin", "Remote~User: admin", "Remote|User: admin", "Remote`User: admin", "Remote#User: admin", "Remote$User: admin", "Remote%User: admin", "Remote&User: admin", "Remote'User: admin", "Remote*User: admin", "Remote+User: admin"},
	"twice":              {"Remote-User: admin", "Remote-User: admin"},
	"bare line feed":     {"X-Any: a\nRemote-User: admin"},
	"in Connection":      {"Connection: close, Remote-User", "Remote-User: admin"},
	"in Connection only": {"Connection: close, remote-user"},
	"other gateways":     {"X-Forwarded-User: admin", "X-Forwarded-Email: admin", "X-Auth-Request-User: admin", "X-Webauth-User: admin", "X-WEBAUTH-ROLE: admin", "X-Remote-User: admin", "X-Remote-Group: admin"},
	"other fields":       {"Remote-Groups: admin", "Remote-Email: admin", "Remote-Name: admin"},
	"trailer":            {"Trailer: Remote-User", "Transfer-Encoding: chunked", "", "0", "Remote-User: admin"},
	"unannounced trailer": {
		"Trailer: X-Any", "Transfer-Encoding: chunked", "", "0", "X-Any: admin", "Remote-User: admin",
		"Remote_user: admin",
	},
}

// policies are sites around the same upstream; each must let no forgery by.
var policies = map[string]struct {
	site       string
	credential string
	want       string // Remote-User at the upstream; "": none
}{
	"accepted":                {"edge_auth {\n BASIC \n}\n reverse_proxy UPSTREAM", harness.Alice, "alice"},
	"optional":                {"edge_auth {\n BASIC \n optional \n}\n reverse_proxy UPSTREAM", "", ""},
	"optional, accepted":      {"edge_auth {\n BASIC \n optional \n}\n reverse_proxy UPSTREAM", harness.Alice, "alice"},
	"failed, error routes":    {"edge_auth {\n BASIC \n}\n reverse_proxy 127.0.0.1:1\n handle_errors {\n reverse_proxy UPSTREAM \n}", "", ""},
	"off":                     {"edge_auth off\n reverse_proxy UPSTREAM", "", ""},
	"H64 outside the matcher": {"edge_auth /admin/* {\n BASIC \n}\n reverse_proxy UPSTREAM", "", ""},
	"in a handle":             {"handle {\n edge_auth {\n BASIC \n}\n reverse_proxy UPSTREAM \n}", harness.Alice, "alice"},
	"in a route":              {"route {\n edge_auth {\n BASIC \n}\n reverse_proxy UPSTREAM \n}", harness.Alice, "alice"},
	"earlier directive fails, error routes": {
		"basic_auth {\n bob HASH \n}\n edge_auth {\n BASIC \n}\n reverse_proxy 127.0.0.1:1\n handle_errors {\n reverse_proxy UPSTREAM \n}", "", "",
	},
	"earlier directive fails in a handle, matched error routes first": {
		"handle_errors 401 {\n reverse_proxy UPSTREAM \n}\n handle {\n basic_auth {\n bob HASH \n}\n edge_auth {\n BASIC \n}\n reverse_proxy 127.0.0.1:1 \n}", "", "",
	},
	"upstream fails, error routes": {
		"edge_auth {\n BASIC \n}\n reverse_proxy 127.0.0.1:1\n handle_errors {\n reverse_proxy UPSTREAM \n}", harness.Alice, "alice",
	},
}

func TestForgedIdentityNeverReachesUpstream(t *testing.T) {
	t.Parallel()
	for name, p := range policies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := harness.StartUpstream(t)
			g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n"+p.site+"\n}\n",
				"UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t), "HASH", "$2a$04$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA2K")
			for name, lines := range forgeries {
				got := sendRaw(g, up, p.credential, lines)
				require.NotEmpty(t, got, "%s: nothing reached the upstream", name)
				assert.NotContains(t, got, "admin", "%s", name)
				if p.want == "" {
					assert.Empty(t, harness.HeaderOf(got, "Remote-User"), "%s", name)
				} else {
					assert.Equal(t, []string{p.want}, harness.HeaderOf(got, "Remote-User"), "%s", name)
				}
			}
		})
	}
}

// sendRaw sends a request with the lines as they are, and returns what reached
// the upstream.
func sendRaw(g *harness.Gateway, up *harness.Upstream, credential string, lines []string) string {
	g.T.Helper()
	up.Taken()
	head := "POST /page HTTP/1.1\r\nHost: " + strings.TrimPrefix(g.URL, "http://") + "\r\n"
	if credential != "" {
		head += credential + "\r\n"
	}
	joined := strings.Join(lines, "\r\n")
	if !strings.Contains(joined, "Connection:") {
		head += "Connection: close\r\n"
	}
	reply := g.Raw(head + joined + "\r\n\r\n")
	require.Contains(g.T, reply, "HTTP/1.1 ")
	return strings.Join(up.Taken(), "")
}

// The attack works on stock Caddy: without this baseline the tests above could
// pass because the harness loses the header.
func TestForgedIdentityReachesUpstreamWithoutEdgeAuth(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n reverse_proxy UPSTREAM\n}\n", "UPSTREAM", up.Addr)
	for _, name := range []string{"plain", "twice", "bare line feed", "trailer", "unannounced trailer", "exclamation mark"} {
		assert.Contains(t, sendRaw(g, up, "", forgeries[name]), "admin", name)
	}
}

func TestNearMissesAndOtherHeadersPass(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n BASIC\n }\n reverse_proxy UPSTREAM\n}\n",
		"UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	g.Get("/", harness.Alice, "Remote-User2: x", "Remote-Use: y", "X-Tenant: z")
	got := up.One(t)
	assert.Equal(t, []string{"x"}, harness.HeaderOf(got, "Remote-User2"))
	assert.Equal(t, []string{"y"}, harness.HeaderOf(got, "Remote-Use"))
	assert.Equal(t, []string{"z"}, harness.HeaderOf(got, "X-Tenant"))
}

func TestH32UpgradeSurvivesStrippingOfConnection(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n BASIC\n }\n reverse_proxy UPSTREAM\n}\n",
		"UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\nConnection: Upgrade, Remote-User\r\nUpgrade: websocket\r\n\r\n", strings.TrimPrefix(g.URL, "http://"), harness.Alice)
	buffer := make([]byte, 12)
	_, err = conn.Read(buffer)
	require.NoError(t, err)
	got := up.One(t)
	assert.Equal(t, []string{"Upgrade"}, harness.HeaderOf(got, "Connection"))
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
}

func TestAllowedTrailerPassesAndNoOther(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n BASIC\n allow_trailer X-Checksum\n }\n reverse_proxy UPSTREAM\n}\n",
		"UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	got := sendRaw(g, up, harness.Alice, []string{
		"Trailer: X-Checksum, X-Other", "Transfer-Encoding: chunked", "", "3", "abc", "0",
		"X-Checksum: good", "X-Other: no", "Remote-User: admin",
	})
	assert.Equal(t, []string{"good"}, harness.HeaderOf(got, "X-Checksum"))
	assert.NotContains(t, got, "X-Other: no")
	assert.NotContains(t, got, "admin")
}

func TestKeptHeaderPassesOnlyWhereAPolicySaysSo(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		keep_header X-Forwarded-User
	}
	handle /strict {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
	handle {
		reverse_proxy UPSTREAM
	}
}
`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	g.Get("/", harness.Alice, "X-Forwarded-User: proxy", "X-Forwarded-Email: proxy")
	got := up.One(t)
	assert.Equal(t, []string{"proxy"}, harness.HeaderOf(got, "X-Forwarded-User"))
	assert.Empty(t, harness.HeaderOf(got, "X-Forwarded-Email"))

	g.Get("/strict", harness.Alice, "X-Forwarded-User: proxy")
	got = up.One(t)
	assert.Empty(t, harness.HeaderOf(got, "X-Forwarded-User"))
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"), "what we set ourselves stays")
}
