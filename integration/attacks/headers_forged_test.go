package attacks

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// times repeats a line.
func times(n int, line string) []string { return slices.Repeat([]string{line}, n) }

// eachSeparator makes lines of each separator that some server folds to an underscore.
func eachSeparator(separators string) []string {
	lines := make([]string, 0, 4*len(separators))
	for _, separator := range separators {
		for _, name := range []string{"Remote User", "remote user", "Remote Groups", "X Forwarded User"} {
			lines = append(lines, strings.ReplaceAll(name, " ", string(separator))+": mallory")
		}
	}
	return lines
}

// forgedHeaders are ways to write an identity header.
var forgedHeaders = []headerCase{
	{name: "H01 H02 plain", lines: []string{"Remote-User: mallory"}},
	{name: "H03 lower case", lines: []string{"remote-user: mallory"}},
	{name: "H03 upper case", lines: []string{"REMOTE-USER: mallory"}},
	{name: "H03 mixed case", lines: []string{"rEmOtE-uSeR: mallory", "X-wEbAuTh-uSeR: mallory"}},
	{name: "H03 H24 capitals in h2 and h3", lines: []string{"Remote-User: mallory"}, asIs: true, refused: "h2 h3"},
	{name: "H04 twice", lines: []string{"Remote-User: mallory", "Remote-User: mallory2"}},
	{name: "H04 a hundred times", lines: times(100, "Remote-User: mallory")},
	{name: "H05 a field that alice lacks", lines: []string{"Remote-Email: mallory@example.com", "Remote-Name: mallory", "X-Forwarded-Email: mallory@example.com"}},
	{name: "H06 groups", lines: []string{"Remote-Groups: mallory"}},
	{name: "H06 groups beside hers", lines: []string{"Remote-Groups: staff, mallory", "remote-groups: mallory"}},
	{name: "H07 header of the config in odd case", lines: []string{"X-User-Id: mallory", "x-user-ID: mallory", "X-USER-ID: mallory"}},
	{name: "H08 header of another policy", lines: []string{"X-A: mallory", "X-B: mallory"}},
	{name: "H09 headers of other presets", lines: []string{
		"X-Forwarded-User: mallory", "X-Forwarded-Email: mallory", "X-Forwarded-Groups: mallory", "X-Forwarded-Preferred-Username: mallory",
		"X-Forwarded-Mail: mallory", "X-Forwarded-DisplayName: mallory",
		"X-Auth-Request-User: mallory", "X-Auth-Request-Email: mallory", "X-Auth-Request-Access-Token: mallory",
		"X-WEBAUTH-USER: mallory", "X-Webauth-Role: mallory", "X-Webauth-Fullname: mallory",
		"X-Remote-User: mallory", "X-Remote-Group: mallory", "Remote-Name: mallory",
	}},
	{name: "H10 underscore", lines: []string{"Remote_User: mallory", "remote_user: mallory", "Remote_Groups: mallory", "X_Forwarded-User: mallory"}},
	{name: "H11 dot", lines: []string{"Remote.User: mallory", "remote.user: mallory"}},
	{name: "H12 each other separator", lines: eachSeparator("!#$%&'*+^`|~")},
	{name: "H13 two separators", lines: []string{"Remote_.User: mallory", "Remote-_User: mallory", "Remote_User_: mallory", "Remote!.User: mallory"}},
	{name: "H15 name of a CGI variable", lines: []string{"HTTP_REMOTE_USER: mallory"}},
	{name: "H22 blanks around the value", lines: []string{"Remote-User: mallory \t"}},
	{name: "H22 begins with a space that is none", lines: []string{"Remote-User: \u00a0mallory"}},
	{name: "H23 no UTF-8", lines: []string{"Remote-User: \xff\xfemallory", "Remote-Groups: \xc0\xafmallory"}},
	{name: "H52 paths of other gateways", lines: []string{
		"X-Original-URL: /off/page", "X-Rewrite-URL: /off/page", "X-Forwarded-Uri: /off/page", "X-Forwarded-Path: /off/page", "X-Original-Method: OPTIONS",
		"X-HTTP-Method-Override: OPTIONS", "X-Forwarded-Method: OPTIONS",
	}},
	{name: "H56 H57 the gateway's own headers", lines: []string{
		"X-Edge-Auth-Assertion: eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJtYWxsb3J5In0.bWFsbG9yeQ", "X_Edge_Auth_Assertion: mallory", "x-edge!auth-assertion: mallory",
		"Cookie: edge_auth_redirects=2; __Host-edge_auth_redirects=2",
	}},
}

func TestForgedHeadersReachNoUpstream(t *testing.T) {
	t.Parallel()
	checkHeaderCases(t, forgedHeaders)
}

// nearMisses are names that are not ours, by any server's reading.
var nearMisses = []headerCase{
	{name: "H13 dashes at an end", lines: []string{"-Remote-User: a", "Remote-User-: b", "Remote--User: c"}, kept: []string{"-Remote-User: a", "Remote-User-: b", "Remote--User: c"}},
	{name: "H18 near misses", lines: []string{"Remote-User2: x", "Remote-Use: y", "X-Webauthn: z", "X-Forwarded-Use: u", "RemoteUser: v"}, kept: []string{
		"Remote-User2: x", "Remote-Use: y", "X-Webauthn: z", "X-Forwarded-Use: u", "RemoteUser: v",
	}},
	{name: "H18 headers of the application", lines: []string{"X-Tenant: t", "Accept-Language: de"}, kept: []string{"X-Tenant: t", "Accept-Language: de"}},
}

func TestH18NoMoreIsRemovedThanIsSaid(t *testing.T) {
	t.Parallel()
	checkHeaderCases(t, nearMisses)
}

// caddyDrops are the rows of names with an underscore or a dot, which Caddy drops by
// itself, and that which forges nothing.
var caddyDrops = regexp.MustCompile("^H(10|11|13|15|52) ")

// Without this baseline the tables could pass because the doors lose the headers.
func TestForgedHeadersReachAnUpstreamWithoutEdgeAuth(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t)
	g.ServeTLS("", "reverse_proxy "+up.Addr)
	for _, door := range harness.Doors {
		for _, c := range forgedHeaders {
			if strings.Contains(c.refused, door.Name) || caddyDrops.MatchString(c.name) {
				continue
			}
			_, got := ask(t, door, g, up, harness.Request{Path: "/page", Headers: c.lines, AsIs: c.asIs})
			assert.Contains(t, got, forged, "%s %s", door.Name, c.name)
		}
	}
}

// Operators may tell Caddy to let names with an underscore or a dot by.
func TestH10H11NamesThatCaddyWasToldToLetByAreRemoved(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("servers {\n expected_underscore_headers Remote_user Remote_User Remote_groups X_*\n expected_dot_headers Remote.user Remote.User X.*\n }", `
	handle /open/* {
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			JWT
			optional
		}
		reverse_proxy UPSTREAM
	}`)
	watchLog(t, g)
	token := aliceToken(t)
	for _, door := range harness.Doors {
		for _, line := range []string{
			"Remote_User: mallory", "remote_user: mallory", "Remote_Groups: mallory", "X_Forwarded-User: mallory", "X_webauth-User: mallory",
			"Remote.User: mallory", "remote.user: mallory", "X.Forwarded-User: mallory",
		} {
			_, got := ask(t, door, g, up, harness.Request{Path: "/page", Headers: []string{line}})
			assert.NotContains(t, got, forged, "%s %s", door.Name, line)
			assert.Empty(t, identityIn(got), "%s %s", door.Name, line)
			_, got = ask(t, door, g, up, harness.Request{Path: "/page", Headers: []string{line, token}})
			assert.NotContains(t, got, forged, "%s %s", door.Name, line)
			assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got), "%s %s", door.Name, line)
		}
		_, got := ask(t, door, g, up, harness.Request{Path: "/open/page", Headers: []string{"Remote_user: mallory"}})
		require.Contains(t, got, forged, "the baseline: Caddy lets it by")
	}
}
