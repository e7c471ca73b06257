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
	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// Each rule is met by one of two callers, and not by the other.
func TestC70RequirementsHoldAtTheUpstream(t *testing.T) {
	t.Parallel()
	rules := map[string]struct{ rule, passes, fails string }{
		"user":                  {"require user alice", "alice", "bob"},
		"group":                 {"require group staff admins", "alice", "bob"},
		"scope":                 {"require scope read", "scoped", "alice"},
		"method":                {"require method basic", "password", "alice"},
		"max age":               {"require max_age 1h", "alice", "password"},
		"amr":                   {"require amr pwd", "login", "alice"},
		"claim":                 {"require claim amr pwd otp", "login", "alice"},
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
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", sites.String(), "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	g.EdgeAuth("correct horse\n", "user", "add", "bob")
	login := g.Do(http.MethodPost, "/api/token/", `{"username":"alice","password":"correct horse"}`, "Content-Type: application/json")
	require.Equal(t, http.StatusOK, login.Status, login.Body)
	var pair struct{ Access string }
	require.NoError(t, json.Unmarshal([]byte(login.Body), &pair))
	callers := map[string]string{
		"alice":    "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice"),
		"bob":      "Authorization: Token " + g.EdgeAuth("", "token", "create", "bob"),
		"scoped":   "Authorization: Token " + g.EdgeAuth("", "token", "create", "bob", "--scope", "read"),
		"login":    "Authorization: Bearer " + pair.Access,
		"password": harness.BasicHeader("correct horse"),
	}
	for name, c := range rules {
		for range 2 { // the second time it is known already
			passed := g.Get(paths[name], callers[c.passes])
			assert.Equal(t, http.StatusOK, passed.Status, "%s: %s", name, passed.Body)
			assert.Len(t, up.Taken(), 1, name)
			refused := g.Get(paths[name], callers[c.fails])
			assert.Equal(t, http.StatusForbidden, refused.Status, name)
			assert.Empty(t, up.Taken(), name)
		}
	}
}

func TestRuleThatAnOwnLoginIsTooOldForIsNotMet(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
		}
		require max_age 1s
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	token := "Authorization: Bearer " + g.EdgeAuth("", "token", "create", "alice")
	var last harness.Answer
	harness.Eventually(t, 5*time.Second, func() bool {
		last = g.Get("/", token)
		return last.Status == http.StatusForbidden
	}, "a login of more than a second ago still passes")
	assert.Equal(t, []string{`Bearer realm="api", error="insufficient_user_authentication", error_description="Log in again: the last login was too long ago.", max_age="1"`}, last.Header["Www-Authenticate"])
	assert.JSONEq(t, `{"detail":"Log in again: the last login was too long ago.","code":"insufficient_user_authentication"}`, last.Body)
}

func TestMissingScopeIsNamedInTheChallenge(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token {
			scheme Bearer
		}
		require scope read write
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	unknown := g.Get("/", "Authorization: Bearer ea_unknown")
	assert.Equal(t, []string{`Bearer realm="api", error="invalid_token", error_description="Invalid token."`}, unknown.Header["Www-Authenticate"])
	assert.Equal(t, []string{`Bearer realm="api"`}, g.Get("/").Header["Www-Authenticate"], "no credential: no problem with it (RFC 6750, section 3.1)")
	refused := g.Get("/", "Authorization: Bearer "+g.EdgeAuth("", "token", "create", "alice"))
	assert.Equal(t, http.StatusForbidden, refused.Status)
	assert.Equal(t, []string{`Bearer realm="api", error="insufficient_scope", error_description="You do not have permission to perform this action.", scope="read write"`}, refused.Header["Www-Authenticate"])
	assert.JSONEq(t, `{"detail":"You do not have permission to perform this action.","code":"permission_denied"}`, refused.Body)
	assert.NotEmpty(t, refused.Header.Get(authenticators.RequestIDHeader))
}

func TestP60OnlyATruePreflightPasses(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	preflight := []string{"Origin: https://app.example.com", "Access-Control-Request-Method: PUT"}
	forged := append([]string{"Remote-User: admin", harness.BasicHeader("wrong")}, preflight...)
	require.Equal(t, http.StatusOK, g.Do(http.MethodOptions, "/open", "", forged...).Status)
	got := up.One(t)
	assert.Empty(t, harness.HeaderOf(got, "Remote-User"), "it is stripped")
	assert.Empty(t, harness.HeaderOf(got, "Authorization"), "no credential travels unchecked")
	for name, refused := range map[string]harness.Answer{
		"not said":           g.Do(http.MethodOptions, "/closed", "", preflight...),
		"no origin":          g.Do(http.MethodOptions, "/open", "", preflight[1]),
		"no method asked":    g.Do(http.MethodOptions, "/open", "", preflight[0]),
		"two methods asked":  g.Do(http.MethodOptions, "/open", "", preflight[0], preflight[1], preflight[1]),
		"body":               g.Do(http.MethodOptions, "/open", "x", preflight...),
		"another method":     g.Do(http.MethodPut, "/open", "", preflight...),
		"lower case":         g.Do("options", "/open", "", preflight...),
		"WebSocket upgrade":  g.Do(http.MethodOptions, "/open", "", append(preflight, "Upgrade: websocket", "Connection: Upgrade")...),
		"GET like preflight": g.Get("/open", preflight...),
	} {
		assert.Equal(t, http.StatusUnauthorized, refused.Status, name)
	}
	assert.Empty(t, up.Taken())
}

func TestPolicyThatOnlyReportsRefusesNobodyAndSaysWhom(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "\tmetrics", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		require user root
		report_only
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	require.Len(t, g.Log.Lines("report_only is on"), 1, "the log says so at start")

	forged := "Remote-User: admin"
	assert.Equal(t, http.StatusOK, g.Get("/", forged).Status)
	assert.Empty(t, harness.HeaderOf(up.One(t), "Remote-User"), "stripped all the same")

	wrong := harness.BasicHeader("wrong")
	assert.Equal(t, http.StatusOK, g.Get("/", forged, wrong).Status)
	got := up.One(t)
	assert.Empty(t, harness.HeaderOf(got, "Remote-User"))
	assert.Len(t, harness.HeaderOf(got, "Authorization"), 1, "the application still checks for itself")

	assert.Equal(t, http.StatusOK, g.Get("/", forged, harness.Alice).Status)
	got = up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"), "who is known is told, though a rule is not met")
	assert.Len(t, harness.HeaderOf(got, "Authorization"), 1)

	for _, want := range []string{`"code":"not_authenticated"`, `"code":"authentication_failed"`, `"code":"permission_denied"`} {
		lines := g.Log.Lines(want)
		require.Len(t, lines, 1, want)
		assert.Contains(t, lines[0], "would refuse")
		assert.Contains(t, lines[0], `"request_id":"`)
	}
	assert.Contains(t, g.Log.Lines("permission_denied")[0], "not met: require user root")
	metrics := g.Metrics()
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
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		require user root
		login_url /login/
	}
	reverse_proxy UPSTREAM
	handle_errors {
		respond "{http.auth.edge_auth.status} {http.auth.edge_auth.code} {http.auth.edge_auth.policy} {http.auth.edge_auth.authenticator} {http.auth.edge_auth.outcome} user={http.auth.edge_auth.user} login={http.auth.edge_auth.login_url} id={http.auth.edge_auth.request_id} {http.auth.edge_auth.detail} nobody={http.auth.user.id}" {err.status_code}
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	refused := g.Get("/x?y=1", harness.Alice)
	assert.Equal(t, http.StatusForbidden, refused.Status)
	id := refused.Header.Get(authenticators.RequestIDHeader)
	assert.Equal(t, "403 permission_denied inline basic forbidden user=alice login=/login/?next=%2Fx%3Fy%3D1 id="+id+
		" You do not have permission to perform this action. nobody=", refused.Body)
	refused = g.Get("/")
	assert.True(t, strings.HasPrefix(refused.Body, "401 not_authenticated inline  absent user= login=/login/?next=%2F id="), refused.Body)
	assert.Empty(t, up.Taken())
}

func TestTheLogCarriesTheIdOfARefusal(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "\tdebug", `http://127.0.0.1:$PORT {
	log
	edge_auth {
		BASIC
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	id := g.Get("/").Header.Get(authenticators.RequestIDHeader)
	require.NotEmpty(t, id)
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines(id)) >= 2 }, "our log and Caddy's access log name the request")
	assert.Len(t, g.Log.Lines(`"request_id":"`+id), 1)
}

const navigation = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"

func TestL40OnlyNavigationIsSentToTheLoginPage(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
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
		"wrong credential":         {http.MethodGet, []string{navigation, harness.BasicHeader("wrong")}, 401},
	} {
		got := g.Do(c.method, "/page?a=b", "", c.headers...)
		assert.Equal(t, c.status, got.Status, name)
		if c.status == 302 {
			assert.Equal(t, "/login/?next=%2Fpage%3Fa%3Db", got.Header.Get("Location"), name)
		} else {
			assert.Equal(t, []string{`Basic realm="api"`}, got.Header["Www-Authenticate"], name)
		}
	}
}

func TestLoginPageUnderItsOwnGuardIsTold(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	harness.Eventually(t, 10*time.Second, func() bool { return len(g.Log.Lines("the login page is guarded by the very policy")) == 1 }, "the log does not say so at start")
	for range 2 {
		told := g.Get("/login/?next=%2F", navigation)
		assert.Equal(t, http.StatusUnauthorized, told.Status)
		assert.Empty(t, told.Header.Get("Location"))
		assert.Contains(t, told.Header.Get("Content-Type"), "text/html")
		assert.Contains(t, told.Body, "guarded by the very policy")
	}
	assert.Len(t, g.Log.Lines("logging in leads round in circles"), 1)
}

func TestL43CircleOfRedirectsEndsWithItsCause(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	@guarded not path /login/
	edge_auth @guarded {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	assert.Empty(t, g.Log.Lines("the login page is guarded"), "here it is not")
	cookie := ""
	round := func(path string) harness.Answer {
		headers := []string{navigation}
		if cookie != "" {
			headers = append(headers, "Cookie: other=1; "+cookie)
		}
		got := g.Get(path, headers...)
		cookie, _, _ = strings.Cut(got.Header.Get("Set-Cookie"), ";")
		return got
	}
	for range 5 {
		assert.Equal(t, http.StatusFound, round("/page").Status)
	}
	told := round("/page")
	assert.Equal(t, http.StatusUnauthorized, told.Status)
	assert.Contains(t, told.Body, "sent you to log in 5 times")
	assert.Equal(t, http.StatusFound, round("/page").Status, "it begins anew")

	for range 4 {
		round("/page")
	}
	assert.Equal(t, http.StatusFound, round("/another").Status, "another address is another matter")

	require.Equal(t, http.StatusOK, g.Get("/page", harness.Alice, "Cookie: "+cookie+"; other=1").Status)
	assert.Equal(t, []string{"other=1"}, harness.HeaderOf(up.One(t), "Cookie"), "the upstream sees nothing of it")
}

func TestPolicyOfJSONUsesOthers(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	hash := strings.Fields(harness.BasicAlice(t))[3]
	config := func(policies, handler string) string {
		return g.Write("caddy.json", `{"admin":{"listen":"`+g.Admin+`"},"apps":{"edge_auth":{"policies":{
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
		_, err := g.Command("", "validate", "--config", config(c.policies, c.handler))
		require.ErrorContains(t, err, c.says, name)
	}
	g.Run("run", "--config", config(`"staff":{"use":["base"],"require":[{"user":["alice"]}]}`, `"policy":{"use":["staff"],"identity_header":[{"name":"X-Id","value":"{http.auth.user.id}"}]}`))
	g.WaitReady()
	require.Equal(t, http.StatusOK, g.Get("/", harness.Alice).Status)
	got := up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "X-Webauth-User"))
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "X-Id"))
	assert.Equal(t, http.StatusUnauthorized, g.Get("/").Status)
}

func TestMatcherOfTheIdentityOpensNothing(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
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
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	assert.Equal(t, "staff", g.Get("/", token).Body)
	assert.Equal(t, "others", g.Get("/").Body)
	assert.Equal(t, "others", g.Get("/", "Remote-Groups: staff").Body)
	assert.Empty(t, g.Get("/", token).Header.Get("X-Seen"), "header comes before edge_auth, where nobody is known yet")
}

// Caddy's own basic_auth sets the same placeholders: they must not be taken for those
// of the caller whom the policy found.
func TestRulesAreAboutThePolicysOwnCaller(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	hash := strings.Fields(harness.BasicAlice(t))[3]
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.Addr, "HASH", hash)
	g.EdgeAuth("correct horse\n", "user", "add", "bob")
	bob := "X-Key: " + g.EdgeAuth("", "token", "create", "bob")
	assert.Equal(t, http.StatusForbidden, g.Get("/rule", harness.Alice, bob).Status)
	assert.Empty(t, up.Taken())
	require.Equal(t, http.StatusOK, g.Get("/", harness.Alice, bob).Status)
	got := up.One(t)
	assert.Equal(t, []string{"bob"}, harness.HeaderOf(got, "Remote-User"))
	assert.Equal(t, []string{"bob"}, harness.HeaderOf(got, "X-User"))
}

func TestReportOnlyLeavesTheAddressAsItIs(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	secret := strings.Repeat("s", 32)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.Addr, "SECRET", secret)
	token := harness.HS256(secret).Token(t, harness.ClaimsOf("alice"))
	g.Told(token) // at DEBUG, Caddy logs the address that it sends to the upstream
	target := "/x?access_token=" + token + "&b=1"
	require.Equal(t, http.StatusOK, g.Get(target).Status)
	got := up.One(t)
	assert.Contains(t, got, "GET "+target+" HTTP/1.1", "the application still reads it")
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
	x, _ := explain(g, t, map[string]any{"url": g.URL + target})
	assert.Equal(t, "passed", x.Outcome)
	assert.Equal(t, 2, strings.Count(x.said(), "it is alice"), x.said())
	assert.Empty(t, g.Log.Lines(`"msg":"would refuse"`))
}
