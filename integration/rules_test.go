package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// Each rule is met by one of two callers, and not by the other.
func TestRequirementsHoldAtTheUpstream(t *testing.T) {
	t.Parallel()
	rules := map[string]struct{ rule, passes, fails string }{
		"user":                  {"require user alice", "alice", "bob"},
		"group":                 {"require group staff admins", "alice", "bob"},
		"scope":                 {"require scope read", "scoped", "alice"},
		"method":                {"require method basic", "password", "alice"},
		"max age":               {"require max_age 1h", "alice", "password"},
		"amr":                   {"require amr pwd", "login", "alice"},
		"expression":            {`require expression auth_user().id == "alice" && auth_user().method == "token"`, "alice", "bob"},
		"expression of groups":  {`require expression "staff" in auth_user().groups`, "alice", "bob"},
		"placeholder":           {`require expression {http.auth.user.id} == "alice"`, "alice", "bob"},
		"expression of request": {`require expression method("GET") && path("/group*") && auth_user().groups.size() == 1`, "alice", "bob"},
		"expression of claims":  {`require expression auth_user().claims.amr[0] == "pwd"`, "login", "alice"},
		"expression of time":    {`require expression auth_user().auth_time > timestamp("2020-01-01T00:00:00Z")`, "alice", "password"},
	}
	var sites strings.Builder
	sites.WriteString("http://127.0.0.1:$PORT {\n\tedge_auth_issuer\n")
	paths := make(map[string]string)
	for name, c := range rules {
		paths[name] = "/group" + strings.ReplaceAll(name, " ", "-")
		sites.WriteString("\thandle " + paths[name] + " {\n\t\tedge_auth {\n\t\t\ttoken\n\t\t\tjwt\n\t\t\tbasic\n\t\t\t" + c.rule + "\n\t\t}\n\t\treverse_proxy UPSTREAM\n\t}\n")
	}
	sites.WriteString("}\n")
	up := startUpstream(t)
	g := startGateway(t, "", sites.String(), "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	g.edgeAuth("correct horse\n", "user", "add", "bob")
	login := g.do(http.MethodPost, "/api/token/", `{"username":"alice","password":"correct horse"}`, "Content-Type: application/json")
	require.Equal(t, http.StatusOK, login.status, login.body)
	var pair struct{ Access string }
	require.NoError(t, json.Unmarshal([]byte(login.body), &pair))
	callers := map[string]string{
		"alice":    "Authorization: Token " + g.edgeAuth("", "token", "create", "alice"),
		"bob":      "Authorization: Token " + g.edgeAuth("", "token", "create", "bob"),
		"scoped":   "Authorization: Token " + g.edgeAuth("", "token", "create", "bob", "--scope", "read"),
		"login":    "Authorization: Bearer " + pair.Access,
		"password": basicHeader("correct horse"),
	}
	for name, c := range rules {
		for range 2 { // the second time it is known already
			passed := g.get(paths[name], callers[c.passes])
			assert.Equal(t, http.StatusOK, passed.status, "%s: %s", name, passed.body)
			assert.Len(t, up.taken(), 1, name)
			refused := g.get(paths[name], callers[c.fails])
			assert.Equal(t, http.StatusForbidden, refused.status, name)
			assert.Empty(t, up.taken(), name)
		}
	}
}

func TestRuleThatAnOwnLoginIsTooOldForIsNotMet(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
		}
		require max_age 1s
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Bearer " + g.edgeAuth("", "token", "create", "alice")
	var last answer
	eventually(t, 5*time.Second, func() bool {
		last = g.get("/", token)
		return last.status == http.StatusForbidden
	}, "a login of more than a second ago still passes")
	assert.Equal(t, []string{`Bearer realm="api", error="insufficient_user_authentication", error_description="Log in again: the last login was too long ago.", max_age="1"`}, last.header["Www-Authenticate"])
	assert.JSONEq(t, `{"detail":"Log in again: the last login was too long ago.","code":"insufficient_user_authentication"}`, last.body)
}

func TestMissingScopeIsNamedInTheChallenge(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
		}
		require scope read write
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr)
	g.edgeAuth("correct horse\n", "user", "add", "alice")
	unknown := g.get("/", "Authorization: Bearer ea_unknown")
	assert.Equal(t, []string{`Bearer realm="api", error="invalid_token", error_description="Invalid token."`}, unknown.header["Www-Authenticate"])
	assert.Equal(t, []string{`Bearer realm="api"`}, g.get("/").header["Www-Authenticate"], "no credential: no problem with it (RFC 6750, section 3.1)")
	refused := g.get("/", "Authorization: Bearer "+g.edgeAuth("", "token", "create", "alice"))
	assert.Equal(t, http.StatusForbidden, refused.status)
	assert.Equal(t, []string{`Bearer realm="api", error="insufficient_scope", error_description="You do not have permission to perform this action.", scope="read write"`}, refused.header["Www-Authenticate"])
	assert.JSONEq(t, `{"detail":"You do not have permission to perform this action.","code":"permission_denied"}`, refused.body)
	assert.NotEmpty(t, refused.header.Get(authenticators.RequestIDHeader))
}

func TestOnlyATruePreflightPasses(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	handle /open {
		edge_auth {
			BASIC
			allow_preflight
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	preflight := []string{"Origin: https://app.example.com", "Access-Control-Request-Method: PUT"}
	forged := append([]string{"Remote-User: admin", basicHeader("wrong")}, preflight...)
	require.Equal(t, http.StatusOK, g.do(http.MethodOptions, "/open", "", forged...).status)
	got := up.one(t)
	assert.Empty(t, header(got, "Remote-User"), "it is stripped")
	assert.Empty(t, header(got, "Authorization"), "no credential travels unchecked")
	for name, refused := range map[string]answer{
		"not said":           g.do(http.MethodOptions, "/closed", "", preflight...),
		"no origin":          g.do(http.MethodOptions, "/open", "", preflight[1]),
		"no method asked":    g.do(http.MethodOptions, "/open", "", preflight[0]),
		"two methods asked":  g.do(http.MethodOptions, "/open", "", preflight[0], preflight[1], preflight[1]),
		"body":               g.do(http.MethodOptions, "/open", "x", preflight...),
		"another method":     g.do(http.MethodPut, "/open", "", preflight...),
		"lower case":         g.do("options", "/open", "", preflight...),
		"WebSocket upgrade":  g.do(http.MethodOptions, "/open", "", append(preflight, "Upgrade: websocket", "Connection: Upgrade")...),
		"GET like preflight": g.get("/open", preflight...),
	} {
		assert.Equal(t, http.StatusUnauthorized, refused.status, name)
	}
	assert.Empty(t, up.taken())
}

func TestPolicyThatOnlyReportsRefusesNobodyAndSaysWhom(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "\tmetrics", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		require user root
		report_only
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	require.Len(t, g.log.lines("report_only is on"), 1, "the log says so at start")

	forged := "Remote-User: admin"
	assert.Equal(t, http.StatusOK, g.get("/", forged).status)
	assert.Empty(t, header(up.one(t), "Remote-User"), "stripped all the same")

	wrong := basicHeader("wrong")
	assert.Equal(t, http.StatusOK, g.get("/", forged, wrong).status)
	got := up.one(t)
	assert.Empty(t, header(got, "Remote-User"))
	assert.Len(t, header(got, "Authorization"), 1, "the application still checks for itself")

	assert.Equal(t, http.StatusOK, g.get("/", forged, alice).status)
	got = up.one(t)
	assert.Equal(t, []string{"alice"}, header(got, "Remote-User"), "who is known is told, though a rule is not met")
	assert.Len(t, header(got, "Authorization"), 1)

	for _, want := range []string{`"code":"not_authenticated"`, `"code":"authentication_failed"`, `"code":"permission_denied"`} {
		lines := g.log.lines(want)
		require.Len(t, lines, 1, want)
		assert.Contains(t, lines[0], "would refuse")
		assert.Contains(t, lines[0], `"request_id":"`)
	}
	assert.Contains(t, g.log.lines("permission_denied")[0], "not met: require user root")
	metrics := g.metrics()
	for _, want := range []string{
		`caddy_edge_auth_report_only_refusals_total{authenticator="",outcome="absent",policy="inline"} 1`,
		`caddy_edge_auth_report_only_refusals_total{authenticator="basic",outcome="rejected",policy="inline"} 1`,
		`caddy_edge_auth_report_only_refusals_total{authenticator="basic",outcome="forbidden",policy="inline"} 1`,
	} {
		assert.Contains(t, metrics, want)
	}
}

func TestErrorPagesKnowWhyARequestWasRefused(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		require user root
		login_url /login/
	}
	reverse_proxy UPSTREAM
	handle_errors {
		respond "{http.auth.edge_auth.status} {http.auth.edge_auth.code} {http.auth.edge_auth.policy} {http.auth.edge_auth.authenticator} {http.auth.edge_auth.outcome} user={http.auth.edge_auth.user} login={http.auth.edge_auth.login_url} id={http.auth.edge_auth.request_id} {http.auth.edge_auth.detail} nobody={http.auth.user.id}" {err.status_code}
	}
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	refused := g.get("/x?y=1", alice)
	assert.Equal(t, http.StatusForbidden, refused.status)
	id := refused.header.Get(authenticators.RequestIDHeader)
	assert.Equal(t, "403 permission_denied inline basic forbidden user=alice login=/login/?next=%2Fx%3Fy%3D1 id="+id+
		" You do not have permission to perform this action. nobody=", refused.body)
	refused = g.get("/")
	assert.True(t, strings.HasPrefix(refused.body, "401 not_authenticated inline  absent user= login=/login/?next=%2F id="), refused.body)
	assert.Empty(t, up.taken())
}

func TestTheLogCarriesTheIdOfARefusal(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "\tdebug", `http://127.0.0.1:$PORT {
	log
	edge_auth {
		BASIC
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	id := g.get("/").header.Get(authenticators.RequestIDHeader)
	require.NotEmpty(t, id)
	eventually(t, 5*time.Second, func() bool { return len(g.log.lines(id)) >= 2 }, "our log and Caddy's access log name the request")
	assert.Len(t, g.log.lines(`"request_id":"`+id), 1)
}

const navigation = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"

func TestOnlyNavigationIsSentToTheLoginPage(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	for name, c := range map[string]struct {
		method  string
		headers []string
		status  int
	}{
		"navigation":               {http.MethodGet, []string{navigation}, 302},
		"HEAD":                     {http.MethodHead, []string{navigation}, 302},
		"navigation by fetch mode": {http.MethodGet, []string{"Sec-Fetch-Mode: navigate", "Accept: */*"}, 302},
		"script":                   {http.MethodGet, []string{"Sec-Fetch-Mode: cors", navigation}, 401},
		"same-origin script":       {http.MethodGet, []string{"Sec-Fetch-Mode: same-origin", navigation}, 401},
		"image":                    {http.MethodGet, []string{"Sec-Fetch-Mode: no-cors", navigation}, 401},
		"WebSocket":                {http.MethodGet, []string{"Sec-Fetch-Mode: websocket", navigation}, 401},
		"WebSocket of old":         {http.MethodGet, []string{"Upgrade: websocket", "Connection: Upgrade", navigation}, 401},
		"XMLHttpRequest of jQuery": {http.MethodGet, []string{"X-Requested-With: XMLHttpRequest", navigation}, 401},
		"form":                     {http.MethodPost, []string{"Sec-Fetch-Mode: navigate", navigation}, 401},
		"program":                  {http.MethodGet, []string{"Accept: */*"}, 401},
		"no Accept":                {http.MethodGet, nil, 401},
		"wrong credential":         {http.MethodGet, []string{navigation, basicHeader("wrong")}, 401},
	} {
		got := g.do(c.method, "/page?a=b", "", c.headers...)
		assert.Equal(t, c.status, got.status, name)
		if c.status == 302 {
			assert.Equal(t, "/login/?next=%2Fpage%3Fa%3Db", got.header.Get("Location"), name)
		} else {
			assert.Equal(t, []string{`Basic realm="api"`}, got.header["Www-Authenticate"], name)
		}
	}
}

func TestLoginPageUnderItsOwnGuardIsTold(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	eventually(t, 10*time.Second, func() bool { return len(g.log.lines("the login page is guarded by the very policy")) == 1 }, "the log does not say so at start")
	for range 2 {
		told := g.get("/login/?next=%2F", navigation)
		assert.Equal(t, http.StatusUnauthorized, told.status)
		assert.Empty(t, told.header.Get("Location"))
		assert.Contains(t, told.header.Get("Content-Type"), "text/html")
		assert.Contains(t, told.body, "guarded by the very policy")
	}
	assert.Len(t, g.log.lines("logging in leads round in circles"), 1)
}

func TestCircleOfRedirectsEndsWithItsCause(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	@guarded not path /login/
	edge_auth @guarded {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	assert.Empty(t, g.log.lines("the login page is guarded"), "here it is not")
	cookie := ""
	round := func(path string) answer {
		headers := []string{navigation}
		if cookie != "" {
			headers = append(headers, "Cookie: other=1; "+cookie)
		}
		got := g.get(path, headers...)
		cookie, _, _ = strings.Cut(got.header.Get("Set-Cookie"), ";")
		return got
	}
	for range 5 {
		assert.Equal(t, http.StatusFound, round("/page").status)
	}
	told := round("/page")
	assert.Equal(t, http.StatusUnauthorized, told.status)
	assert.Contains(t, told.body, "sent you to log in 5 times")
	assert.Equal(t, http.StatusFound, round("/page").status, "it begins anew")

	for range 4 {
		round("/page")
	}
	assert.Equal(t, http.StatusFound, round("/another").status, "another address is another matter")

	require.Equal(t, http.StatusOK, g.get("/page", alice, "Cookie: "+cookie+"; other=1").status)
	assert.Equal(t, []string{"other=1"}, header(up.one(t), "Cookie"), "the upstream sees nothing of it")
}

func TestPolicyOfJSONUsesOthers(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := newGateway(t, "UPSTREAM", up.addr)
	hash := strings.Fields(basicAlice(t))[3]
	config := func(policies, handler string) string {
		return g.write("caddy.json", `{"admin":{"listen":"`+g.admin+`"},"apps":{"edge_auth":{"policies":{
			"base":{"authenticators":[{"authenticator":"basic","users":[{"name":"alice","hash":"`+hash+`"}]}],"identity_headers":"webauth"},`+policies+`}},
			"http":{"servers":{"s":{"listen":["127.0.0.1:$PORT"],"routes":[{"handle":[{"handler":"edge_auth",`+handler+`},
			{"handler":"reverse_proxy","upstreams":[{"dial":"UPSTREAM"}]}]}]}}}}}`)
	}
	for name, c := range map[string]struct{ policies, handler, says string }{
		"unknown": {`"a":{"use":["bas"]}`, `"use":"a"`, "unknown policy 'bas'; did you mean 'base'?"},
		"cycle":   {`"a":{"use":["b"]},"b":{"use":["a"]}`, `"use":"a"`, "uses itself"},
		"never":   {`"a":{"use":["base"],"require":[{"method":["jwt"]}]}`, `"use":"a"`, "this never holds"},
		"inline":  {`"a":{"use":["base"]}`, `"policy":{"use":["nope"]}`, "unknown policy 'nope'"},
	} {
		_, err := g.command("", "validate", "--config", config(c.policies, c.handler))
		require.ErrorContains(t, err, c.says, name)
	}
	g.start("run", "--config", config(`"staff":{"use":["base"],"require":[{"user":["alice"]}]}`, `"policy":{"use":["staff"],"identity_header":[{"name":"X-Id","value":"{http.auth.user.id}"}]}`))
	g.waitReady()
	require.Equal(t, http.StatusOK, g.get("/", alice).status)
	got := up.one(t)
	assert.Equal(t, []string{"alice"}, header(got, "X-Webauth-User"))
	assert.Equal(t, []string{"alice"}, header(got, "X-Id"))
	assert.Equal(t, http.StatusUnauthorized, g.get("/").status)
}

func TestMatcherOfTheIdentityOpensNothing(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	@staff edge_auth group staff
	@expression expression "staff" in auth_user().groups
	edge_auth {
		token
		optional
	}
	respond @staff "staff"
	header @expression X-Seen yes
	respond "others"
}`)
	g.edgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	token := "Authorization: Token " + g.edgeAuth("", "token", "create", "alice")
	assert.Equal(t, "staff", g.get("/", token).body)
	assert.Equal(t, "others", g.get("/").body)
	assert.Equal(t, "others", g.get("/", "Remote-Groups: staff").body)
	assert.Empty(t, g.get("/", token).header.Get("X-Seen"), "header comes before edge_auth, where nobody is known yet")
}

// Caddy's own basic_auth sets the same placeholders: they must not be taken for those
// of the caller whom the policy found.
func TestRulesAreAboutThePolicysOwnCaller(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	hash := strings.Fields(basicAlice(t))[3]
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	basic_auth {
		alice HASH
	}
	handle /rule {
		edge_auth {
			token {
				header X-Key
			}
			require expression {http.auth.user.id} == "alice"
		}
		reverse_proxy UPSTREAM
	}
	handle {
		edge_auth {
			token {
				header X-Key
			}
			identity_header X-User {http.auth.user.id}
		}
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.addr, "HASH", hash)
	g.edgeAuth("correct horse\n", "user", "add", "bob")
	bob := "X-Key: " + g.edgeAuth("", "token", "create", "bob")
	assert.Equal(t, http.StatusForbidden, g.get("/rule", alice, bob).status)
	assert.Empty(t, up.taken())
	require.Equal(t, http.StatusOK, g.get("/", alice, bob).status)
	got := up.one(t)
	assert.Equal(t, []string{"bob"}, header(got, "Remote-User"))
	assert.Equal(t, []string{"bob"}, header(got, "X-User"))
}

func TestReportOnlyLeavesTheAddressAsItIs(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	secret := strings.Repeat("s", 32)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		jwt {
			key HS256 SECRET
			query access_token
			audience api
		}
		report_only
	}
	edge_auth {
		jwt {
			key HS256 SECRET
			query access_token
			audience api
			leeway 1s
		}
		report_only
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "SECRET", secret)
	target := "/x?access_token=" + hs256(secret).token(t, claimsOf("alice")) + "&b=1"
	require.Equal(t, http.StatusOK, g.get(target).status)
	got := up.one(t)
	assert.Contains(t, got, "GET "+target+" HTTP/1.1", "the application still reads it")
	assert.Equal(t, []string{"alice"}, header(got, "Remote-User"))
	x, _ := g.explain(t, map[string]any{"url": g.url + target})
	assert.Equal(t, "passed", x.Outcome)
	assert.Equal(t, 2, strings.Count(x.said(), "it is alice"), x.said())
	assert.Empty(t, g.log.lines(`"msg":"would refuse"`))
}
