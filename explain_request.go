package edgeauth

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// newRequest makes a request to be explained, as a server gets it, and says to which
// port it goes; empty: the usual one.
func newRequest(ctx context.Context, method, address string, header http.Header, body, client string) (*http.Request, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, "", badRequest("a whole address is needed, such as https://app.example.com/page")
	}
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, "", badRequest("%v", err)
	}
	r.RequestURI = u.RequestURI()
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		return nil, "", badRequest("%v", err)
	}
	r.RemoteAddr = net.JoinHostPort(client, "0")
	for name, values := range header {
		r.Header[name] = slices.Clone(values)
	}
	if password, ok := u.User.Password(); ok && len(r.Header["Authorization"]) == 0 {
		r.SetBasicAuth(u.User.Username(), password) // as browsers and curl do
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	if u.Scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, ServerName: u.Hostname()}
	}
	return r, u.Port(), nil
}

// discard is a writer for what would be answered.
type discard struct{}

func (discard) Header() http.Header         { return make(http.Header) }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
