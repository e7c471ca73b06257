package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
)

// toxiproxy builds the tool once.
var toxiproxy = sync.OnceValues(func() (string, error) {
	path := filepath.Join(harness.Scratch, "toxiproxy")
	build := exec.Command("go", "build", "-modfile=../../tools/go.mod", "-o", path, "github.com/Shopify/toxiproxy/v2/cmd/server")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building toxiproxy: %w\n%s", err, out)
	}
	return path, nil
})

// wire is a toxiproxy before a server: a process of its own, so that what it does to
// connections costs neither side anything.
type wire struct {
	Addr string

	t   testing.TB
	api string
}

// startWire runs a proxy before an address.
func startWire(t testing.TB, upstream string) *wire {
	t.Helper()
	path, err := toxiproxy()
	require.NoError(t, err)
	port := freeport.Take(t)
	w := &wire{Addr: "127.0.0.1:" + freeport.Take(t), t: t, api: "http://127.0.0.1:" + port}
	cmd := exec.Command(path, "-host", "127.0.0.1", "-port", port)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	harness.Eventually(t, 10*time.Second, func() bool {
		resp, err := harness.Client.Get(w.api + "/version")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}, "toxiproxy does not start")
	w.call(http.MethodPost, "/proxies", map[string]any{"name": "wire", "listen": w.Addr, "upstream": upstream, "enabled": true})
	return w
}

func (w *wire) call(method, path string, body any) {
	w.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(w.t, err)
	req, err := http.NewRequest(method, w.api+path, bytes.NewReader(data))
	require.NoError(w.t, err)
	resp, err := harness.Client.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.Less(w.t, resp.StatusCode, 300, "%s %s: %s", method, path, answer)
}

// poison does something to what comes from the server from now on, on connections
// that there are and on new ones.
func (w *wire) poison(kind string, attributes map[string]any) {
	w.t.Helper()
	w.call(http.MethodPost, "/proxies/wire/toxics", map[string]any{"name": kind, "type": kind, "stream": "downstream", "attributes": attributes})
}

// heal ends that.
func (w *wire) heal(kind string) {
	w.t.Helper()
	w.call(http.MethodDelete, "/proxies/wire/toxics/"+kind, nil)
}

// set takes connections or refuses them; it cuts those that there are.
func (w *wire) set(enabled bool) {
	w.t.Helper()
	w.call(http.MethodPost, "/proxies/wire", map[string]any{"enabled": enabled})
}
