package attacks

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

const allDoors = "h1 h2 h3"

// malformedHeaders are no HTTP; what servers let by all the same is stripped.
var malformedHeaders = []headerCase{
	{name: "H16 Cyrillic letter", lines: []string{"R\u0435mote-User: mallory"}, refused: allDoors},
	{name: "H16 full-width letters", lines: []string{"\uff32emote-User: mallory"}, refused: allDoors},
	{name: "H16 full-width dash", lines: []string{"Remote\uff0dUser: mallory"}, refused: allDoors},
	{name: "H20 blank before the colon", lines: []string{"Remote-User : mallory"}, refused: allDoors},
	{name: "H20 blank in the name", lines: []string{"Remote User: mallory"}, refused: allDoors},
	{name: "H21 NUL", lines: []string{"X-Any: a\x00b", "Remote-User: mallory"}, refused: allDoors},
	{name: "H21 bare CR", lines: []string{"X-Any: a\rRemote-User: mallory"}, refused: allDoors},
	{name: "H21 NUL in ours", lines: []string{"Remote-User: mallory\x00"}, refused: allDoors},
	{name: "H24 line break in a value", lines: []string{"X-Any: a\r\nRemote-User: mallory"}, refused: "h2 h3"},
	{name: "H24 line break in a name", lines: []string{"X-Any\r\nRemote-User: mallory"}, refused: allDoors},
	{name: "H24 pseudo-header of ours", lines: []string{":remote-user: mallory"}, refused: allDoors},
	{name: "H25 line feed alone", lines: []string{"X-Any: a\nRemote-User: mallory"}, refused: "h2 h3"},
	{name: "H25 line feed alone, twice", lines: []string{"X-Any: a\nRemote-User: mallory\nX-A: mallory"}, refused: "h2 h3"},
}

func TestH16MalformedHeadersCarryNoIdentity(t *testing.T) {
	t.Parallel()
	checkHeaderCases(t, malformedHeaders)
}

// HTTP/1.1 only: Go joins such a line to the one before.
func TestH21ContinuedLineIsPartOfTheLineBefore(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n optional\n }\n reverse_proxy UPSTREAM")
	for _, lines := range [][]string{{"X-Any: a", " Remote-User: mallory"}, {"X-Any: a", "\tRemote-User: mallory"}, {" Remote-User: mallory"}} {
		a, err := harness.Doors[0].Ask(t, g, harness.Request{Path: "/", Headers: lines})
		got := strings.Join(up.Taken(), "")
		assert.Empty(t, identityIn(got), "%v", lines)
		if err == nil && a.Status != http.StatusBadRequest {
			assert.Equal(t, []string{"a Remote-User: mallory"}, harness.HeaderOf(got, "X-Any"), "%v", lines)
		}
	}
}

// Whatever bytes a credential is made of, it is wrong, or none.
func TestH23CredentialsThatAreNoTextAreRefused(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT, "BASIC", harness.BasicAlice(t))
	body := "JWT\n BASIC\n token\n session\n"
	g.ServeTLS("", "handle /optional {\n edge_auth {\n optional\n"+body+"}\n reverse_proxy UPSTREAM\n }\n handle {\n edge_auth {\n"+body+"}\n reverse_proxy UPSTREAM\n }")
	watchLog(t, g)
	for _, door := range harness.Doors {
		for _, bytes := range []string{"\xff\xfe\x80", "\xc0\xaf", "\xed\xa0\x80", "\u00e9\u20ac", "\x80"} {
			for _, line := range []string{
				"Authorization: Bearer " + bytes, "Authorization: Token " + bytes, "Authorization: Basic " + bytes, "Authorization: " + bytes,
				"Authorization: Bearer a." + bytes + ".c", "Cookie: __Host-edge_auth=" + bytes, "Cookie: " + bytes,
			} {
				a, got := ask(t, door, g, up, harness.Request{Path: "/", Headers: []string{line}})
				assert.Equal(t, http.StatusUnauthorized, a.Status, "%s %q", door.Name, line)
				assert.Empty(t, got, "%s %q", door.Name, line)
				a, got = ask(t, door, g, up, harness.Request{Path: "/optional", Headers: []string{line}})
				assert.Contains(t, []int{http.StatusOK, http.StatusUnauthorized}, a.Status, "%s %q", door.Name, line)
				assert.Empty(t, identityIn(got), "%s %q", door.Name, line)
			}
		}
	}
}

// h2Malformed are requests that HTTP/2 and HTTP/3 can't mean.
var h2Malformed = []struct {
	name string
	harness.Request
}{
	{"H24 regular header before a pseudo-header", harness.Request{Pseudo: []string{":method: GET", ":scheme: https", ":authority: HOST", "remote-user: mallory", ":path: /"}}},
	{"H24 path twice", harness.Request{Pseudo: []string{":method: GET", ":scheme: https", ":authority: HOST", ":path: /", ":path: /off"}}},
	{"H24 line break in the path", harness.Request{Pseudo: []string{":method: GET", ":scheme: https", ":authority: HOST", ":path: / HTTP/1.1\r\nRemote-User: mallory\r\n"}}},
	{"H24 line break in the method", harness.Request{Pseudo: []string{":method: GET / HTTP/1.1\r\nRemote-User: mallory\r\n\r\nGET", ":scheme: https", ":authority: HOST", ":path: /"}}},
	{"H24 line break in the authority", harness.Request{Pseudo: []string{":method: GET", ":scheme: https", ":authority: HOST\r\nRemote-User: mallory", ":path: /"}}},
	{"H24 unknown pseudo-header", harness.Request{Pseudo: []string{":method: GET", ":scheme: https", ":authority: HOST", ":path: /", ":remote-user: mallory"}}},
	{"H24 NUL in the path", harness.Request{Pseudo: []string{":method: GET", ":scheme: https", ":authority: HOST", ":path: /\x00"}}},
	{"H24 no method", harness.Request{Pseudo: []string{":scheme: https", ":authority: HOST", ":path: /"}}},
	{"H24 capitals in a pseudo-header", harness.Request{Pseudo: []string{":method: GET", ":Scheme: https", ":authority: HOST", ":path: /"}}},
	{"H36 connection", harness.Request{Path: "/", Headers: []string{"connection: remote-user"}}},
	{"H36 proxy-connection", harness.Request{Path: "/", Headers: []string{"proxy-connection: remote-user"}}},
	{"H36 te", harness.Request{Path: "/", Headers: []string{"te: remote-user"}}},
	{"H36 P46 transfer-encoding", harness.Request{Method: "POST", Path: "/", Headers: []string{"transfer-encoding: chunked"}, Body: "0\r\n\r\n"}},
	{"H36 upgrade", harness.Request{Path: "/", Headers: []string{"upgrade: websocket"}}},
}

func TestH24MalformedRequestsOfHTTP2And3EndTheStream(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n optional\n }\n reverse_proxy UPSTREAM")
	watchLog(t, g)
	token := aliceToken(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(g.URL, "http://"), ":")
	for _, door := range harness.Doors[1:] {
		for _, c := range h2Malformed {
			t.Run(c.name+", "+door.Name, func(t *testing.T) {
				for _, lines := range [][]string{nil, {token}} {
					r := c.Request
					r.Headers = slices.Concat(r.Headers, lines)
					r.Pseudo = slices.Clone(r.Pseudo)
					for i := range r.Pseudo {
						r.Pseudo[i] = strings.Replace(r.Pseudo[i], "HOST", "localhost:"+port, 1)
					}
					a, err := door.Ask(t, g, r)
					got := up.Taken()
					assert.Empty(t, got)
					if err == nil {
						assert.Equal(t, http.StatusBadRequest, a.Status, a.Body)
					}
				}
			})
		}
	}
}

// However many headers come, each is looked at once.
func TestH26FloodsOfHeadersAreStrippedOrRefused(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	watchLog(t, g)
	different := make([]string, 2000)
	for i := range different {
		different[i] = fmt.Sprintf("Remote-User-%d: x", i)
	}
	token := aliceToken(t)
	for _, door := range harness.Doors {
		for name, lines := range map[string][]string{
			"2000 headers": different, "60 KB": {"Remote-User: " + strings.Repeat("mallory", 60<<10/7)}, "60 KB of commas": {"Remote-Groups: mallory" + strings.Repeat(",", 60<<10)},
			"100 lines": times(100, "Remote-User: mallory"), "10,000 lines": times(10_000, "Remote-User: mallory"), "a long name": {strings.Repeat("Remote-User", 5000) + ": x"},
		} {
			began := time.Now()
			a, err := door.Ask(t, g, harness.Request{Path: "/", Headers: append([]string{token}, lines...)})
			took := time.Since(began)
			got := strings.Join(up.Taken(), "")
			assert.NotContains(t, got, forged, "%s %s", door.Name, name)
			if err != nil || a.Status != http.StatusOK {
				assert.Empty(t, got, "%s %s", door.Name, name)
				t.Logf("%s, %s: refused with %d, %v after %v", door.Name, name, a.Status, err, took)
				continue
			}
			assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got), "%s %s", door.Name, name)
			assert.Less(t, took, 5*time.Second, "%s %s", door.Name, name)
			t.Logf("%s, %s: stripped after %v", door.Name, name, took)
		}
	}
}
