package integration

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// startBehind runs an upstream and a gateway whose policy knows alice.
func startBehind(t *testing.T, policy string, handle http.HandlerFunc) *harness.Gateway {
	t.Helper()
	up := httptest.NewServer(handle)
	t.Cleanup(up.CloseClientConnections)
	g := harness.Start(t, "", "http://127.0.0.1:$PORT {\n edge_auth {\n BASIC\n"+policy+"\n}\n reverse_proxy UPSTREAM\n}",
		"UPSTREAM", strings.TrimPrefix(up.URL, "http://"), "BASIC", harness.BasicAlice(t))
	t.Cleanup(up.Close)
	return g
}

// webSocketKey is that of RFC 6455, section 1.3.
const webSocketKey = "dGhlIHNhbXBsZSBub25jZQ=="

var webSocketHandshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + webSocketKey}

// greeter is a WebSocket server: it says who the gateway says is there, and then
// answers each short text frame with its text in upper case.
func greeter(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	for text := r.Header.Get("Remote-User"); ; {
		if _, err := conn.Write(append([]byte{0x81, byte(len(text))}, text...)); err != nil {
			return
		}
		var head [6]byte // and the mask, which is zeros here
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		payload := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		text = strings.ToUpper(string(payload))
	}
}

func TestWebSocketPassesBothWaysForWhoIsKnown(t *testing.T) {
	t.Parallel()
	g := startBehind(t, "login_url /login/", greeter)

	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n%s\r\nRemote-User: admin\r\n\r\n", harness.Alice, strings.Join(webSocketHandshake, "\r\n"))
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", resp.Header.Get("Sec-WebSocket-Accept"))
	read := func() string {
		frame := make([]byte, 7)
		_, err := io.ReadFull(in, frame)
		require.NoError(t, err)
		require.Equal(t, []byte{0x81, 5}, frame[:2])
		return string(frame[2:])
	}
	assert.Equal(t, "alice", read(), "the upstream may speak first")
	for _, text := range []string{"hello", "again"} {
		_, err = conn.Write(append([]byte{0x81, 0x80 | 5, 0, 0, 0, 0}, text...))
		require.NoError(t, err)
		assert.Equal(t, strings.ToUpper(text), read())
	}
}

// A handshake can't follow a redirect: the script would learn nothing of why.
func TestP32WebSocketWithoutCredentialIsRefusedAndNeverRedirected(t *testing.T) {
	t.Parallel()
	g := startBehind(t, "login_url /login/", greeter)
	require.Equal(t, http.StatusFound, g.Get("/", "Accept: text/html").Status, "the baseline")
	for name, headers := range map[string][]string{
		"browser":                 {"Sec-Fetch-Mode: websocket", "Sec-Fetch-Dest: websocket", "Origin: http://x"},
		"client without metadata": nil,
		"client that wants HTML":  {"Accept: text/html"},
		"wrong credential":        {"Accept: text/html", harness.BasicHeader("wrong")},
		"says that it navigates":  {"Sec-Fetch-Mode: navigate"},
	} {
		a := g.Get("/", append(headers, webSocketHandshake...)...)
		assert.Equal(t, http.StatusUnauthorized, a.Status, name)
		assert.Empty(t, a.Header.Get("Location"), name)
		assert.NotEmpty(t, a.Header.Get("WWW-Authenticate"), name)
	}
}

func TestServerSentEventsArriveOneByOne(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	g := startBehind(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "data: %s %d\n\n", r.Header.Get("Remote-User"), n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-arrived: // the next is sent only now
			case <-r.Context().Done():
				return
			}
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL, nil)
	require.NoError(t, err)
	name, value, _ := strings.Cut(harness.Alice, ": ")
	req.Header.Set(name, value)
	resp, err := harness.Client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	in := bufio.NewReader(resp.Body)
	for n := range 3 {
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("data: alice %d\n", n), line)
		_, err = in.Discard(1)
		require.NoError(t, err)
		arrived <- struct{}{}
	}
	_, err = in.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

// zeros is a body of so many bytes, which stops after the first part until begun
// is closed.
type zeros struct {
	left  int64
	begun <-chan struct{}
	ended <-chan struct{} // the test gave up
	sent  bool
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int64(len(p))
	if !z.sent {
		n = min(n, 16<<10)
	} else {
		select {
		case <-z.begun:
		case <-z.ended:
			return 0, io.ErrUnexpectedEOF
		}
	}
	z.sent = true
	n = min(n, z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

func TestUploadOfAGigabyteStreams(t *testing.T) {
	t.Parallel()
	const size = 1 << 30
	begun := make(chan struct{})
	g := startBehind(t, "assertion {\n audience app\n}", func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(r.Body, first); err == nil && r.ContentLength == size {
			close(begun) // the client sends the rest only now
		}
		rest, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d %v", r.Header.Get("Remote-User"), rest+1, err)
	})
	harness.Eventually(t, 10*time.Second, func() bool { return g.Do(http.MethodPost, "/", "x", harness.Alice).Status == http.StatusOK }, "no signing key")
	before := g.PeakMemory()

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL, &zeros{left: size, begun: begun, ended: ctx.Done()})
	require.NoError(t, err)
	req.ContentLength = size
	name, value, _ := strings.Cut(harness.Alice, ": ")
	req.Header.Set(name, value)
	resp, err := (&http.Client{Transport: harness.Client.Transport}).Do(req) // slow machines need more than client's 20 s
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("alice %d <nil>", size), string(body))
	assert.Less(t, g.PeakMemory()-before, int64(64<<20), "bytes held at most, beside what it held before")
}
