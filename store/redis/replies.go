package redis

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

// What one reply may be at most. Our own are far smaller: a record is cut at 64 KiB,
// and a list is read in parts. The largest that a well-meaning Redis sends is the news
// that very many keys changed at once; a connection that ends over it is made anew,
// and what was kept is read again.
const (
	maxReply  = 16 << 20 // bytes
	maxBulk   = 1 << 20  // bytes of one text
	maxLine   = 64 << 10 // bytes of one line
	maxItems  = 1 << 18  // elements, those of all arrays in it together
	maxNested = 8        // arrays in arrays
)

// replyError says in what a reply is more than any that Redis would send us.
type replyError string

func (e replyError) Error() string { return "reply can't be of Redis: " + string(e) }

// guardedDialer dials as go-redis does, and lets no reply through that announces more
// than it may. go-redis believes what it is told: whoever answers in the place of
// Redis would end the process by one line, "$999999999999".
func guardedDialer(o *goredis.UniversalOptions) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialGuarded(ctx, o, network, address, nil)
	}
}

// dialGuarded is what a guardedDialer does. When the connection is closed, closed is
// called, if it is not nil.
func dialGuarded(ctx context.Context, o *goredis.UniversalOptions, network, address string, closed func()) (net.Conn, error) {
	conn, err := goredis.NewDialer(&goredis.Options{DialTimeout: o.DialTimeout, TLSConfig: o.TLSConfig})(ctx, network, address)
	if err != nil {
		return nil, err
	}
	guarded := &guardedConn{Conn: conn, closed: closed}
	if plain, ok := conn.(syscall.Conn); ok {
		return &guardedSocket{guarded, plain}, nil
	}
	return guarded, nil
}

// guardedConn is a connection to what should be a Redis.
type guardedConn struct {
	net.Conn
	replies replies
	closed  func() // nil: nobody wants to know
}

// Close closes it, which somebody may want to know.
func (g *guardedConn) Close() error {
	err := g.Conn.Close()
	if g.closed != nil {
		g.closed()
	}
	return err
}

// Read reads what is checked.
func (g *guardedConn) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if refused := g.replies.check(p[:n]); refused != nil {
		_ = g.Close()
		return 0, refused
	}
	return n, err
}

// guardedSocket lets go-redis look whether an idle connection still lives, which it
// does at sockets alone.
type guardedSocket struct {
	*guardedConn
	syscall.Conn
}

// replies follows a stream of replies in RESP2 or RESP3.
// See https://redis.io/docs/latest/develop/reference/protocol-spec/.
type replies struct {
	line   []byte // of a line, what has come so far
	skip   int    // bytes of a text that are still to come
	open   []int  // how many elements of each array are still to come, the outermost first
	items  int    // of this reply, announced so far
	bytes  int    // of this reply, come so far
	failed error
}

// check takes the next bytes. After an error there is no telling where a reply would
// begin, so it stays.
func (r *replies) check(p []byte) error {
	for len(p) > 0 && r.failed == nil {
		n := r.take(p)
		p = p[n:]
		if r.bytes += n; r.bytes > maxReply {
			r.fail("it is larger than %d MiB", maxReply>>20)
		}
		if r.skip == 0 && len(r.open) == 0 && len(r.line) == 0 {
			r.bytes, r.items = 0, 0 // the next reply begins
		}
	}
	return r.failed
}

func (r *replies) fail(format string, args ...any) {
	r.failed = replyError(fmt.Sprintf(format, args...))
}

// take takes bytes of one line, or of one text, and returns how many.
func (r *replies) take(p []byte) int {
	if r.skip > 0 {
		n := min(r.skip, len(p))
		if r.skip -= n; r.skip == 0 {
			r.complete()
		}
		return n
	}
	n := bytes.IndexByte(p, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(p)
	}
	switch line := p[:n]; {
	case len(r.line)+n > maxLine:
		r.fail("a line is longer than %d KiB", maxLine>>10)
	case !whole:
		r.line = append(r.line, line...)
	case len(r.line) > 0:
		r.read(append(r.line, line...))
		r.line = r.line[:0]
	default:
		r.read(line)
	}
	return n
}

// read reads a line: a value by itself, or how long what follows will be.
func (r *replies) read(line []byte) {
	text, ended := bytes.CutSuffix(line, []byte("\r\n"))
	if !ended || len(text) == 0 {
		r.fail("a line is empty, or has no proper end")
		return
	}
	switch kind := text[0]; kind {
	case '+', '-', ':', '_', ',', '#', '(':
		r.complete()
	case '$', '=', '!':
		if n, ok := r.length(text, maxBulk); ok {
			r.skip = n + len("\r\n")
		}
	case '*', '~', '>', '%':
		n, ok := r.length(text, maxItems-r.items)
		if !ok {
			return
		}
		if kind == '%' {
			n *= 2 // keys and values
		}
		r.items += n
		switch {
		case r.items > maxItems:
			r.fail("it has more than %d elements", maxItems)
		case n == 0:
			r.complete()
		case len(r.open) == maxNested:
			r.fail("it is nested more than %d deep", maxNested)
		default:
			r.open = append(r.open, n)
		}
	default:
		r.fail("it has a part of kind %q", kind)
	}
}

// length is what a line announces. It is not ok where that is nothing at all, -1, or
// more than it may be.
func (r *replies) length(line []byte, most int) (int, bool) {
	n, err := strconv.Atoi(string(line[1:]))
	switch {
	case err != nil || n < -1:
		r.fail("no length is %.20q", line[1:])
	case n > most:
		r.fail("it announces %d where %d is the most", n, most)
	case n == -1:
		r.complete()
	default:
		return n, true
	}
	return 0, false
}

// complete counts an element, with which the arrays may end that it is in.
func (r *replies) complete() {
	for last := len(r.open) - 1; last >= 0; last-- {
		if r.open[last]--; r.open[last] > 0 {
			return
		}
		r.open = r.open[:last]
	}
}
