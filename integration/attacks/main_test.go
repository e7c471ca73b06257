// Package attacks sends what attackers send, as raw bytes, through each door of the
// built Caddy (HTTP/1.1, HTTP/2, HTTP/3), and judges by what the upstream got.
package attacks

import (
	"os"
	"testing"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
