package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// The cores of gateways with what they ask, and of all else.
const (
	gatewayCore = "0"
	loadCore    = "1"
)

// machine is what all gateways have in common.
type machine struct {
	dir      string
	upstream string
	redis    string
	redisPID int
	stops    []func()
}

func (m *machine) stop() {
	for _, stop := range slices.Backward(m.stops) {
		stop()
	}
}

// startCommon runs Redis and the upstream.
func (m *machine) startCommon(ctx context.Context) error {
	m.redis, m.upstream = freeAddr(), freeAddr()
	_, port, _ := net.SplitHostPort(m.redis)
	var err error
	if m.redisPID, err = m.start(ctx, loadCore, m.redis, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", m.dir); err != nil {
		return err
	}
	_, err = m.start(ctx, loadCore, m.upstream, os.Args[0], "-upstream", m.upstream)
	return err
}

// start runs a program on a core, and waits until it listens. What it prints goes
// into a log.
func (m *machine) start(ctx context.Context, core, address, name string, args ...string) (pid int, err error) {
	cmd := exec.Command("taskset", append([]string{"-c", core, name}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+m.dir, "XDG_CONFIG_HOME="+m.dir, "HOME="+m.dir)
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // the program has its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	m.stops = append(m.stops, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	if err := waitFor(ctx, address); err != nil {
		said, _ := os.ReadFile(filepath.Join(m.dir, "log"))
		return 0, fmt.Errorf("%w\n%s", err, said)
	}
	return cmd.Process.Pid, nil // taskset has become the program
}

// write puts a file into the folder, and returns its path.
func (m *machine) write(name, text string) (string, error) {
	path := filepath.Join(m.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func waitFor(ctx context.Context, address string) error {
	var dialer net.Dialer
	deadline, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		conn, err := dialer.DialContext(deadline, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-deadline.Done():
			return fmt.Errorf("%s does not listen: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
