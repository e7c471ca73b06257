package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
)

// AskEarly sends a request by HTTP/3 in the early data of a resumed handshake, which
// does not end before seen has returned: so the gateway judges it before it knows that
// it was not sent again by somebody else.
func (g *Gateway) AskEarly(t testing.TB, r Request, seen func()) (Answer, error) {
	t.Helper()
	address := strings.TrimPrefix(g.URL, "http://")
	_, port, _ := net.SplitHostPort(address)
	host := "localhost:" + port
	config := clientTLS("h3")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	first, err := quic.DialAddr(ctx, address, config, nil)
	if err != nil {
		return Answer{}, err
	}
	if _, err := exchange(ctx, first, host, Request{Method: "GET", Path: "/"}, nil); err != nil {
		return Answer{}, err
	}
	_ = first.CloseWithError(0x100, "")

	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return Answer{}, err
	}
	held := &heldSocket{PacketConn: socket, open: make(chan struct{})}
	defer socket.Close()
	transport := &quic.Transport{Conn: held}
	defer transport.Close()
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return Answer{}, err
	}
	conn, err := transport.DialEarly(ctx, to, config, nil)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = conn.CloseWithError(0x100, "") }()
	a, err := exchange(ctx, conn, host, r, func() {
		seen()
		close(held.open)
	})
	if err == nil && !conn.ConnectionState().Used0RTT {
		err = errors.New("the gateway took no early data")
	}
	return a, err
}

// heldSocket hears nothing until it is opened.
type heldSocket struct {
	net.PacketConn

	open chan struct{}
}

func (s *heldSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	<-s.open
	return s.PacketConn.ReadFrom(p)
}
