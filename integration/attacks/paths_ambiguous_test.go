package attacks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// normalForms of /admin/x are seen as such by Caddy.
var normalForms = []struct{ name, path string }{
	{"P02", "/admin/"},
	{"P02", "/admin/x"},
	{"P03 capitals", "/Admin/x"},
	{"P03 capitals", "/ADMIN/x"},
	{"P03 encoded letter", "/%41dmin/x"},
	{"P03 encoded letter", "/%61dmin/x"},
	{"P04 two slashes", "//admin/x"},
	{"P04 dot", "/./admin/x"},
	{"P04 dots", "/x/../admin/x"},
	{"P04 encoded dot", "/%2e/admin/x"},
	{"P04 encoded dots", "/x/%2e%2e/admin/x"},
	{"P04 dots and slashes", "/a/..//admin/x"},
	{"P04 slashes", "/admin//x"},
	{"P06 encoded slash", "/%2fadmin/x"},
	{"P06 encoded slash", "/admin%2fx"},
	{"P06 encoded slash", "/x%2F..%2fadmin/x"},
	{"P14 query", "/admin/x?x=/pub/"},
	{"P14 query", "/admin/x?/../../pub/"},
	{"P14 two queries", "/admin/x??"},
}

// ambiguousForms lead some upstream to /admin/x, or hide it behind /pub/, and Caddy's
// matcher sees something else.
var ambiguousForms = []struct{ name, path string }{
	{"P05 semicolon", "/;/admin/x"},
	{"P05 semicolon", "/pub/..;/admin/x"},
	{"P05 parameter", "/admin;a=b/x"},
	{"P05 parameter", "/pub;/../admin"},
	{"P05 encoded", "/pub/..%3b/admin/x"},
	{"P06 encoded slash", "/admin/..%2fpub/x"},
	{"P06 encoded slash", "/pub%2f..%2fadmin/x"},
	{"P06 encoded slash", "/admin%2F..%2Fpub/x"},
	{"P06 dots left alone", "/admin/../pub/x"},
	{"P06 dots left alone", "/admin/x/../../pub/"},
	{"P06 a dot", "/admin/x/%2e%2e/%2e%2e/pub/x"},
	{"P06 dots at the end", "/pub/.."},
	{"P07 encoded twice", "/%2561dmin/x"},
	{"P07 encoded twice", "/pub/%252e%252e/admin/x"},
	{"P07 encoded twice", "/pub/%25"},
	{"P07 %u", "/%u0061dmin/x"},
	{"P07 overlong", "/pub/..%c0%af../admin/x"},
	{"P07 no UTF-8", "/pub/%ff"},
	{"P08 blank", "/admin%20"},
	{"P08 blank", "/admin%20/x"},
	{"P08 NUL", "/admin%00"},
	{"P08 NUL", "/pub/x%00/../admin"},
	{"P08 dot", "/admin."},
	{"P08 dot", "/admin./x"},
	{"P08 dots", "/admin.."},
	{"P08 three dots", "/pub/.../admin"},
	{"P08 tab", "/admin%09/x"},
	{"P08 line break", "/pub/%0d%0aadmin"},
	{"P08 DEL", "/admin%7f/x"},
	{"P10 two slashes", "/pub//admin/x"},
	{"P15 host", "//evil/admin/x"},
	{"P15 host", "///admin/x"},
	{"P11 backslash", `/\admin/x`},
	{"P11 backslash", `/admin\x`},
	{"P11 encoded backslash", "/pub/..%5cadmin/x"},
	{"P11 backslash", `/pub\..\admin`},
	{"P13 number sign", "/pub#/../admin/x"},
	{"P13 encoded number sign", "/admin%23/x"},
	{"P14 encoded question mark", "/admin%3fx"},
}

func TestP01WholeSiteIsGuardedWhateverThePath(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		for _, list := range [][]struct{ name, path string }{normalForms, ambiguousForms} {
			for _, c := range list {
				g.guards(t, door, g.to("", c.path))
			}
		}
	}
}

// (P12: Caddy takes a dotted capital I and the Kelvin sign for i and k, which guards more
// and not less; we fold nothing.) The matcher of an edge_auth opens nothing that can be read in two ways.
func TestP05AmbiguousPathsAreGuardedWhateverTheMatcherSees(t *testing.T) { //nolint:tparallel // the rows share a recorder
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		for _, c := range normalForms {
			t.Run(c.name+" "+c.path+", "+door.Name, func(t *testing.T) {
				for _, site := range []string{"prefix", "hole"} {
					g.guards(t, door, g.to(site, c.path))
				}
			})
		}
		for _, c := range ambiguousForms {
			t.Run(c.name+" "+c.path+", "+door.Name, func(t *testing.T) {
				for _, site := range []string{"prefix", "hole", "regexp", "expression", "stripped"} {
					g.guards(t, door, g.to(site, c.path))
				}
			})
		}
		t.Run("P02 P08 P12 other paths are open, "+door.Name, func(t *testing.T) {
			for _, path := range []string{"/", "/admin", "/adminx", "/admin.json", "/pub/x", "/x/admin/", "/.well-known/x", "/~alice/a-b_c.d", "/a:b@c,d=e", "/adm%C4%B1n/x", "/pub/%E2%84%AA", "/a+b", "/pub/?x=/admin/..;/", "/pub/?a=%2e%2e%2fadmin%00"} {
				g.passes(t, door, g.to("prefix", path))
			}
			for _, path := range []string{"/pub", "/pub/", "/pub/x", "/PUB/x", "/pub/a%20b", "/pub/a.b?x=..;/"} {
				g.passes(t, door, g.to("hole", path))
			}
		})
		t.Run("P05 a matcher of something else sees no path, "+door.Name, func(t *testing.T) {
			for _, path := range []string{"/group%2fproject", "/a;b=c", "/100%25"} {
				got := g.passes(t, door, g.to("header", path))
				assert.Contains(t, got, "GET "+path+" HTTP/1.1")
				g.guards(t, door, g.to("header", path, "X-Guard: yes"))
			}
		})
	}
}

// A policy judges the path as rewrites before it have left it.
func TestP09RewrittenPathIsTheOneThatIsJudged(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		g.guards(t, door, g.to("rewritten", "/app/admin/x"))
		g.guards(t, door, g.to("rewritten", "/short"))
		g.guards(t, door, g.to("rewritten", "/app/../admin/x"))
		g.guards(t, door, g.to("rewritten", "/app/;/admin/x"))
		assert.Contains(t, g.passes(t, door, g.to("rewritten", "/app/other")), "GET /other HTTP/1.1")
		assert.Contains(t, g.passes(t, door, g.to("rewritten", "/app//evil/admin")), "GET /evil/admin HTTP/1.1", "Caddy has cleaned it for both")
	}
}

// What handle_path takes off comes after the policy, and would leave //evil/admin/x or
// ..;/admin/x for the upstream.
func TestP10StrippedPrefixLeavesNoOtherPath(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	for _, door := range harness.Doors {
		for _, path := range []string{"/pub//admin/x", "/pub//evil/admin/x", "/pub/..;/admin/x", "/pub/%2fadmin/x", "/pub/../admin/x", "/admin/x"} {
			g.guards(t, door, g.to("stripped", path))
		}
		assert.Contains(t, g.passes(t, door, g.to("stripped", "/pub/x")), "GET /x HTTP/1.1")
	}
}

func TestP13TargetsThatAreNoPathReachNothing(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	host := "prefix.localhost:" + g.port
	for _, target := range []string{
		"http://other.example/admin/x", "https://other.example/admin/x", "https://" + host + "/admin/x", "http://" + host + "//admin/x", "//evil/admin/x", "//" + host + "/admin/x",
		"admin/x", "", "?", "#", "/admin/x#", "/pub#/../admin/x", "http:/admin/x", "http:///admin/x", "*", "/admin/x\t", "/admin/x /pub/", "\\admin\\x",
		"/admin/" + strings.Repeat("x", 64<<10),
	} {
		for _, site := range []string{host, "localhost:" + g.port} {
			reply := g.raw(t, "localhost", asked("GET "+target, site))
			assert.Empty(t, g.up.Taken(), "GET %.80s at %s: %.80s", target, site, reply)
		}
	}
	for _, door := range harness.Doors[1:] {
		for _, path := range []string{"admin/x", "", "*", "https://" + host + "/admin/x", "//evil/admin/x", "/admin/x#", "?x"} {
			g.refuses(t, door, g.to("prefix", path))
			g.refuses(t, door, g.to("", path))
		}
	}
	reply := g.raw(t, "localhost", asked("OPTIONS *", host, g.token))
	assert.Empty(t, g.up.Taken(), "P15: Go answers that itself: %s", reply)
	require.Contains(t, g.raw(t, "localhost", asked("GET https://"+host+"/admin/x", host, g.token)), "HTTP/1.1 200")
	assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(g.up.One(t)))
}
