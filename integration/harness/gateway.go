// Package harness is what black-box tests share: the built Caddy, an upstream that
// records byte for byte what it gets, and clients that tidy nothing.
package harness

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// Caddy is the program under test: $EDGE_AUTH_CADDY, or one built by Main.
var Caddy string

// Scratch is a folder for what all tests of a package share.
var Scratch string

// Main runs a package's tests, and returns the status to exit with.
func Main(m *testing.M) int {
	var err error
	if Scratch, err = os.MkdirTemp("", "edge-auth-tests"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(Scratch)
	Caddy = os.Getenv("EDGE_AUTH_CADDY")
	if Caddy == "" {
		Caddy = filepath.Join(Scratch, "caddy")
		build := exec.Command("go", "build", "-o", Caddy, "github.com/edgeauth/caddy-edgeauth/integration/testcaddy")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building Caddy: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// Gateway is a running Caddy.
type Gateway struct {
	T     testing.TB
	URL   string // of the site on $PORT
	Admin string
	Dir   string
	Log   *Log
	Cmd   *exec.Cmd
	Env   []string
	Vars  *strings.Replacer

	inherited int // how many of Env are those of this process
	canaries  *canaries
	exited    chan struct{} // closed when Cmd has ended
}

// Start runs a Caddyfile. In it stand $PORT and $PORT2 for free ports,
// $DIR for a folder of the test's, and what vars names. Its global options get
// the admin address; it must not have global options of its own but the lines
// in global.
func Start(t testing.TB, global, sites string, vars ...string) *Gateway {
	t.Helper()
	g := New(t, vars...)
	g.Serve(global, sites)
	return g
}

// Serve runs a Caddyfile as Start does.
func (g *Gateway) Serve(global, sites string) {
	g.T.Helper()
	config := g.Write("Caddyfile", "{\n\tadmin "+g.Admin+"\n\tauto_https off\n"+loud(global)+"\n}\n"+sites)
	g.Run("run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
}

// loud has Caddy log everything where $EDGE_AUTH_DEBUG is set, so that no secret
// stands in any line that there is.
func loud(global string) string {
	if os.Getenv("EDGE_AUTH_DEBUG") == "" || debugs.MatchString(global) {
		return global
	}
	return "\tdebug\n" + global
}

var debugs = regexp.MustCompile(`(?m)^\s*debug$`)

// New is a gateway that does not run yet.
func New(t testing.TB, vars ...string) *Gateway {
	t.Helper()
	dir := t.TempDir()
	port, port2, admin := freeport.Take(t), freeport.Take(t), freeport.Take(t)
	return &Gateway{
		T: t, Dir: dir, Log: new(Log), inherited: len(os.Environ()), canaries: new(canaries),
		URL: "http://127.0.0.1:" + port, Admin: "127.0.0.1:" + admin,
		Env:  append(os.Environ(), "XDG_DATA_HOME="+dir+"/data", "XDG_CONFIG_HOME="+dir+"/config", "HOME="+dir),
		Vars: strings.NewReplacer(append([]string{"$PORT2", port2, "$PORT", port, "$DIR", dir}, vars...)...),
	}
}

// Write puts a file into the test's folder, with its variables filled in.
func (g *Gateway) Write(name, text string) string {
	g.T.Helper()
	path := filepath.Join(g.Dir, name)
	text = g.Vars.Replace(text)
	require.NoError(g.T, os.WriteFile(path, []byte(text), 0o600))
	g.wrote(path, text)
	return path
}

// Run starts Caddy with arguments; it ends with the test.
func (g *Gateway) Run(args ...string) {
	g.T.Helper()
	g.RunBy(nil, args...)
}

// RunBy is Run by another program, which gets Caddy and its arguments as its last
// arguments and becomes it.
func (g *Gateway) RunBy(program []string, args ...string) {
	g.T.Helper()
	words := append(append(slices.Clone(program), Caddy), args...)
	g.Cmd = exec.Command(words[0], words[1:]...)
	g.Cmd.Env = g.Env
	g.Cmd.Dir = g.Dir
	g.Cmd.Stdout, g.Cmd.Stderr = g.Log, g.Log
	require.NoError(g.T, g.Cmd.Start())
	exited := make(chan struct{})
	g.exited = exited
	go func() {
		_ = g.Cmd.Wait()
		close(exited)
	}()
	g.T.Cleanup(func() {
		said := g.admin()
		_ = g.Cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = g.Cmd.Process.Kill()
			<-exited
		}
		g.search(said)
		if g.T.Failed() {
			g.T.Logf("Caddy's log:\n%s", g.Log.String())
		}
	})
}

// WaitReady waits until the site on $PORT is listened for.
func (g *Gateway) WaitReady() {
	g.T.Helper()
	Eventually(g.T, 20*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(g.URL, "http://"), time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, "Caddy does not listen:\n%s", g.Log)
}

// ServeTLS runs a site at https://localhost, with a certificate of Caddy's own,
// and returns its address.
func (g *Gateway) ServeTLS(global, site string) string {
	g.T.Helper()
	config := g.Write("Caddyfile", "{\n\tadmin "+g.Admin+"\n\tauto_https disable_redirects\n\tskip_install_trust\n"+loud(global)+"\n}\nhttps://localhost:$PORT {\n\ttls internal\n"+site+"\n}")
	g.Run("run", "--config", config, "--adapter", "caddyfile")
	g.WaitReady()
	address := strings.Replace(strings.TrimPrefix(g.URL, "http://"), "127.0.0.1", "localhost", 1)
	Eventually(g.T, 10*time.Second, func() bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "no certificate")
	return "https://" + address
}

// PeakMemory is how much memory the gateway has held at most, in bytes.
func (g *Gateway) PeakMemory() int64 {
	g.T.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Cmd.Process.Pid))
	require.NoError(g.T, err)
	found := peakMemory.FindSubmatch(status)
	require.NotNil(g.T, found)
	kilobytes, err := strconv.ParseInt(string(found[1]), 10, 64)
	require.NoError(g.T, err)
	return kilobytes << 10
}

var peakMemory = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)
