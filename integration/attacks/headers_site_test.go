package attacks

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// The rows H01 to H75 of the attack catalogue, identity headers, stand in the files
// headers_*_test.go: the tables in headers_forged_test.go, headers_connection_test.go
// and headers_trailers_test.go are sent through each door to each of the policies
// below. Rows, or parts of rows, that stand elsewhere:
//
//	H10, H11, H14  real servers behind the gateway: integration/upstreams*_test.go
//	H55, H69       integration/attacks/headers_around_test.go, headers_routes_test.go
//	H70, H71, H73  what values become, at unit level: identity
//	H75            integration/policy_test.go

const aliceSecret = "a secret of 32 bytes or more, yes"

// aliceToken is the credential of alice, who is in the group staff and has no email.
func aliceToken(t testing.TB) string {
	t.Helper()
	claims := harness.ClaimsOf("alice")
	claims["groups"] = []string{"staff"}
	return "Authorization: Bearer " + harness.HS256(aliceSecret).Token(t, claims)
}

// aliceJWT is an authenticator that knows her.
const aliceJWT = "jwt {\n key HS256 `" + aliceSecret + "`\n audience api\n }"

// bobHash is of a password that nobody sends.
const bobHash = "$2a$04$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA2K"

// guardedAlice is what the upstream hears of her, in the order of names.
var guardedAlice = []string{"Remote-Groups: staff", "Remote-User: alice", "X-A: alice", "X-User-Id: alice"}

// headerPolicy is a way through the gateway to an upstream of its own.
type headerPolicy struct {
	name       string
	site       string // of the path /name/*
	method     string
	path       string // in place of /name/page
	credential bool
	want       []string // the identity that the upstream hears; nil: none
	nothing    bool     // nothing may reach the upstream
	error      string   // what the site does in error routes
}

const proxyOn = "reverse_proxy UPSTREAM"

var headerPolicies = []headerPolicy{
	{name: "accepted", credential: true, want: guardedAlice, site: "edge_auth {\n JWT\n identity_header X-A {http.auth.user.id}\n identity_header x-user-ID {http.auth.user.id}\n }\n" + proxyOn},
	{name: "nobody", nothing: true, site: "edge_auth {\n JWT\n }\n" + proxyOn},
	{name: "optional", site: "edge_auth {\n JWT\n optional\n identity_header X-B {http.auth.user.id}\n }\n" + proxyOn},
	{name: "known", credential: true, want: []string{"Remote-Groups: staff", "Remote-User: alice"}, site: "edge_auth {\n JWT\n optional\n }\n" + proxyOn},
	{name: "options", method: http.MethodOptions, site: "edge_auth {\n JWT\n optional\n }\n" + proxyOn},
	{name: "off", site: "edge_auth off\n" + proxyOn},
	{name: "outside", site: "edge_auth /outside/admin/* {\n JWT\n }\n" + proxyOn},
	{name: "failed", site: "edge_auth {\n JWT\n }\n respond never", error: proxyOn},
	{name: "earlier", site: "basic_auth {\n bob HASH\n }\n edge_auth {\n JWT\n }\n respond never", error: proxyOn},
	{name: "upstream-down", credential: true, want: []string{"Remote-Groups: staff", "Remote-User: alice"}, site: "edge_auth {\n JWT\n }\n reverse_proxy 127.0.0.1:1", error: proxyOn},
	{name: "issuer", site: "edge_auth_issuer {\n session /issuer/login/\n }\n edge_auth {\n JWT\n optional\n }\n" + proxyOn},
}

// headerSite runs them all in one gateway, and returns the upstream of each.
func headerSite(t *testing.T) (*harness.Gateway, []*harness.Upstream) {
	t.Helper()
	var site, errors strings.Builder
	ups := make([]*harness.Upstream, len(headerPolicies))
	for i, p := range headerPolicies {
		ups[i] = harness.StartUpstream(t)
		to := strings.NewReplacer("UPSTREAM", ups[i].Addr, "JWT", aliceJWT, "HASH", bobHash)
		fmt.Fprintf(&site, "handle /%s/* {\n%s\n}\n", p.name, to.Replace(p.site))
		if p.error != "" {
			fmt.Fprintf(&errors, "handle /%s/* {\n%s\n}\n", p.name, to.Replace(p.error))
		}
	}
	g := harness.New(t)
	g.ServeTLS("", site.String()+"handle_errors {\n"+errors.String()+"}")
	watchLog(t, g)
	return g, ups
}

// watchLog asserts at the end that nothing has panicked and nothing was answered 500.
func watchLog(t *testing.T, g *harness.Gateway) {
	t.Helper()
	t.Cleanup(func() {
		assert.Empty(t, g.Log.Lines("panic"))
		assert.Empty(t, g.Log.Lines(`"status":500`))
	})
}

// headerCase is what an attacker sends beside what makes a request.
type headerCase struct {
	name     string // begins with the rows' numbers
	lines    []string
	trailers []string
	asIs     bool
	body     string
	refused  string   // the doors that answer 4xx or end the stream, and nothing goes upstream
	kept     []string // lines that the upstream must get as they are
	loose    bool     // the forged text may arrive, as part of another header's value
}

// forged is the text that no case may bring to the upstream.
const forged = "mallory"

func checkHeaderCases(t *testing.T, cases []headerCase) {
	t.Helper()
	g, ups := headerSite(t)
	token := aliceToken(t)
	for i, p := range headerPolicies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, door := range harness.Doors {
				for _, c := range cases {
					p.check(t, g, ups[i], door, c, token)
				}
			}
		})
	}
}

func (p headerPolicy) check(t *testing.T, g *harness.Gateway, up *harness.Upstream, door harness.Door, c headerCase, token string) {
	t.Helper()
	request := harness.Request{Method: p.method, Path: p.path, Headers: c.lines, Trailers: c.trailers, AsIs: c.asIs, Body: c.body}
	if p.path == "" {
		request.Path = "/" + p.name + "/page"
	}
	if c.trailers != nil && p.method == "" {
		request.Method = http.MethodPost
	}
	if p.credential {
		request.Headers = append([]string{token}, c.lines...)
		if c.asIs {
			request.Headers[0] = "a" + token[1:]
		}
	}
	what := fmt.Sprintf("%s, %s, %s", p.name, door.Name, c.name)
	up.Taken()
	a, err := door.Ask(t, g, request)
	got := up.Taken()
	if strings.Contains(c.refused, door.Name) {
		assert.Empty(t, got, what)
		if err == nil {
			assert.GreaterOrEqual(t, a.Status, 400, what)
			assert.Less(t, a.Status, 500, what)
		}
		return
	}
	require.NoError(t, err, what)
	if p.nothing {
		assert.Equal(t, http.StatusUnauthorized, a.Status, what)
		assert.Empty(t, got, what)
		return
	}
	if !assert.Len(t, got, 1, "%s: %d %s", what, a.Status, a.Body) {
		return
	}
	assert.Equal(t, p.want, identityIn(got[0]), "%s\n%s", what, got[0])
	if !c.loose {
		assert.NotContains(t, got[0], forged, what)
	}
	for _, line := range c.kept {
		assert.Contains(t, strings.ToLower(got[0]), strings.ToLower(line)+"\r\n", what)
	}
}

var (
	noLetter     = regexp.MustCompile("[^a-z0-9]")
	identityName = regexp.MustCompile(`^(http-)?(remote-(user|name|email|groups)|x-forwarded-(user|email|groups|preferred-username|mail|displayname)|x-remote-(user|group)|x-(auth-request|webauth)-.*|x-edge-auth-.*|x-a|x-b|x-user-id)$`)
)

// identityIn lists the lines of a recorded request, trailers included, that some
// server would take for the identity: names are read as the laxest of them does.
func identityIn(request string) []string {
	var found []string
	for line := range strings.Lines(request) {
		line = strings.TrimRight(line, "\r\n")
		name, _, ok := strings.Cut(line, ":")
		if ok && identityName.MatchString(noLetter.ReplaceAllString(strings.ToLower(name), "-")) {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return found
}

// ask sends a request that must be answered, and returns what the upstream got of it.
func ask(t *testing.T, door harness.Door, g *harness.Gateway, up *harness.Upstream, r harness.Request) (harness.Answer, string) {
	t.Helper()
	up.Taken()
	a, err := door.Ask(t, g, r)
	require.NoError(t, err, "%s %s %v", door.Name, r.Path, r.Headers)
	return a, strings.Join(up.Taken(), "")
}

// waitFor waits for a line in the gateway's log.
func waitFor(t *testing.T, g *harness.Gateway, text string) []string {
	t.Helper()
	harness.Eventually(t, 10*time.Second, func() bool { return len(g.Log.Lines(text)) > 0 }, "not in the log: %s", text)
	return g.Log.Lines(text)
}

func base64URL(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
