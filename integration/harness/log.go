package harness

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Log collects a log that is still being written.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Lines returns the log lines that hold text.
func (b *Log) Lines(text string) []string {
	var found []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Eventually waits until a condition holds.
func Eventually(t testing.TB, within time.Duration, condition func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(within); !condition(); {
		if time.Now().After(deadline) {
			require.Failf(t, "not within "+within.String(), format, args...)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
