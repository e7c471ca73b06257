package harness

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Request is what a client that tidies nothing sends: every byte as it stands.
type Request struct {
	Method   string   // GET
	Path     string   // the request target
	Host     string   // Host or :authority; that of the door
	NoHost   bool     // none is sent
	Headers  []string // "Name: value", in any spelling; h2 and h3 get names in lower case
	AsIs     bool     // names keep their case in h2 and h3 too
	Pseudo   []string // in h2 and h3, ":name: value" in place of those made of the above
	Body     string
	Trailers []string // sent after the body, announced only by a Trailer header among Headers
	ToLocal  string   // an address of 127.0.0.1 to send to, when not that of the site on $PORT
}

// Door is a protocol by which a request comes in.
type Door struct {
	Name string // h1, h2, h3
	ask  func(address, host string, r Request) (Answer, error)
}

// Doors are the protocols that a site served by ServeTLS speaks.
var Doors = []Door{{"h1", askH1}, {"h2", askH2}, {"h3", askH3}}

// Ask sends a request on a connection of its own. An error says that there was no
// whole answer: the server ended the stream or the connection.
func (d Door) Ask(t testing.TB, g *Gateway, r Request) (Answer, error) {
	t.Helper()
	address := strings.TrimPrefix(g.URL, "http://")
	if r.ToLocal != "" {
		address = r.ToLocal
	}
	_, port, _ := net.SplitHostPort(address)
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	host := r.Host
	if host == "" {
		host = "localhost:" + port
	}
	sent := g.sends(r.Path, r.Body, r.Headers)
	a, err := d.ask(address, host, r)
	g.gets(a, sent)
	return a, err
}

// patience is how long a client waits for an answer.
const patience = 20 * time.Second

// clientTLS trusts any certificate: who is at the other end is known.
func clientTLS(protocol string) *tls.Config {
	return &tls.Config{ServerName: "localhost", NextProtos: []string{protocol}, InsecureSkipVerify: true}
}

func dialTLS(address, protocol string) (*tls.Conn, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, clientTLS(protocol))
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

func askH1(address, host string, r Request) (Answer, error) {
	conn, err := dialTLS(address, "http/1.1")
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	// A server that has read enough answers before all is written.
	go func() { _, _ = io.WriteString(conn, r.bytes(host)) }()
	return readAnswer(bufio.NewReader(conn), r.Method)
}

// bytes is the request in HTTP/1.1.
func (r Request) bytes(host string) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Path + " HTTP/1.1\r\n")
	if !r.NoHost {
		b.WriteString("Host: " + host + "\r\n")
	}
	for _, line := range r.Headers {
		b.WriteString(line + "\r\n")
	}
	switch {
	case r.Trailers != nil:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		if r.Body != "" {
			b.WriteString(strconv.FormatInt(int64(len(r.Body)), 16) + "\r\n" + r.Body + "\r\n")
		}
		b.WriteString("0\r\n" + strings.Join(r.Trailers, "\r\n") + "\r\n\r\n")
	case r.Body != "":
		b.WriteString("Content-Length: " + strconv.Itoa(len(r.Body)) + "\r\n\r\n" + r.Body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

func readAnswer(in *bufio.Reader, method string) (Answer, error) {
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return Answer{}, err
		}
		if resp.StatusCode == http.StatusContinue || resp.StatusCode == http.StatusEarlyHints {
			continue
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return Answer{Status: resp.StatusCode, Header: resp.Header}, nil
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}, err
	}
}

// field is a header field of h2 and h3.
type field struct{ name, value string }

// fields are the request's in h2 and h3.
func (r Request) fields(host string) []field {
	var all []field
	if r.Pseudo != nil {
		for _, line := range r.Pseudo {
			name, value, _ := strings.Cut(line[1:], ": ")
			all = append(all, field{":" + name, value})
		}
	} else {
		all = append(all, field{":method", r.Method}, field{":scheme", "https"}, field{":path", r.Path})
		if !r.NoHost {
			all = append(all, field{":authority", host})
		}
	}
	return append(all, r.fieldsOf(r.Headers)...)
}

func (r Request) fieldsOf(lines []string) []field {
	all := make([]field, 0, len(lines))
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if !r.AsIs {
			name = strings.ToLower(name)
		}
		all = append(all, field{name, value})
	}
	return all
}

// heard puts an answer together from the fields and data of h2 and h3.
type heard struct{ Answer }

var errNoStatus = errors.New("an answer without a status")

func (h *heard) field(name, value string) {
	if name == ":status" {
		h.Status, _ = strconv.Atoi(value)
		h.Header = make(http.Header)
		return
	}
	if h.Header != nil {
		h.Header.Add(name, value)
	}
}

// final says whether what was heard is more than a 1xx.
func (h *heard) final() bool { return h.Status >= http.StatusOK }
