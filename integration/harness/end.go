package harness

import (
	"time"

	"github.com/stretchr/testify/require"
)

// AwaitEnd waits until the gateway has ended; Run starts it again.
func (g *Gateway) AwaitEnd(within time.Duration) {
	g.T.Helper()
	select {
	case <-g.exited:
	case <-time.After(within):
		require.Fail(g.T, "it does not end")
	}
}

// Kill ends the gateway as a power cut does.
func (g *Gateway) Kill() {
	_ = g.Cmd.Process.Kill()
	<-g.exited
}
