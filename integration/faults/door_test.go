package faults

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// revolvingDoor takes connections and shuts them at once, or passes them on.
type revolvingDoor struct {
	Addr  string
	dials atomic.Int64

	mu     sync.Mutex // guards what follows
	closed bool
	inside []net.Conn
	peak   int
}

func startRevolvingDoor(t testing.TB, upstream string) *revolvingDoor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &revolvingDoor{Addr: l.Addr().String()}
	t.Cleanup(func() {
		l.Close()
		d.shut(true)
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.enter(conn, upstream)
		}
	}()
	return d
}

// most is how many have been inside at once, since it was opened last.
func (d *revolvingDoor) most() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peak
}

// shut shuts all connections, and those that come; or opens.
func (d *revolvingDoor) shut(closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = closed
	if closed {
		for _, conn := range d.inside {
			conn.Close()
		}
		d.inside = nil
	}
}

func (d *revolvingDoor) enter(conn net.Conn, upstream string) {
	d.dials.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		conn.Close()
		return
	}
	behind, err := net.Dial("tcp", upstream)
	if err != nil {
		conn.Close()
		return
	}
	d.inside = append(d.inside, conn, behind)
	d.peak = max(d.peak, len(d.inside)/2)
	go pass(conn, behind)
	go pass(behind, conn)
}

func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
}
