// Package integration tests the built Caddy as a user meets it: with real
// clients, a real Redis and real frameworks, over sockets.
package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// caddyBinary is the Caddy under test: $EDGE_AUTH_CADDY, or one built here.
var caddyBinary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// scratch is a folder for what all tests share.
var scratch string

func run(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "edge-auth-tests"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	caddyBinary = os.Getenv("EDGE_AUTH_CADDY")
	if caddyBinary == "" {
		caddyBinary = filepath.Join(scratch, "caddy")
		build := exec.Command("go", "build", "-o", caddyBinary, "./testcaddy")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building Caddy: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// gateway is a running Caddy.
type gateway struct {
	t     testing.TB
	url   string // of the site on $PORT
	admin string
	dir   string
	log   *logBuffer
	cmd   *exec.Cmd
	env   []string
	vars  *strings.Replacer
}

// startGateway runs a Caddyfile. In it stand $PORT and $PORT2 for free ports,
// $DIR for a folder of the test's, and what vars names. Its global options get
// the admin address; it must not have global options of its own but the lines
// in global.
func startGateway(t testing.TB, global, sites string, vars ...string) *gateway {
	t.Helper()
	g := newGateway(t, vars...)
	g.serve(global, sites)
	return g
}

// serve runs a Caddyfile as startGateway does.
func (g *gateway) serve(global, sites string) {
	g.t.Helper()
	config := g.write("Caddyfile", "{\n\tadmin "+g.admin+"\n\tauto_https off\n"+global+"\n}\n"+sites)
	g.start("run", "--config", config, "--adapter", "caddyfile")
	g.waitReady()
}

func newGateway(t testing.TB, vars ...string) *gateway {
	t.Helper()
	dir := t.TempDir()
	port, port2, admin := freeport.Take(t), freeport.Take(t), freeport.Take(t)
	return &gateway{
		t: t, dir: dir, log: new(logBuffer),
		url: "http://127.0.0.1:" + port, admin: "127.0.0.1:" + admin,
		env:  append(os.Environ(), "XDG_DATA_HOME="+dir+"/data", "XDG_CONFIG_HOME="+dir+"/config", "HOME="+dir),
		vars: strings.NewReplacer(append([]string{"$PORT2", port2, "$PORT", port, "$DIR", dir}, vars...)...),
	}
}

// write puts a file into the test's folder, with its variables filled in.
func (g *gateway) write(name, text string) string {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	require.NoError(g.t, os.WriteFile(path, []byte(g.vars.Replace(text)), 0o600))
	return path
}

func (g *gateway) start(args ...string) {
	g.t.Helper()
	g.cmd = exec.Command(caddyBinary, args...)
	g.cmd.Env = g.env
	g.cmd.Dir = g.dir
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	require.NoError(g.t, g.cmd.Start())
	exited := make(chan struct{})
	go func() {
		_ = g.cmd.Wait()
		close(exited)
	}()
	g.t.Cleanup(func() {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = g.cmd.Process.Kill()
			<-exited
		}
		if g.t.Failed() {
			g.t.Logf("Caddy's log:\n%s", g.log.String())
		}
	})
}

func (g *gateway) waitReady() {
	g.t.Helper()
	eventually(g.t, 20*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(g.url, "http://"), time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, "Caddy does not listen:\n%s", g.log)
}

// command runs a caddy command and returns what it prints.
func (g *gateway) command(stdin string, args ...string) (string, error) {
	cmd := exec.Command(caddyBinary, args...)
	cmd.Env, cmd.Dir = g.env, g.dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// edgeAuth runs `caddy edge-auth …` against this gateway. Caddy listens a moment
// before it calls its config the running one.
func (g *gateway) edgeAuth(stdin string, args ...string) string {
	g.t.Helper()
	var out string
	var err error
	eventually(g.t, 10*time.Second, func() bool {
		out, err = g.command(stdin, append([]string{"edge-auth", "--address", g.admin}, args...)...)
		return err == nil || !strings.Contains(err.Error(), "is still starting")
	}, "Caddy does not finish starting")
	require.NoError(g.t, err)
	return out
}

// metrics returns what the admin API shows of them.
func (g *gateway) metrics() string {
	g.t.Helper()
	resp, err := client.Get("http://" + g.admin + "/metrics")
	require.NoError(g.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(g.t, err)
	return string(text)
}

// reload loads another Caddyfile into the running Caddy.
func (g *gateway) reload(config string) error {
	_, err := g.command("", "reload", "--config", config, "--adapter", "caddyfile", "--address", g.admin)
	return err
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// client never follows redirects, and opens a connection for each request.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       20 * time.Second,
}

// get asks for a path, with headers given as "Name: value".
func (g *gateway) get(path string, headers ...string) answer {
	g.t.Helper()
	return g.do(http.MethodGet, path, "", headers...)
}

func (g *gateway) do(method, path, body string, headers ...string) answer {
	g.t.Helper()
	a, err := g.try(g.t.Context(), method, path, body, headers...)
	require.NoError(g.t, err)
	return a
}

func (g *gateway) try(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, payload)
	if err != nil {
		return answer{}, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header[name] = append(req.Header[name], value) // as written, not canonical
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(data)}, err
}

// raw sends bytes as they are and returns all that comes back.
func (g *gateway) raw(request string) string {
	g.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	require.NoError(g.t, err)
	defer conn.Close()
	require.NoError(g.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(g.t, err)
	reply, err := io.ReadAll(conn)
	require.NoError(g.t, err)
	return string(reply)
}

// logBuffer collects a log that is still being written.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines returns the log lines that hold text.
func (b *logBuffer) lines(text string) []string {
	var found []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// eventually waits until a condition holds.
func eventually(t testing.TB, within time.Duration, condition func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(within); !condition(); {
		if time.Now().After(deadline) {
			require.Failf(t, "not within "+within.String(), format, args...)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
