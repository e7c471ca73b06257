package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Upstream is the backend behind a gateway. It records every request byte for
// byte, trailers included, since no HTTP library may tidy what is judged here.
type Upstream struct {
	Addr string

	mu       sync.Mutex
	requests []string
}

func StartUpstream(t testing.TB) *Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	u := &Upstream{Addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go u.serve(conn)
		}
	}()
	return u
}

func (u *Upstream) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		request, err := readRequest(in)
		if err != nil {
			return
		}
		u.mu.Lock()
		u.requests = append(u.requests, request)
		u.mu.Unlock()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// readRequest reads one HTTP/1.1 request with its body and trailers.
func readRequest(in *bufio.Reader) (string, error) {
	var raw strings.Builder
	head, err := readHead(in, &raw)
	if err != nil {
		return "", err
	}
	if strings.EqualFold(head.Get("Transfer-Encoding"), "chunked") {
		err := readChunks(in, &raw)
		return raw.String(), err
	}
	length, _ := strconv.Atoi(head.Get("Content-Length"))
	_, err = io.CopyN(&raw, in, int64(length))
	return raw.String(), err
}

func readHead(in *bufio.Reader, raw *strings.Builder) (textproto.MIMEHeader, error) {
	head := make(textproto.MIMEHeader)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		raw.WriteString(line)
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return head, nil
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			head.Add(name, strings.TrimSpace(value))
		}
	}
}

func readChunks(in *bufio.Reader, raw *strings.Builder) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		raw.WriteString(line)
		size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return fmt.Errorf("chunk size: %w", err)
		}
		if size == 0 {
			_, err := readHead(in, raw) // the trailers
			return err
		}
		if _, err := io.CopyN(raw, in, size+2); err != nil {
			return err
		}
	}
}

// Taken returns the requests that have come since the last call.
func (u *Upstream) Taken() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	requests := u.requests
	u.requests = nil
	return requests
}

// One returns the single request that has come since the last call.
func (u *Upstream) One(t testing.TB) string {
	t.Helper()
	requests := u.Taken()
	require.Len(t, requests, 1)
	return requests[0]
}

// HeaderOf returns the values of a header line with exactly this name, in any
// case, in a recorded request.
func HeaderOf(request, name string) []string {
	var values []string
	for line := range strings.Lines(request) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		if ok && strings.EqualFold(key, name) {
			values = append(values, value)
		}
	}
	return values
}
