package attacks

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

const (
	asJSON      = "Content-Type: application/json"
	asForm      = "Content-Type: application/x-www-form-urlencoded"
	aliceLogsIn = `{"username":"alice","password":"wonderland"}`
)

// entry is a gateway with all endpoints, and one of its doors.
type entry struct {
	*harness.Gateway

	t    *testing.T
	door harness.Door
	up   *harness.Upstream
}

// send asks for a path by the entry's door, with a body if there is one.
func (e entry) send(method, path, body string, headers ...string) harness.Answer {
	e.t.Helper()
	if address, err := url.Parse(path); err == nil {
		for _, values := range address.Query() {
			for _, value := range values {
				e.Told(value) // who puts a secret into the address finds it in the access log
			}
		}
	}
	a, err := harness.Again(method, func() (harness.Answer, error) {
		return e.door.Ask(e.t, e.Gateway, harness.Request{Method: method, Path: path, Body: body, Headers: headers})
	})
	require.NoError(e.t, err, "%s %s", method, path)
	assert.NotEqual(e.t, http.StatusInternalServerError, a.Status, "%s %s", method, path)
	return a
}

func (e entry) post(path, body string, headers ...string) harness.Answer {
	e.t.Helper()
	return e.send(http.MethodPost, path, body, append([]string{asJSON}, headers...)...)
}

// pair is what a good answer of the token endpoints holds.
func (e entry) pair(a harness.Answer) map[string]string {
	e.t.Helper()
	require.Equal(e.t, http.StatusOK, a.Status, a.Body)
	var pair map[string]string
	require.NoError(e.t, json.Unmarshal([]byte(a.Body), &pair), a.Body)
	return pair
}

func (e entry) refresh(token string, headers ...string) harness.Answer {
	e.t.Helper()
	return e.post("/api/token/refresh/", `{"refresh":"`+token+`"}`, headers...)
}

// passes demands that a header opens the upstream, as alice.
func (e entry) passes(header string) {
	e.t.Helper()
	a := e.send(http.MethodGet, "/app", "", header)
	require.Equal(e.t, http.StatusOK, a.Status, a.Body)
	assert.Equal(e.t, []string{"alice"}, harness.HeaderOf(e.up.One(e.t), "Remote-User"))
}

// refused demands that nothing reached the upstream.
func (e entry) refused(status int, a harness.Answer) {
	e.t.Helper()
	assert.Equal(e.t, status, a.Status, a.Body)
	assert.Empty(e.t, e.up.Taken())
}

// byEachDoor runs rows on one gateway by h1, h2 and h3, and looks at its log when
// they are done.
func byEachDoor(t *testing.T, g *harness.Gateway, up *harness.Upstream, rows func(e entry)) {
	t.Helper()
	for _, door := range harness.Doors {
		t.Run(door.Name, func(t *testing.T) { rows(entry{g, t, door, up}) })
	}
	assert.Empty(t, g.Log.Lines("panic"))
}

// startIssuer serves all endpoints at h1, h2 and h3 before a guarded upstream.
func startIssuer(t *testing.T, global, rate string) (*harness.Gateway, *harness.Upstream) {
	t.Helper()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.ServeTLS("debug\n"+global, `log
	edge_auth_issuer /spa/* {
		jwt /spa/api/token/
		deliver cookie
		login_rate `+rate+`
	}
	edge_auth_issuer {
		jwt
		token
		session
		jwks
		login_rate `+rate+`
	}
	edge_auth {
		token
		jwt {
			check_revoked
		}
		session
		login_url /login/
	}
	reverse_proxy UPSTREAM`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice", "--group", "staff")
	return g, up
}

func TestRefreshRowsByEachDoor(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	g, up := startIssuer(t, "servers {\n trusted_proxies static 127.0.0.1/32\n}", "10000 1m")
	byEachDoor(t, g, up, func(e entry) {
		run := func(name string, row func(e entry)) {
			e.t.Run(name, func(t *testing.T) { row(entry{g, t, e.door, up}) })
		}
		obtain := func(e entry) map[string]string { return e.pair(e.post("/api/token/", aliceLogsIn)) }
		bearer := func(token string) string { return "Authorization: Bearer " + token }
		blacklisted := func(e entry, token string, headers ...string) {
			e.t.Helper()
			a := e.refresh(token, headers...)
			assert.Equal(e.t, http.StatusUnauthorized, a.Status)
			assert.JSONEq(e.t, `{"detail":"Token is blacklisted","code":"token_not_valid"}`, a.Body)
		}
		run("R01 bodies", func(e entry) {
			const multi = "Content-Type: multipart/form-data; boundary=x"
			for body, want := range map[[2]string]int{
				{asJSON, aliceLogsIn}:                                    200,
				{asForm, "username=alice&password=wonderland"}:           200,
				{asForm, "username=alice&password=wonderland&username="}: 400,
				{multi, "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nalice\r\n--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nwonderland\r\n--x--\r\n"}: 200,
				{"Content-Type: text/plain", aliceLogsIn}:                                          415,
				{asJSON, `{"username":"alice","password":["wonderland"]}`}:                         400,
				{asJSON, `{"username":{"a":"alice"},"password":"wonderland"}`}:                     400,
				{asJSON, `{"username":"alice","username":"alice","password":"wonderland"}`}:        400,
				{asJSON, strings.Repeat("[", 30000)}:                                               400,
				{asJSON, `{"username":"alice","password":"` + strings.Repeat("x", 200<<10) + `"}`}: 400,
			} {
				a := e.send(http.MethodPost, "/api/token/", body[1], body[0])
				assert.Equal(e.t, want, a.Status, "%s %.60s: %s", body[0], body[1], a.Body)
				assert.Equal(e.t, want == 200, strings.Contains(a.Body, "eyJ"))
			}
		})
		run("R10 R30 a token used twice ends the family", func(e entry) {
			first := obtain(e)
			e.passes(bearer(first["access"]))
			second := e.pair(e.refresh(first["refresh"], "User-Agent: owner"))
			e.passes(bearer(second["access"]))
			blacklisted(e, first["refresh"], "User-Agent: thief")
			blacklisted(e, second["refresh"], "User-Agent: owner")
			e.refused(401, e.send("GET", "/app", "", bearer(second["access"])))
		})
		run("R11 the thief first, then the owner", func(e entry) {
			const owner, thief = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 203.0.113.66"
			before := len(e.Log.Lines(`"event":"token_reused"`))
			first := e.pair(e.post("/api/token/", aliceLogsIn, owner))
			stolen := e.pair(e.refresh(first["refresh"], thief)) // by the same program, so that the address alone tells
			e.passes(bearer(stolen["access"]))
			blacklisted(e, first["refresh"], owner)
			blacklisted(e, stolen["refresh"], thief)
			e.refused(401, e.send("GET", "/app", "", bearer(first["access"])))
			e.refused(401, e.send("GET", "/app", "", bearer(stolen["access"])))
			harness.Eventually(e.t, 5*time.Second, func() bool { return len(e.Log.Lines(`"event":"token_reused"`)) == before+1 }, "the theft is not told")
			line := e.Log.Lines(`"event":"token_reused"`)[before]
			assert.Contains(e.t, line, `"client":"192.0.2.1"`)
			assert.Contains(e.t, line, `"other_client":"203.0.113.66"`)
		})
		run("R13 R14 what is no refresh token", func(e entry) {
			pair := obtain(e)
			parts := strings.Split(pair["refresh"], ".")
			for _, wrong := range []string{
				pair["access"], pair["refresh"] + "=", pair["refresh"] + "x", parts[0] + "." + parts[1] + ".", "eyJhbGciOiJub25lIn0." + parts[1] + ".",
				"eyJhbGciOiJIUzI1NiJ9." + parts[1] + "." + parts[2], parts[0] + "." + strings.Split(pair["access"], ".")[1] + "." + parts[2],
			} {
				a := e.refresh(wrong)
				assert.Equal(e.t, http.StatusUnauthorized, a.Status, a.Body)
				assert.Contains(e.t, a.Body, `"code":"token_not_valid"`)
			}
			e.refused(401, e.send("GET", "/app", "", bearer(pair["refresh"])))
			e.pair(e.refresh(pair["refresh"]))
		})
		run("R30 revoked", func(e entry) {
			pair := obtain(e)
			e.passes(bearer(pair["access"]))
			assert.Equal(e.t, 200, e.post("/api/token/blacklist/", `{"refresh":"`+pair["refresh"]+`"}`).Status)
			blacklisted(e, pair["refresh"])
			e.refused(401, e.send("GET", "/app", "", bearer(pair["access"])))
		})
		run("R32 R44 endpoints are no oracle", func(e entry) {
			other := "eyJhbGciOiJFZERTQSJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.AAAA"
			for path, field := range map[string]string{"verify": "token", "blacklist": "refresh", "refresh": "refresh"} {
				for _, wrong := range []string{"x", other, "a.b.c", strings.Repeat("A", 9000)} {
					a := e.post("/api/token/"+path+"/", `{"`+field+`":"`+wrong+`"}`)
					assert.Equal(e.t, http.StatusUnauthorized, a.Status)
					assert.JSONEq(e.t, `{"detail":"Token is invalid","code":"token_not_valid"}`, a.Body)
				}
			}
		})
		run("R40 nothing wider", func(e entry) {
			pair := obtain(e)
			second := e.pair(e.post("/api/token/refresh/?groups=root", `{"refresh":"`+pair["refresh"]+`","groups":["root"],"scope":"admin","user":"root"}`))
			e.send("GET", "/app", "", bearer(second["access"]))
			got := e.up.One(e.t)
			assert.Equal(e.t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
			assert.Equal(e.t, []string{"staff"}, harness.HeaderOf(got, "Remote-Groups"))
		})
		run("R43 tokens in cookies stand nowhere else", func(e entry) {
			a := e.post("/spa/api/token/", aliceLogsIn)
			require.Equal(e.t, 200, a.Status, a.Body)
			var refresh string
			for _, cookie := range a.Header.Values("Set-Cookie") {
				if value, ok := strings.CutPrefix(cookie, "__Secure-refresh_token="); ok {
					refresh, _, _ = strings.Cut(value, ";")
				}
			}
			require.NotEmpty(e.t, refresh)
			again := e.post("/spa/api/token/refresh/", "{}", "Cookie: __Secure-refresh_token="+refresh)
			require.Equal(e.t, 200, again.Status, again.Body)
			for _, answer := range []harness.Answer{a, again} {
				assert.NotContains(e.t, answer.Body, "eyJ")
				for name, values := range answer.Header {
					if name != "Set-Cookie" {
						assert.NotContains(e.t, strings.Join(values, " "), "eyJ", name)
					}
				}
			}
			e.refused(403, e.post("/spa/api/token/refresh/", "{}", "Cookie: __Secure-refresh_token="+refresh, "Origin: https://evil.example"))
		})
		run("R45 other methods and other origins", func(e entry) {
			for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE"} {
				for _, path := range []string{"/api/token/", "/api/token/refresh/", "/api/token/verify/", "/api/token/blacklist/", "/api-token-auth/"} {
					e.refused(405, e.send(method, path, ""))
				}
			}
			for _, a := range []harness.Answer{
				e.send("OPTIONS", "/api/token/", "", "Origin: https://evil.example", "Access-Control-Request-Method: POST"),
				e.post("/api/token/", aliceLogsIn, "Origin: https://evil.example"),
			} {
				for name := range a.Header {
					assert.NotContains(e.t, name, "Access-Control-Allow", "no CORS that nobody asked for")
				}
			}
		})
		run("R50 twice", func(e entry) {
			pair := obtain(e)
			for _, twice := range []string{"refresh=" + pair["refresh"] + "&refresh=x", "refresh=x&refresh=" + pair["refresh"]} {
				e.refused(400, e.send("POST", "/api/token/refresh/", twice, asForm))
			}
			e.refused(400, e.send("POST", "/api/token/refresh/?refresh="+pair["refresh"], "", asForm))
			e.pair(e.refresh(pair["refresh"]))
		})
	})
	for _, secret := range []string{"wonderland", `"refresh\":`} {
		assert.NotContains(t, g.Log.String(), secret)
	}
}

// rounds are as many as ROUNDS says, or few.
func rounds(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("ROUNDS")
	if text == "" {
		return few
	}
	many, err := strconv.Atoi(text)
	require.NoError(t, err)
	return many
}

// twoGateways serve the endpoints for JWTs on one Redis and one key.
func twoGateways(t *testing.T) (start func() *harness.Gateway) {
	t.Helper()
	redis := redistest.Start(t)
	key := filepath.Join(t.TempDir(), "key.jwk")
	require.NoError(t, os.WriteFile(key, []byte(`{"kty":"oct","alg":"HS256","kid":"1","k":"`+strings.Repeat("c2VjcmV0", 8)+`"}`), 0o600))
	return func() *harness.Gateway {
		return harness.Start(t, "edge_auth {\n store redis "+redis.URL()+" {\n timeout 10s\n }\n signing_key "+key+"\n}", `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		login_rate 1000000 1m
	}
}`)
	}
}

// client keeps its connections, for many rounds.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}, Timeout: time.Minute}

// ask posts JSON to a gateway. A status of 0: there was no answer.
func askEndpoint(g *harness.Gateway, path, body, agent string) harness.Answer {
	r, err := http.NewRequest(http.MethodPost, g.URL+path, strings.NewReader(body))
	if err != nil {
		return harness.Answer{Body: err.Error()}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", agent)
	resp, err := client.Do(r)
	if err != nil {
		return harness.Answer{Body: err.Error()}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return harness.Answer{Body: err.Error()}
	}
	return harness.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(data)}
}

func refreshAt(g *harness.Gateway, body, agent string) harness.Answer {
	var pair map[string]string
	_ = json.Unmarshal([]byte(body), &pair)
	return askEndpoint(g, "/api/token/refresh/", `{"refresh":"`+pair["refresh"]+`"}`, agent)
}

// Many tabs refresh one token at both gateways at once: nobody is logged out, and
// there is one successor. A thief who has any token that is used up ends the family.
func TestR12R20TabsAtTwoGatewaysHaveOneSuccessor(t *testing.T) {
	t.Parallel()
	start := twoGateways(t)
	gateways := []*harness.Gateway{start(), start()}
	gateways[0].EdgeAuth("wonderland\n", "user", "add", "alice")
	var alarms, misses, heirs atomic.Int64
	all := rounds(t, 40)
	began := time.Now()
	round := func(n int) {
		first := askEndpoint(gateways[n%2], "/api/token/", aliceLogsIn, "owner")
		if !assert.Equal(t, http.StatusOK, first.Status, first.Body) {
			return
		}
		tabs := []int{2, 10, 2, 10, 2, 10, 2, 10, 2, 100}[n%10]
		answers := make([]harness.Answer, tabs)
		var wait sync.WaitGroup
		for tab := range answers {
			wait.Go(func() { answers[tab] = refreshAt(gateways[tab%2], first.Body, "owner") })
		}
		wait.Wait()
		for _, a := range answers {
			if !assert.Equal(t, http.StatusOK, a.Status, a.Body) {
				alarms.Add(1)
				return
			}
			if !assert.Equal(t, answers[0].Body, a.Body, "another successor") {
				heirs.Add(1)
			}
		}
		next := refreshAt(gateways[(n+1)%2], answers[0].Body, "owner")
		if !assert.Equal(t, http.StatusOK, next.Status, next.Body) {
			alarms.Add(1)
		}
		if n%2 == 0 { // somebody else has the first, or the second
			first = answers[0]
		}
		for _, a := range []harness.Answer{refreshAt(gateways[n%2], first.Body, "thief"), refreshAt(gateways[(n+1)%2], next.Body, "owner")} {
			if !assert.Equal(t, http.StatusUnauthorized, a.Status, a.Body) {
				misses.Add(1)
			}
		}
	}
	const atOnce = 4
	var wait sync.WaitGroup
	for worker := range atOnce {
		wait.Go(func() {
			for n := worker; n < all; n += atOnce {
				round(n)
			}
		})
	}
	wait.Wait()
	t.Logf("%d rounds in %v: %d false alarms, %d misses, %d with two successors", all, time.Since(began).Round(time.Millisecond), alarms.Load(), misses.Load(), heirs.Load())
	for _, g := range gateways {
		assert.Empty(t, g.Log.Lines("panic"))
	}
}

// A gateway is killed while it refreshes. At the other one, the client that asks
// again goes on, and there is one successor. At each step of it: issuer/crash_test.go.
func TestR21R22KilledGatewayLeavesOneSuccessor(t *testing.T) {
	t.Parallel()
	start := twoGateways(t)
	lasting := start()
	lasting.EdgeAuth("wonderland\n", "user", "add", "alice")
	for n := range min(rounds(t, 3), 200) {
		doomed := start()
		const families = 8
		firsts := make([]harness.Answer, families)
		for f := range firsts {
			firsts[f] = askEndpoint(doomed, "/api/token/", aliceLogsIn, "owner")
			require.Equal(t, http.StatusOK, firsts[f].Status, firsts[f].Body)
		}
		lost := make([]harness.Answer, families)
		var answers atomic.Int64
		var wait sync.WaitGroup
		for f := range firsts {
			wait.Go(func() {
				lost[f] = refreshAt(doomed, firsts[f].Body, "owner")
				answers.Add(1)
			})
		}
		for answers.Load() < int64(2*n%families) { // at another step each time
			time.Sleep(10 * time.Microsecond)
		}
		require.NoError(t, doomed.Cmd.Process.Kill())
		wait.Wait()
		answered := 0
		for f := range firsts {
			again := refreshAt(lasting, firsts[f].Body, "owner")
			require.Equal(t, http.StatusOK, again.Status, again.Body)
			if lost[f].Status != 0 {
				answered++
				assert.Equal(t, lost[f].Body, again.Body, "one successor")
			}
			next := refreshAt(lasting, again.Body, "owner")
			require.Equal(t, http.StatusOK, next.Status, next.Body)
			for _, a := range []harness.Answer{refreshAt(lasting, firsts[f].Body, "thief"), refreshAt(lasting, next.Body, "owner")} {
				assert.Equal(t, http.StatusUnauthorized, a.Status, "two alive")
			}
		}
		t.Logf("killed when %d of %d had their answer", answered, families)
	}
}

// headersOf are an answer's, but for those that differ each time.
func headersOf(a harness.Answer) string {
	var lines []string
	for name, values := range a.Header {
		if !slices.Contains([]string{"Date", "X-Request-Id", "Content-Length"}, name) {
			lines = append(lines, fmt.Sprint(name, values))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
