package redistest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy stands before a server, and can silence connections: their packets are
// dropped, and nobody is told.
type Proxy struct {
	Addr string

	mu    sync.Mutex // guards what follows
	links []*link
}

// link is a connection through the proxy.
type link struct {
	client, server net.Conn
	silent         atomic.Bool
	mu             sync.Mutex // guards said
	said           []byte     // by the client, at first
}

// StartProxy runs a proxy before a server.
func StartProxy(t testing.TB, server *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{Addr: l.Addr().String()}
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, k := range p.links {
			k.client.Close()
			k.server.Close()
		}
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server.Addr)
			if err != nil {
				client.Close()
				continue
			}
			k := &link{client: client, server: upstream}
			p.mu.Lock()
			p.links = append(p.links, k)
			p.mu.Unlock()
			go k.pass(upstream, client, true)
			go k.pass(client, upstream, false)
		}
	}()
	return p
}

// Silence drops, from now on, what comes over those connections on which the client
// has said a word. New ones are not silenced.
func (p *Proxy) Silence(word string) { p.each(word, func(k *link) { k.silent.Store(true) }) }

// Cut closes those connections on which the client has said a word.
func (p *Proxy) Cut(word string) {
	p.each(word, func(k *link) {
		k.client.Close()
		k.server.Close()
	})
}

func (p *Proxy) each(word string, do func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.links {
		k.mu.Lock()
		if bytes.Contains(k.said, []byte(word)) {
			do(k)
		}
		k.mu.Unlock()
	}
}

func (k *link) pass(to io.WriteCloser, from io.ReadCloser, note bool) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if note {
			k.mu.Lock()
			if len(k.said) < 4<<10 {
				k.said = append(k.said, buffer[:n]...)
			}
			k.mu.Unlock()
		}
		if k.silent.Load() {
			if err != nil {
				return // not even its end is told
			}
			continue
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			to.Close()
			from.Close()
			return
		}
	}
}
