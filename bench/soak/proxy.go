package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands between a gateway and Redis, and makes that way slow, silent or
// impassable.
type proxy struct {
	addr, server string

	delay  atomic.Int64 // nanoseconds, for what comes over, each way
	frozen atomic.Bool  // nothing comes over, and nothing is lost
	closed atomic.Bool  // nobody is let in
	hot    atomic.Pointer[hotKey]

	mu    sync.Mutex // guards links
	links map[*link]struct{}
}

// hotKey counts how often a gateway has asked for a key.
type hotKey struct {
	name  []byte
	asked atomic.Int64
}

// link is a connection through a proxy.
type link struct {
	client, server net.Conn
	tracking       atomic.Bool // the client wants to be told of changes
	deaf           atomic.Bool // what the server says is lost
}

func (k *link) cut() {
	_ = k.client.Close()
	_ = k.server.Close()
}

func startProxy(server string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: l.Addr().String(), server: server, links: map[*link]struct{}{}}
	go func() { // as long as the program
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p, nil
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	if p.closed.Load() {
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	k := &link{client: client, server: server}
	p.mu.Lock()
	p.links[k] = struct{}{}
	p.mu.Unlock()
	go p.pass(k, client, server, false)
	p.pass(k, server, client, true)
	p.mu.Lock()
	delete(p.links, k)
	p.mu.Unlock()
}

// chunk is what one side said, and when the other hears it.
type chunk struct {
	text []byte
	due  time.Time
}

// pass hands over what one side says, until either closes. What is late delays
// nothing that comes after it.
func (p *proxy) pass(k *link, to io.Writer, from io.Reader, up bool) {
	late := make(chan chunk, 4096)
	defer close(late)
	go func() {
		defer k.cut()
		for c := range late {
			time.Sleep(time.Until(c.due))
			for p.frozen.Load() {
				time.Sleep(5 * time.Millisecond)
			}
			if !up && k.deaf.Load() {
				continue
			}
			if _, err := to.Write(c.text); err != nil {
				break
			}
		}
		for range late { // nobody may wait for us
		}
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		said := buffer[:n]
		if up {
			if bytes.Contains(said, []byte("racking")) || bytes.Contains(said, []byte("TRACKING")) {
				k.tracking.Store(true)
			}
			if hot := p.hot.Load(); hot != nil {
				hot.asked.Add(int64(bytes.Count(said, hot.name)))
			}
		}
		if err != nil {
			return
		}
		late <- chunk{bytes.Clone(said), time.Now().Add(time.Duration(p.delay.Load()))}
	}
}

// each does something with connections, or only with those that are told of changes.
func (p *proxy) each(trackingOnly bool, do func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.links {
		if !trackingOnly || k.tracking.Load() {
			do(k)
		}
	}
}
