package attacks

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// tokenOf is the credential of a user.
func tokenOf(t testing.TB, user string) string {
	t.Helper()
	return "Authorization: Bearer " + harness.HS256(aliceSecret).Token(t, harness.ClaimsOf(user))
}

func TestP43RequestsOnOneConnectionAreJudgedAlone(t *testing.T) { //nolint:tparallel // the steps share a recorder
	t.Parallel()
	g := startPaths(t)
	host := "localhost:" + g.port
	request := func(path string, lines ...string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	}
	t.Run("P43 pipelined", func(t *testing.T) {
		reply := g.raw(t, "localhost", request("/1", g.token)+request("/2")+request("/3", tokenOf(t, "bob"))+request("/4", "Remote-User: mallory")+request("/5", g.token, "Connection: close"))
		var statuses []string
		for line := range strings.Lines(reply) {
			if _, status, ok := strings.Cut(line, "HTTP/1.1 "); ok {
				statuses = append(statuses, status[:3])
			}
		}
		assert.Equal(t, []string{"200", "401", "200", "401", "200"}, statuses)
		got := g.up.Taken()
		require.Len(t, got, 3)
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(got[0], "Remote-User"))
		assert.Equal(t, []string{"Remote-User: bob"}, identityIn(got[1]))
		assert.Equal(t, []string{"alice"}, harness.HeaderOf(got[2], "Remote-User"))
	})
	t.Run("P43 a hundred users on one h2 connection", func(t *testing.T) {
		var dials atomic.Int32
		client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			ForceAttemptHTTP2: true, MaxConnsPerHost: 1, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		}}
		defer client.CloseIdleConnections()
		first, err := client.Get("https://" + host + "/")
		require.NoError(t, err)
		first.Body.Close()
		var wg sync.WaitGroup
		for i := range 200 {
			user := fmt.Sprintf("user%d", i%100)
			credential := tokenOf(t, user)
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/"+user, nil)
				if i%10 != 0 { // and each tenth is nobody
					req.Header.Set("Authorization", strings.TrimPrefix(credential, "Authorization: "))
				}
				req.Header.Set("Remote-User", forged)
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				_, _ = io.Copy(io.Discard, resp.Body)
				assert.Equal(t, 2, resp.ProtoMajor)
				assert.Equal(t, i%10 == 0, resp.StatusCode == http.StatusUnauthorized, "%s: %d", user, resp.StatusCode)
			})
		}
		wg.Wait()
		assert.Equal(t, int32(1), dials.Load())
		got := g.up.Taken()
		assert.Len(t, got, 180)
		for _, request := range got {
			path, _, _ := strings.Cut(strings.TrimPrefix(request, "GET /"), " ")
			assert.Equal(t, []string{"Remote-User: " + path}, identityIn(request))
		}
	})
}

// scripted is an upstream that answers as a function says, on as many connections as
// it is asked on.
func scripted(t *testing.T, answer func(request string) string) (address string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					var head strings.Builder
					for !strings.HasSuffix(head.String(), "\r\n\r\n") {
						line, err := in.ReadString('\n')
						if err != nil {
							return
						}
						head.WriteString(line)
					}
					reply := answer(head.String())
					if _, err := io.WriteString(conn, reply); err != nil || reply == "" {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), connections
}

// whoIs answers with the identity that it got.
func whoIs(request string) string {
	who := strings.Join(identityIn(request), ",")
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(who), who)
}

func TestP44AnswersOfTheUpstreamLeakIntoNoOther(t *testing.T) {
	t.Parallel()
	up, _ := scripted(t, func(request string) string {
		path, _, _ := strings.Cut(strings.TrimPrefix(request, "GET "), " ")
		switch path {
		case "/101":
			return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, Remote-User\r\nUpgrade: x\r\nSet-Cookie: leak=1\r\n\r\n"
		case "/103":
			return "HTTP/1.1 103 Early Hints\r\nLink: </leak>; rel=preload\r\nSet-Cookie: leak=1\r\nRemote-User: leak\r\n\r\n" + whoIs(request)
		case "/100":
			return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-Leak: 1\r\n\r\n" + whoIs(request)
		case "/hop":
			return "HTTP/1.1 200 OK\r\nConnection: Remote-User, close\r\nKeep-Alive: leak\r\nProxy-Authenticate: leak\r\nContent-Length: 0\r\n\r\n"
		case "/two":
			return whoIs(request) + "HTTP/1.1 200 OK\r\nSet-Cookie: leak=1\r\nContent-Length: 4\r\n\r\nleak"
		}
		return whoIs(request)
	})
	g := harness.New(t, "UPSTREAM", up, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	assertAfter := tokenOf(t, "bob")
	for _, door := range harness.Doors {
		for _, path := range []string{"/101", "/103", "/100", "/hop", "/two"} {
			_, _ = door.Ask(t, g, harness.Request{Path: path, Headers: []string{aliceToken(t)}})
			for range 3 {
				a, err := door.Ask(t, g, harness.Request{Path: "/after", Headers: []string{assertAfter}})
				require.NoError(t, err)
				if a.Status == http.StatusBadGateway {
					continue // the connection was spoilt, and is given up
				}
				assert.Equal(t, "Remote-User: bob", a.Body, "%s %s", door.Name, path)
				assert.NotContains(t, fmt.Sprint(a.Header), "leak", "%s %s", door.Name, path)
			}
		}
	}
	assert.Empty(t, g.Log.Lines("panic"))
}

// smuggled are requests that are read as one or as two, by who reads them.
var smuggled = []struct{ name, head, body string }{
	{"CL and TE", "Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\nSMUGGLED"},
	{"TE and CL", "Transfer-Encoding: chunked\r\nContent-Length: 60", "5\r\nhello\r\n0\r\n\r\nSMUGGLED"},
	{"TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\nSMUGGLED"},
	{"TE list", "Transfer-Encoding: identity, chunked", "0\r\n\r\nSMUGGLED"},
	{"TE of another name", "Content-Length: 4\r\nTransfer-Encoding: xchunked", "0\r\n\r\nSMUGGLED"},
	{"TE with a blank before the colon", "Content-Length: 4\r\nTransfer-Encoding : chunked", "0\r\n\r\nSMUGGLED"},
	{"TE with a tab", "Content-Length: 4\r\nTransfer-Encoding:\tchunked", "0\r\n\r\nSMUGGLED"},
	{"TE with a vertical tab", "Content-Length: 4\r\nTransfer-Encoding: \x0bchunked", "0\r\n\r\nSMUGGLED"},
	{"TE in quotes", "Content-Length: 4\r\nTransfer-Encoding: \"chunked\"", "0\r\n\r\nSMUGGLED"},
	{"TE after a line feed", "Content-Length: 4\r\nX: y\nTransfer-Encoding: chunked", "0\r\n\r\nSMUGGLED"},
	{"TE continued", "Content-Length: 4\r\nTransfer-Encoding:\r\n chunked", "0\r\n\r\nSMUGGLED"},
	{"TE folded", "Content-Length: 4\r\nTransfer_Encoding: chunked", "0\r\n\r\nSMUGGLED"},
	{"two CL", "Content-Length: 0\r\nContent-Length: 60", "SMUGGLED"},
	{"two CL in a line", "Content-Length: 0, 60", "SMUGGLED"},
	{"CL with a plus sign", "Content-Length: +5", "helloSMUGGLED"},
	{"CL with a minus sign", "Content-Length: -5", "helloSMUGGLED"},
	{"CL in hexadecimal", "Content-Length: 0x5", "helloSMUGGLED"},
	{"CL with an underscore", "Content_Length: 60", "SMUGGLED"},
	{"CL too large to be a number", "Content-Length: 18446744073709551621", "helloSMUGGLED"},
	{"CL empty", "Content-Length: ", "SMUGGLED"},
	{"chunk extension with a line feed", "Transfer-Encoding: chunked", "1;x\ny\r\nh\r\n0\r\n\r\nSMUGGLED"},
	{"chunk ended by a line feed", "Transfer-Encoding: chunked", "1\nh\n0\n\nSMUGGLED"},
	{"chunk size too large", "Transfer-Encoding: chunked", "10000000000000001\r\nh\r\n0\r\n\r\nSMUGGLED"},
	{"chunk size with a sign", "Transfer-Encoding: chunked", "+1\r\nh\r\n0\r\n\r\nSMUGGLED"},
	{"chunk size in 0x", "Transfer-Encoding: chunked", "0x1\r\nh\r\n0\r\n\r\nSMUGGLED"},
	{"chunk with no end", "Transfer-Encoding: chunked", "1\r\nhh\r\n0\r\n\r\nSMUGGLED"},
	{"GET with a body", "Content-Length: 0", "SMUGGLED"},
}

func TestP45NoRequestIsSmuggledPastThePolicy(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	g := startPaths(t)
	host := "localhost:" + g.port
	for _, c := range smuggled {
		t.Run("P45 "+c.name, func(t *testing.T) {
			within := "GET /smuggled HTTP/1.1\r\nHost: " + host + "\r\nRemote-User: mallory\r\nConnection: close\r\n\r\n"
			g.raw(t, "localhost", "POST /outer HTTP/1.1\r\nHost: "+host+"\r\n"+g.token+"\r\n"+c.head+"\r\n\r\n"+strings.Replace(c.body, "SMUGGLED", within, 1))
			for _, got := range g.up.Taken() {
				assert.True(t, strings.HasPrefix(got, "POST /outer HTTP/1.1\r\n"), got)
				assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(strings.SplitAfter(got, "\r\n\r\n")[0]))
			}
			// Whoever comes next, on a connection to the upstream that was used, is alone.
			_, next := ask(t, harness.Doors[0], g.Gateway, g.up, g.to("", "/next", tokenOf(t, "bob")))
			assert.True(t, strings.HasPrefix(next, "GET /next HTTP/1.1\r\n"), next)
			assert.Equal(t, []string{"Remote-User: bob"}, identityIn(next))
		})
	}
}

func TestP46LengthsThatLieSmuggleNothing(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	bob := tokenOf(t, "bob")
	const body = "hello GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, door := range harness.Doors[1:] {
		for _, length := range []string{"0", "5", "500", "-1", "+5", "5, 5", "0x5", "18446744073709551621", ""} {
			for _, lines := range [][]string{{"content-length: " + length}, {"content-length: " + length, "content-length: 500"}} {
				r := g.to("", "/outer", append(lines, g.token)...)
				r.Method, r.Body = http.MethodPost, body
				_, _ = door.Ask(t, g.Gateway, r)
				a, err := door.Ask(t, g.Gateway, g.to("", "/next", bob))
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, a.Status)
				for _, got := range g.up.Taken() {
					head, _, _ := strings.Cut(got, "\r\n\r\n")
					if strings.HasPrefix(head, "POST /outer HTTP/1.1\r\n") {
						assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(head))
						continue
					}
					assert.True(t, strings.HasPrefix(head, "GET /next HTTP/1.1\r\n"), "%s %v: %s", door.Name, lines, got)
					assert.Equal(t, []string{"Remote-User: bob"}, identityIn(head))
				}
			}
		}
	}
}

func TestP48BodyOfARefusedRequestIsNoRequest(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	host := "localhost:" + g.port
	within := "GET /smuggled HTTP/1.1\r\nHost: " + host + "\r\n" + g.token + "\r\n\r\n"
	for _, size := range []int{0, 300 << 10} { // Go reads a small rest, and hangs up over a large one
		body := within + strings.Repeat(" ", size)
		reply := g.raw(t, "localhost", fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", host, len(body), body)+asked("GET /after", host, g.token))
		assert.NotContains(t, reply, "HTTP/1.1 400")
		for _, got := range g.up.Taken() {
			assert.True(t, strings.HasPrefix(got, "GET /after HTTP/1.1\r\n"), got)
		}
	}
}

func TestP49NoBodyIsAskedForWithoutACredential(t *testing.T) {
	t.Parallel()
	g := startPaths(t)
	host := "localhost:" + g.port
	head := "POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 10\r\nExpect: 100-continue\r\nConnection: close\r\n"
	for _, lines := range []string{"", "Authorization: Bearer a.b.c\r\n"} {
		reply := g.raw(t, "localhost", head+lines+"\r\n")
		assert.True(t, strings.HasPrefix(reply, "HTTP/1.1 401 "), reply)
		assert.NotContains(t, reply, "100 Continue")
		assert.Empty(t, g.up.Taken())
	}
	reply := g.raw(t, "localhost", head+g.token+"\r\n\r\n0123456789")
	assert.Contains(t, reply, "HTTP/1.1 200 ")
	assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(g.up.One(t)))
}

func TestP71UsersShareAConnectionToTheUpstreamAndNothingElse(t *testing.T) {
	t.Parallel()
	up, connections := scripted(t, whoIs)
	g := harness.New(t, "UPSTREAM", up, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n optional\n }\n reverse_proxy UPSTREAM")
	for range 3 {
		for _, door := range harness.Doors {
			for _, user := range []string{"bob", "", "carol", ""} {
				want, lines := "", []string{"Remote-User: mallory"}
				if user != "" {
					want, lines = "Remote-User: "+user, append(lines, tokenOf(t, user))
				}
				a, err := door.Ask(t, g, harness.Request{Path: "/", Headers: lines})
				require.NoError(t, err)
				assert.Equal(t, want, a.Body, "%s %s", door.Name, user)
			}
		}
	}
	assert.Equal(t, int32(1), connections.Load())
}

func TestP72RetriedRequestsCarryTheIdentityOnce(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 100)
	failing, _ := scripted(t, func(request string) string {
		heard <- request
		return "" // hangs up
	})
	down := harness.New(t) // for a port that nobody listens on
	up := harness.StartUpstream(t)
	g := harness.New(t, "DOWN", strings.TrimPrefix(down.URL, "http://"), "FAILING", failing, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n optional\n }\n reverse_proxy DOWN FAILING UPSTREAM {\n lb_policy first\n lb_try_duration 10s\n lb_try_interval 10ms\n fail_duration 100ms\n }")
	watchLog(t, g)
	for _, door := range harness.Doors {
		for _, lines := range [][]string{{"Remote-User: mallory"}, {"Remote-User: mallory", aliceToken(t)}} {
			a, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: lines})
			require.Equal(t, http.StatusOK, a.Status)
			var want []string
			if len(lines) > 1 {
				want = []string{"Remote-Groups: staff", "Remote-User: alice"}
			}
			assert.Equal(t, want, identityIn(got))
			for len(heard) > 0 {
				assert.Equal(t, want, identityIn(<-heard))
			}
		}
	}
}
