package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// gateway is a running Caddy.
type gateway struct {
	world       *world
	name        string
	addr, admin string
	dir         string
	way         *proxy // to Redis; nil: the store is embedded
	cmd         *exec.Cmd
	done        chan struct{}
	client      *http.Client
	round       int // of its config; one reload at a time
}

func (w *world) startGateway(ctx context.Context, name string, way *proxy) (*gateway, error) {
	g := &gateway{world: w, name: name, addr: freeAddr(), admin: freeAddr(), dir: filepath.Join(w.dir, name), way: way}
	g.client = &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 20 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(g.dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(g.text(0)), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(g.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // Caddy has its own
	g.cmd = exec.Command(w.caddy, "run", "--config", path)
	g.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir, "HOME="+g.dir)
	g.cmd.Stdout, g.cmd.Stderr = log, log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	g.done = done
	go func() {
		_ = g.cmd.Wait()
		close(done)
	}()
	for {
		conn, err := net.DialTimeout("tcp", g.addr, time.Second)
		if err == nil {
			return g, conn.Close()
		}
		select {
		case <-done:
			said, _ := os.ReadFile(filepath.Join(g.dir, "log"))
			return nil, fmt.Errorf("caddy ended at once: %s", said)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop asks the gateway to end, and tells how long that took.
func (g *gateway) stop() time.Duration {
	began := time.Now()
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
	case <-time.After(20 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.done
	}
	return time.Since(began)
}

// reload gives the gateway its next config.
func (g *gateway) reload(ctx context.Context) error {
	g.round++
	return g.load(ctx, g.text(g.round))
}

func (g *gateway) load(ctx context.Context, text string) error {
	_, err := g.ask(ctx, http.MethodPost, "/load", "text/caddyfile", text, nil)
	return err
}

// statusError is an answer that is no success.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %.300s", e.status, e.body) }

// manage calls the admin API; in and out are JSON.
func (g *gateway) manage(ctx context.Context, method, path string, in, out any) error {
	var text []byte
	if in != nil {
		var err error
		if text, err = json.Marshal(in); err != nil {
			return err
		}
	}
	_, err := g.ask(ctx, method, "/edge_auth"+path, "application/json", string(text), out)
	return err
}

// ask calls the admin endpoint. While a config is loaded it is another server from
// one moment to the next, so it is asked again if it hangs up.
func (g *gateway) ask(ctx context.Context, method, path, contentType, body string, out any) (text string, err error) {
	for range 5 {
		if text, err = g.askOnce(ctx, method, path, contentType, body, out); err == nil || ctx.Err() != nil || errors.As(err, new(*statusError)) {
			return text, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", err
}

// admins has no connections that outlive a call: a reload would meet them.
var admins = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (g *gateway) askOnce(ctx context.Context, method, path, contentType, body string, out any) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.admin+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := admins.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var text bytes.Buffer
	if _, err := io.Copy(&text, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", &statusError{resp.StatusCode, text.String()}
	}
	if out != nil {
		return "", json.Unmarshal(text.Bytes(), out)
	}
	return text.String(), nil
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
