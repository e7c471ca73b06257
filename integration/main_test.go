// Package integration tests the built Caddy as a user meets it: with real
// clients, a real Redis and real frameworks, over sockets.
package integration

import (
	"os"
	"testing"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
