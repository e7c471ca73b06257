// Package freeport finds ports for the servers of tests.
package freeport

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// The ports are below those that the kernel gives to outgoing connections, and
// none is given out twice in a process, so that no other test or connection
// takes one between its choice and its use.
const (
	first = 20000
	count = 12000
)

var taken atomic.Uint32

// Take returns a free port of the loopback address.
func Take(t testing.TB) string {
	t.Helper()
	for range count {
		n := uint64(os.Getpid())*131 + uint64(taken.Add(1)) //nolint:gosec // a process id is positive
		port := strconv.FormatUint(first+n%count, 10)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)) //nolint:noctx // closed at once
		if err == nil {
			_ = l.Close() // nothing was sent
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}
