package harness

import "syscall"

// Pause stops the gateway as a machine that is moved stops, until what it returns is
// called. What it owes its test at the end, it must be awake for.
func (g *Gateway) Pause() (resume func()) {
	_ = g.Cmd.Process.Signal(syscall.SIGSTOP)
	resume = func() { _ = g.Cmd.Process.Signal(syscall.SIGCONT) }
	g.T.Cleanup(resume)
	return resume
}
