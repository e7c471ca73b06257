// Package redistest runs a real Redis for tests.
package redistest

import (
	"bufio"
	"errors"
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

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// Server is a redis-server on a free port of the loopback address, which keeps
// nothing on disk and ends with the test.
type Server struct {
	Addr string

	args   []string
	dir    string
	config string // of a sentinel, which keeps there what it knows
	cmd    *exec.Cmd
	done   chan struct{}
}

// Start runs a server, with further options such as "--requirepass", "x".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{args: args, dir: t.TempDir()}
	t.Cleanup(s.Kill)
	var err error
	for range 5 { // another process may take a free port before the server does
		s.Addr = net.JoinHostPort("127.0.0.1", freeport.Take(t))
		if err = s.launch(t); err == nil {
			return s
		}
	}
	require.NoError(t, err)
	return nil
}

// URL is the server's address as a client takes it.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

// Restart runs the server again on its port, after Kill.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	require.NoError(t, s.launch(t))
}

// launch runs the server and waits until it answers.
func (s *Server) launch(t testing.TB) error {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "redis-server is needed: ./test.sh installs it (apt-get install redis-server)")
	_, port, err := net.SplitHostPort(s.Addr)
	require.NoError(t, err)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir, "--loglevel", "warning"}, s.args...)
	if s.config != "" {
		args = []string{s.config, "--sentinel", "--loglevel", "warning"}
	}
	cmd := exec.Command(path, args...)
	require.NoError(t, cmd.Start())
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	deadline := time.After(10 * time.Second)
	for {
		// An error of Redis, such as "NOAUTH", is an answer too.
		if _, err = s.ask("PING"); err == nil || strings.HasPrefix(err.Error(), refusal) {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("redis-server on %s ended at once: %s", s.Addr, cmd.ProcessState)
		case <-deadline:
			return fmt.Errorf("redis-server on %s does not answer: %w", s.Addr, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop lets the server hang: its kernel still takes connections.
func (s *Server) Stop() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets it go on.
func (s *Server) Continue() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the server at once, and waits until it has ended.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Shutdown ends the server as an operator does, and waits until it has ended.
func (s *Server) Shutdown() {
	_, _ = s.ask("SHUTDOWN", "NOSAVE") // has no answer but the end
	<-s.done
}

// Do runs a command and returns its reply as text, an array a line an item.
func (s *Server) Do(t testing.TB, args ...string) string {
	t.Helper()
	reply, err := s.ask(args...)
	require.NoError(t, err)
	return reply
}

// Try runs a command that may fail.
func (s *Server) Try(args ...string) error {
	_, err := s.ask(args...)
	return err
}

// CopyTo gives another server all keys of this one.
func (s *Server) CopyTo(t testing.TB, other *Server) {
	t.Helper()
	host, port, _ := strings.Cut(s.Addr, ":")
	other.Do(t, "REPLICAOF", host, port)
	require.Eventually(t, func() bool {
		return strings.Contains(other.Do(t, "INFO", "replication"), "master_link_status:up")
	}, 20*time.Second, 10*time.Millisecond, "it does not copy")
	other.Do(t, "REPLICAOF", "NO", "ONE")
}

func (s *Server) ask(args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err = io.WriteString(conn, command.String()); err != nil {
		return "", err
	}
	return readReply(bufio.NewReader(conn))
}

// refusal begins the errors that Redis itself answers with.
const refusal = "redis: "

func readReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("an empty reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(refusal + rest)
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
