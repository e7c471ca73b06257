package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// redisServer is a redis-server that keeps all that it has acknowledged, also when
// it is killed.
type redisServer struct {
	addr, dir string
	cmd       *exec.Cmd
	done      chan struct{}
}

func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	s := &redisServer{addr: freeAddr(), dir: dir}
	return s, s.launch(ctx)
}

func (s *redisServer) launch(ctx context.Context) error {
	_, port, _ := net.SplitHostPort(s.addr)
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--loglevel", "warning")
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	for {
		if _, err := s.do("PING"); err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("redis-server ended at once: %s", cmd.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *redisServer) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

func (s *redisServer) hang()  { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *redisServer) goOn()  { _ = s.cmd.Process.Signal(syscall.SIGCONT) }
func (s *redisServer) stops() { s.goOn(); s.kill() }

// do runs a command on a connection of its own, and returns the reply as text.
func (s *redisServer) do(args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(conn, out.String()); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch line[0] {
	case '-':
		return "", errors.New("redis: " + line[1:])
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n)
		_, err = io.ReadFull(in, text)
		return string(text), err
	default:
		return line[1:], nil
	}
}

// trackers returns the ids of connections that Redis tells of changes.
func (s *redisServer) trackers() ([]string, error) {
	list, err := s.do("CLIENT", "LIST")
	var ids []string
	for line := range strings.Lines(list) {
		var id, flags string
		for field := range strings.FieldsSeq(line) {
			if v, ok := strings.CutPrefix(field, "id="); ok {
				id = v
			}
			if v, ok := strings.CutPrefix(field, "flags="); ok {
				flags = v
			}
		}
		if strings.Contains(flags, "t") || strings.Contains(flags, "B") {
			ids = append(ids, id)
		}
	}
	return ids, err
}
