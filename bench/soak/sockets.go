package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// sockets keeps connections open as WebSockets do: each was let through once, and must
// answer its own caller until somebody closes it. A reload may.
func (w *world) sockets(ctx context.Context) {
	for range 10 {
		for _, s := range w.sides {
			go func() {
				for w.wait(ctx, between(100*time.Millisecond, 3*time.Second)) {
					if w.quiet.Load() {
						continue
					}
					if c := s.pick(); c != nil {
						w.acting.RLock()
						conn, in := s.any().upgrade(ctx, c)
						w.acting.RUnlock()
						w.converse(ctx, conn, in)
					}
				}
			}()
		}
	}
}

// upgrade opens a connection; nil where that is refused, as judged.
func (g *gateway) upgrade(ctx context.Context, c *credential) (net.Conn, *bufio.Reader) {
	q := c.request()
	q.kind = "socket"
	if strings.HasPrefix(q.path, "/optional/") {
		q.path = usersOwn
	}
	nonce, sent := rand.Text(), time.Now()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", g.addr)
	if err != nil {
		return nil, nil
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Nonce: %s\r\n%s: %s\r\n\r\n", q.path, g.addr, nonce, q.headers[0][0], q.headers[0][1])
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		_ = conn.Close()
		return nil, nil // closed by a reload
	}
	a := answer{status: resp.StatusCode}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		var e echo
		_ = json.Unmarshal([]byte(resp.Header.Get("X-Echo")), &e)
		a.nonce, a.told, a.spoilt = e.Nonce, e.Told, e.Spoilt
	}
	_ = resp.Body.Close()
	known := asked{sent: sent, got: time.Now(), nonce: nonce, good: true, caller: q.caller, expires: c.expires, bound: g.bound()}
	known.revoking, known.revoked = c.state()
	for _, need := range q.needs {
		known.faulty = known.faulty || g.world.outages.during(dependency(g.name, need), sent, known.got)
	}
	found, why := judge(known, a)
	g.world.tally.count(g, q, found, why, known)
	if found != through {
		_ = conn.Close()
		return nil, nil
	}
	return conn, in
}

// converse says things and wants to hear them again, until the line is closed.
func (w *world) converse(ctx context.Context, conn net.Conn, in *bufio.Reader) {
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	for range mathrand.IntN(30) {
		text := rand.Text()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, text); err != nil {
			break
		}
		heard := make([]byte, len(text))
		if _, err := io.ReadFull(in, heard); err != nil {
			break
		}
		if string(heard) != text {
			w.tally.fail("socket", "I2: said %q, heard %q", text, heard)
		}
		if w.quiet.Load() || !w.wait(ctx, time.Second) {
			return
		}
	}
	w.tally.done("socket closed")
}
