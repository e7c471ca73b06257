// Package redistest runs a real Redis for tests.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Server is a redis-server on a free port of the loopback address, which keeps
// nothing on disk and ends with the test.
type Server struct {
	Addr string

	args []string
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a server, with further options such as "--requirepass", "x".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	s := &Server{Addr: addr, args: args, dir: t.TempDir()}
	s.Restart(t)
	t.Cleanup(func() { s.Kill() })
	return s
}

// URL is the server's address as a client takes it.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

// Restart runs the server again on its port, after Kill.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "redis-server is needed: ./test.sh installs it (apt-get install redis-server)")
	_, port, err := net.SplitHostPort(s.Addr)
	require.NoError(t, err)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir, "--loglevel", "warning"}, s.args...)
	s.cmd = exec.Command(path, args...)
	require.NoError(t, s.cmd.Start())
	done := make(chan struct{})
	s.done = done
	go func() {
		_ = s.cmd.Wait()
		close(done)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			conn.Close()
			return
		}
		require.True(t, time.Now().Before(deadline), "redis-server does not listen: %v", err)
		time.Sleep(5 * time.Millisecond)
	}
}

// Stop lets the server hang: its kernel still takes connections.
func (s *Server) Stop() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets it go on.
func (s *Server) Continue() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the server at once, and waits until it has ended.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Do runs a command and returns its reply as text, an array a line an item.
func (s *Server) Do(t testing.TB, args ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(arg), arg)
	}
	_, err = io.WriteString(conn, command.String())
	require.NoError(t, err)
	reply, err := readReply(bufio.NewReader(conn))
	require.NoError(t, err)
	return reply
}

func readReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", fmt.Errorf("redis: %s", rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return "", err
	}
	if kind == '*' {
		items := make([]string, n)
		for i := range items {
			if items[i], err = readReply(in); err != nil {
				return "", err
			}
		}
		return strings.Join(items, "\n"), nil
	}
	data := make([]byte, n+2)
	_, err = io.ReadFull(in, data)
	return string(data[:n]), err
}
