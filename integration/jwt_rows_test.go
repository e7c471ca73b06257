package integration

// The rows J01 to J80 of the attack catalogue, as far as HTTP can show them: a
// table of tokens by idea in the files jwt_rows_*_test.go, sent as raw bytes
// through the built Caddy. Rows, or parts of rows, that stand elsewhere:
//
//	J01, J35, J36, J37, J74  published vectors: keys and authenticators/jwt, since
//	                         their payloads are no claims, or expired long ago
//	J12                      the whole JSONTestSuite: identity
//	J62                      the admin API asks for no token; credentials of one
//	                         kind at routes of another: policy_test.go
//	J63                      endpoints that take refresh tokens: issuer/refresh_test.go
//	J77                      what a real SimpleJWT answers: simplejwt_test.go,
//	                         authenticators/jwt/drf_test.go
//	J80                      signature checks counted: authenticators/jwt

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// jwtRow is a token, or what is sent in place of one, and what must come of it.
type jwtRow struct {
	name  string // the row's number, and what it is
	site  string // the path of a policy; see rowPolicies
	token string
	lines []string // header lines in place of "Authorization: Bearer <token>"
	want  outcome
}

// rowList collects rows.
type rowList []jwtRow

func (l *rowList) add(name, site, token string, want outcome) {
	*l = append(*l, jwtRow{name: name, site: site, token: token, want: want})
}

func (l *rowList) addLines(name, site string, want outcome, lines ...string) {
	*l = append(*l, jwtRow{name: name, site: site, lines: lines, want: want})
}

// outcome is what must come of a request. The zero value of a field is not
// looked at, but for user: without one, nothing may reach the upstream.
type outcome struct {
	user          string // Remote-User at the upstream
	status        int
	code, problem string // of the body, and of the challenge
	why           string // part of what the log says
	says          string // part of the body
}

func accepted(user string) outcome { return outcome{user: user, status: http.StatusOK} }

// refused is a token that is not valid.
func refused(why string) outcome {
	return outcome{status: http.StatusUnauthorized, code: "token_not_valid", problem: `, error="invalid_token"`, why: why}
}

// refusedSaying is refused, with SimpleJWT's words.
func refusedSaying(why, says string) outcome {
	o := refused(why)
	o.says = says
	return o
}

// malformed is a header that can't carry a token.
func malformed(why string) outcome {
	return outcome{status: http.StatusUnauthorized, code: "bad_authorization_header", problem: `, error="invalid_request"`, why: why}
}

// absent is what counts as no token.
func absent() outcome {
	return outcome{status: http.StatusUnauthorized, code: "not_authenticated", why: "no credential"}
}

// noHTTP is what the server refuses before anybody asks for a token.
func noHTTP(status int) outcome { return outcome{status: status} }

func TestJWTRows(t *testing.T) { //nolint:tparallel // the rows share a connection and a recorder
	t.Parallel()
	r := startRows(t)
	for _, rows := range []func(*jwtRows, testing.TB) rowList{
		goodRows, spellingRows, whiteSpaceRows, partsRows, jsonRows, // what a token is
		criticalRows, algorithmRows, typRows, confusionRows, guessRows, familyRows, pickRows, embeddedRows, kidRows, // its header
		weakKeyRows, ecdsaRows, rsaRows, edwardsRows, signatureRows, // its signature
		timeRows, memberRows, valueRows, userRows, audienceRows, // its claims
		kindRows, issuerRows, encryptedRows, simpleRows, // what it is for
	} {
		list := rows(r, t)
		require.NotEmpty(t, list)
		for _, row := range list {
			t.Run(row.name, func(t *testing.T) { r.check(t, row) })
		}
	}
	for _, check := range []func(*jwtRows, testing.TB){
		checkEdgesOfTime, checkClocksApart, checkExpiryEndsVerdict, checkRevocation, checkMutants, checkRepeats, checkWarnings, checkNetwork,
	} {
		check(r, t)
	}
	r.checkLog(t)
}

// jwtRows is a gateway with a policy for each kind of config.
type jwtRows struct {
	*harness.Gateway

	up      *harness.Upstream
	keys    *rowKeys
	idp     *rowIssuer
	line    *wire
	read    int             // bytes of the log
	sent    map[string]bool // how the parts of all tokens begin, for checkLog
	started time.Time
}

// check sends one row and looks at all that came of it.
func (r *jwtRows) check(t testing.TB, row jwtRow) {
	t.Helper()
	lines := row.lines
	if lines == nil {
		lines = []string{"Authorization: Bearer " + row.token}
	}
	r.note(lines...)
	began := time.Now()
	a, err := r.line.send(row.site, lines...)
	require.NoError(t, err, row.name)
	assert.Less(t, time.Since(began), 5*time.Second, "%s: work is bounded", row.name)
	good := r.judge(t, row, a, r.up.Taken())
	if !strings.Contains(a.Body, `"code":`) {
		return // accepted, or refused before it came to us
	}
	line := r.refusals(t, 1)[0]
	if !good {
		t.Logf("%s: the log says %q", row.name, line.Error)
		return
	}
	assert.Equal(t, row.want.code, line.Code, "%s, log", row.name)
	assert.Contains(t, line.Error, row.want.why, "%s, log", row.name)
	assert.Equal(t, strings.TrimPrefix(row.site, "/"), line.Policy, "%s, log", row.name)
}

// judge holds an answer, and what the upstream got, to what a row wants. It
// reports whether the row was answered as it should be.
func (r *jwtRows) judge(t testing.TB, row jwtRow, a harness.Answer, got []string) bool {
	t.Helper()
	want := row.want
	if a.Status != want.status || len(got) > 0 != (want.user != "") {
		return assert.Failf(t, row.name, "status %d is wanted, for '%s'; got %d %.80s; requests at the upstream: %d", want.status, want.user, a.Status, a.Body, len(got))
	}
	if want.user != "" {
		return assert.Len(t, got, 1, row.name) &&
			assert.Equal(t, []string{want.user}, harness.HeaderOf(got[0], "Remote-User"), row.name) &&
			assert.Empty(t, harness.HeaderOf(got[0], "Authorization"), row.name) &&
			assert.Empty(t, harness.HeaderOf(got[0], "Cookie"), row.name)
	}
	if want.code == "" {
		return true
	}
	var body struct {
		Code, Detail string
		Messages     []struct{ Message string }
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		return assert.Failf(t, row.name, "%v: %s", err, a.Body)
	}
	challenge := `Bearer realm="api"` + want.problem
	if want.problem != "" { // the challenge says what the body does
		said := body.Detail
		if len(body.Messages) > 0 {
			said = body.Messages[0].Message
		}
		challenge += `, error_description="` + said + `"`
	}
	return assert.Equal(t, []string{challenge}, a.Header["Www-Authenticate"], row.name) &&
		assert.Equal(t, want.code, body.Code, row.name) &&
		assert.NotEmpty(t, body.Detail, row.name) &&
		assert.Contains(t, a.Body, want.says, row.name)
}

// leadSize is how much of a part of a token tells it from all other text.
const leadSize = 24

// note remembers what is secret in header lines.
func (r *jwtRows) note(lines ...string) {
	for _, line := range lines {
		for part := range strings.FieldsFuncSeq(line, func(c rune) bool { return strings.ContainsRune(" \t\r\n.;=,\"", c) }) {
			if len(part) >= leadSize {
				r.sent[part[:leadSize]] = true
			}
		}
	}
}

// refusedLine is what the log says of a refusal.
type refusedLine struct {
	Msg, Policy, Code, Error string
}

// refusals returns the next n refusals in the log, and waits for them.
func (r *jwtRows) refusals(t testing.TB, n int) []refusedLine {
	t.Helper()
	found := make([]refusedLine, 0, n)
	deadline := time.Now().Add(10 * time.Second)
	for len(found) < n {
		line, _, whole := strings.Cut(r.Log.String()[r.read:], "\n")
		if !whole {
			require.True(t, time.Now().Before(deadline), "the log tells of %d refusals, not of %d", len(found), n)
			time.Sleep(50 * time.Microsecond)
			continue
		}
		r.read += len(line) + 1
		var refusal refusedLine
		if strings.Contains(line, `"refused"`) && json.Unmarshal([]byte(line), &refusal) == nil && refusal.Msg == "refused" {
			found = append(found, refusal)
		}
	}
	return found
}

// checkLog finds nothing of any token in the log.
func (r *jwtRows) checkLog(t testing.TB) {
	t.Helper()
	text := r.Log.String()
	require.Greater(t, len(r.sent), 1000)
	for at := range len(text) - leadSize {
		if r.sent[text[at:at+leadSize]] {
			line := text[strings.LastIndexByte(text[:at], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			assert.Failf(t, "part of a token in the log", "%.400s", line)
			break
		}
	}
	assert.NotContains(t, text, mark, "what a stranger wrote into a token")
	assert.NotContains(t, text, rowSecret)
	assert.NotContains(t, text, "panicked")
}

// mark stands in what strangers choose: claims, kids, addresses.
const mark = "mallory-was-here"

// wire is a connection that is kept alive and on which nothing is tidied. It is
// for one goroutine.
type wire struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

func newWire(t testing.TB, g *harness.Gateway) *wire {
	t.Helper()
	w := &wire{addr: strings.TrimPrefix(g.URL, "http://")}
	t.Cleanup(w.close)
	return w
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// send asks for a path with header lines as they stand.
func (w *wire) send(path string, lines ...string) (harness.Answer, error) {
	if w.conn == nil {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			return harness.Answer{}, err
		}
		w.conn, w.in = conn, bufio.NewReader(conn)
	}
	if err := w.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return harness.Answer{}, err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: api\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	// A server that has read enough answers before all is written.
	written := make(chan struct{})
	go func() {
		_, _ = io.WriteString(w.conn, request)
		close(written)
	}()
	a, ends, err := readAnswer(w.in)
	if ends || err != nil {
		w.conn.Close()
	}
	<-written
	if ends || err != nil {
		w.conn = nil
	}
	return a, err
}

func readAnswer(in *bufio.Reader) (a harness.Answer, ends bool, err error) {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return harness.Answer{}, true, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return harness.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}, resp.Close, err
}

// b64 is base64url without padding.
func b64[T ~string | ~[]byte](data T) string {
	return base64.RawURLEncoding.EncodeToString([]byte(data))
}

// signer signs the first two parts of a token.
type signer func(input []byte) []byte

// jws is the compact form of a header and claims, which need not be any.
func jws(head, claims string, sign signer) string {
	input := b64(head) + "." + b64(claims)
	return input + "." + b64(sign([]byte(input)))
}

// rowClaims are alice's claims. Each change is a name and its value in JSON;
// "" takes the member out.
func rowClaims(changes ...string) string {
	now := time.Now().Unix()
	members := [][2]string{
		{"sub", `"alice"`},
		{"iss", `"` + issuerA + `"`},
		{"aud", `"api"`},
		{"iat", fmt.Sprint(now - 5)},
		{"exp", fmt.Sprint(now + 3600)},
		{"note", `"` + mark + `"`},
	}
	for i := 0; i < len(changes); i += 2 {
		change := [2]string{changes[i], changes[i+1]}
		at := slices.IndexFunc(members, func(m [2]string) bool { return m[0] == change[0] })
		if at < 0 {
			at, members = len(members), append(members, change)
		}
		members[at] = change
	}
	var text bytes.Buffer
	for _, m := range members {
		if m[1] != "" {
			fmt.Fprintf(&text, `,"%s":%s`, m[0], m[1])
		}
	}
	return "{" + text.String()[1:] + "}"
}
