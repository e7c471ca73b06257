// Package faults breaks what the built Caddy depends on (Redis, Sentinels, a Cluster,
// the network, the disk, the process itself) while a crowd of callers goes on asking.
//
// In every test: nobody passes without a credential, and everybody as who they are
// and no other; a good credential is never answered 401 for a fault; it recovers by
// itself; the log has a line for each change of state and not for each request.
//
// EDGE_AUTH_LONG=1m lets those that go on for a while go on for that long.
package faults

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// They wait most of the time.
	_ = flag.Set("test.parallel", "6")
	os.Exit(harness.Main(m))
}

// lasting is how long a test goes on: for short, or for as long as EDGE_AUTH_LONG says.
func lasting(t testing.TB, short time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("EDGE_AUTH_LONG")
	if text == "" {
		return short
	}
	long, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return max(short, long)
}
