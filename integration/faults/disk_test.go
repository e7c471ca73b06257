package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// mounting runs a program with a mount of its own, which ends with it: by a script
// whose $0 is a folder. Nobody need be root for that where the system lets users have
// namespaces of their own.
func mounting(t testing.TB, folder, script string) []string {
	t.Helper()
	program := []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script + ` && exec "$@"`, folder}
	if out, err := exec.Command(program[0], append(program[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this system lets nobody mount, and nothing can be installed for that: %v, %s", err, out)
	}
	return program
}

// onDisk is a gateway whose store is on a disk of its own.
type onDisk struct {
	*logins

	program []string // which gives it the disk
}

func (d *onDisk) run() {
	d.RunBy(d.program, "run", "--config", d.Dir+"/Caddyfile", "--adapter", "caddyfile")
	d.WaitReady()
}

// within is a file of the disk, as it is seen from here.
func (d *onDisk) within(name string) string {
	return filepath.Join("/proc", strconv.Itoa(d.Cmd.Process.Pid), "root", d.Dir, "disk", name)
}

func startOnDisk(t testing.TB, script string, prepare func(*harness.Gateway)) *onDisk {
	t.Helper()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	folder := filepath.Join(g.Dir, "disk")
	require.NoError(t, os.Mkdir(folder, 0o700))
	d := &onDisk{&logins{Gateway: g, up: up}, mounting(t, folder, script)}
	g.Write("Caddyfile", "{\n\tadmin "+g.Admin+"\n\tauto_https off\n\tedge_auth {\n store embedded $DIR/disk/edge_auth.db\n}\n}\n"+loginSite)
	if prepare != nil {
		prepare(g)
	}
	d.run()
	return d
}

// A disk that is full takes no login, and loses none. Who only reads goes on.
func TestD32DiskIsFull(t *testing.T) {
	t.Parallel()
	d := startOnDisk(t, `mount -t tmpfs -o size=2m none "$0"`, nil)
	d.EdgeAuth("correct horse\n", "user", "add", "alice")
	d.token = "Authorization: Token " + d.EdgeAuth("", "token", "create", "alice")
	obtained := []harness.Answer{d.obtain()}
	require.Equal(t, http.StatusOK, obtained[0].Status)

	filler, err := os.Create(d.within("filler"))
	require.NoError(t, err)
	defer filler.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = filler.Write(block)
	}
	require.ErrorContains(t, err, "no space left")
	refused := 0
	for range 200 { // pages that have become free are written to first
		a := d.obtain()
		switch a.Status {
		case http.StatusOK:
			obtained = append(obtained, a)
			continue
		case http.StatusServiceUnavailable:
			refused++
		}
		require.Equal(t, http.StatusServiceUnavailable, a.Status, a.Body)
		assert.NotEmpty(t, a.Header.Get("Retry-After"))
		assert.NotContains(t, a.Body, "access")
		if refused == 5 {
			break
		}
	}
	require.Equal(t, 5, refused, "the disk is not full")
	d.reads(t)
	assert.Contains(t, d.Log.String(), "no space left")

	require.NoError(t, os.Remove(d.within("filler")))
	require.NoError(t, filler.Close())
	harness.Eventually(t, 2*time.Second+slow, func() bool {
		a := d.obtain()
		if a.Status == http.StatusOK {
			obtained = append(obtained, a)
		}
		return a.Status == http.StatusOK
	}, "does not recover")
	d.reads(t)
	for _, a := range obtained {
		again := d.PostJSON("/api/token/refresh/", a.Body)
		assert.Equal(t, http.StatusOK, again.Status, "a login that was acknowledged is lost: %s", again.Body)
	}
	assert.LessOrEqual(t, len(d.Log.Lines(`"level":"error"`)), 4, "one line a change")
	assert.Empty(t, d.Log.Lines("panic"))

	// What is on the disk is whole: a copy of it serves another Caddy.
	data, err := os.ReadFile(d.within("edge_auth.db"))
	require.NoError(t, err)
	next := harness.New(t, "UPSTREAM", d.up.Addr)
	require.NoError(t, os.WriteFile(filepath.Join(next.Dir, "edge_auth.db"), data, 0o600))
	next.Serve("edge_auth {\n store embedded $DIR/edge_auth.db\n}", loginSite)
	(&logins{Gateway: next, up: d.up, token: d.token}).reads(t)
}

// A file, or a folder, that can't be written to is told at the load, by its name.
func TestD32StoreThatIsReadOnly(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]bool{"D32 file": true, "D32 folder": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startLogins(t, "store embedded $DIR/disk/edge_auth.db").Gateway
			folder, path := filepath.Join(g.Dir, "disk"), filepath.Join(g.Dir, "disk", "edge_auth.db")
			require.NoError(t, g.Cmd.Process.Signal(os.Interrupt))
			g.AwaitEnd(10 * time.Second)
			if !there {
				require.NoError(t, os.Remove(path))
			}
			before, _ := os.ReadFile(path)
			program := append(mounting(t, folder, `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"`), harness.Caddy, "run", "--config", g.Dir+"/Caddyfile", "--adapter", "caddyfile")
			second := exec.Command(program[0], program[1:]...)
			second.Env, second.Dir = g.Env, g.Dir
			out, err := second.CombinedOutput()
			require.Error(t, err, "it runs")
			assert.Contains(t, string(out), "edge_auth.db: read-only file system")
			after, _ := os.ReadFile(path)
			assert.Equal(t, before, after)
		})
	}
}

// Only one Caddy may have the file. The other is told which file it is, and who has
// it; the first goes on.
func TestD32SecondCaddyIsToldWhoHasTheFile(t *testing.T) {
	t.Parallel()
	g := startLogins(t, "store embedded $DIR/edge_auth.db")
	second := harness.New(t)
	config := second.Write("Caddyfile", "{\n admin off\n edge_auth {\n store embedded "+g.Dir+"/edge_auth.db\n}\n}\nhttp://127.0.0.1:$PORT {\n edge_auth\n}\n")
	_, err := second.Command("", "run", "--adapter", "caddyfile", "--config", config)
	require.ErrorContains(t, err, fmt.Sprintf("edge_auth.db is in use by another process (%d)", g.Cmd.Process.Pid))
	g.reads(t)
	require.Equal(t, http.StatusOK, g.obtain().Status)

	// A reload to that file leaves a Caddy as it was.
	other := startLogins(t, "store embedded $DIR/edge_auth.db")
	config = other.Write("Other", strings.ReplaceAll("{\n admin "+other.Admin+"\n auto_https off\n edge_auth {\n store embedded FILE\n}\n}\n"+loginSite, "FILE", g.Dir+"/edge_auth.db"))
	require.ErrorContains(t, other.Reload(config), "in use by another process")
	other.reads(t)
	g.reads(t)
}

// What is no database is refused at the load, and kept: never replaced by an empty one.
func TestD32CorruptFileIsRefusedAtTheLoad(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"D32 something else": func([]byte) []byte { return []byte("not a database at all") },
		"D32 empty pages":    func(data []byte) []byte { return make([]byte, len(data)) },
		"D32 torn":           func(data []byte) []byte { return data[:4096] },
		"D32 both metas":     func(data []byte) []byte { data[20] ^= 1; data[4096+20] ^= 1; return data },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startLogins(t, "store embedded $DIR/edge_auth.db").Gateway
			require.NoError(t, g.Cmd.Process.Signal(os.Interrupt))
			g.AwaitEnd(10 * time.Second)
			path := filepath.Join(g.Dir, "edge_auth.db")
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			damaged := damage(whole)
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			_, err = g.Command("", "run", "--config", g.Dir+"/Caddyfile", "--adapter", "caddyfile")
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, damaged, after)
		})
	}
}
