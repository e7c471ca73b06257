package faults

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// footprint is what a process holds.
type footprint struct {
	goroutines, files int
	memory            int64 // bytes resident
}

func footprintOf(t testing.TB, g *harness.Gateway) footprint {
	t.Helper()
	f := footprint{goroutines: int(g.Metric("go_goroutines"))}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Cmd.Process.Pid))
	require.NoError(t, err)
	f.files = len(files)
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.Cmd.Process.Pid))
	require.NoError(t, err)
	fields := bytes.Fields(statm)
	require.Greater(t, len(fields), 1)
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	require.NoError(t, err)
	f.memory = pages * int64(os.Getpagesize())
	return f
}

// settles wants a gateway to hold no more than before, soon after a fault: a tenth,
// and what a few connections take that are kept for the next request.
func settles(t testing.TB, g *harness.Gateway, before footprint) {
	t.Helper()
	var now footprint
	settled := func() bool {
		now = footprintOf(t, g)
		return now.goroutines <= before.goroutines*11/10+40 && now.files <= before.files*11/10+40
	}
	for deadline := time.Now().Add(10 * time.Second); !settled() && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if !assert.LessOrEqual(t, now.goroutines, before.goroutines*11/10+40, "goroutines") {
		resp, err := harness.Client.Get("http://" + g.Admin + "/debug/pprof/goroutine?debug=1")
		require.NoError(t, err)
		defer resp.Body.Close()
		stacks, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		t.Logf("%s", stacks)
	}
	assert.LessOrEqual(t, now.files, before.files*11/10+40, "files")
	assert.LessOrEqual(t, now.memory, before.memory*11/10+64<<20, "memory")
}
