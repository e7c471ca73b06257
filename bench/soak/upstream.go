package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Whatever must not pass carries a nonce that begins so: should it reach the
// upstream all the same, that counts, also if its answer is lost.
const badNonce = "bad-"

// upstream is the app behind all gateways. It answers what it was told.
type upstream struct {
	addr     string
	inFlight atomic.Int64
	onBad    func(told string)
}

// echo is the upstream's answer.
type echo struct {
	Nonce  string   `json:"nonce"`
	Told   identity `json:"told"`
	Spoilt string   `json:"spoilt,omitempty"`
}

// isIdentity reports whether an app, or a server of the CGI kind before it, would
// take a header for one that says who is calling.
func isIdentity(name string) bool {
	for _, prefix := range []string{"remote-", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred", "x-auth-request-", "x-webauth-", "x-remote-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// fold is what CGI servers make of a header's name.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
}

func echoOf(r *http.Request) echo {
	e := echo{Nonce: r.Header.Get("X-Nonce"), Told: identity{}}
	for name, values := range r.Header {
		name = fold(name)
		if !isIdentity(name) {
			continue
		}
		if before, twice := e.Told[name]; twice {
			values = append([]string{before}, values...)
		}
		e.Told[name] = strings.Join(values, " AND ")
	}
	if r.Header.Get("Authorization") != "" {
		e.Spoilt = "the header Authorization"
	}
	if strings.Contains(r.Header.Get("Cookie"), "__Host-edge_auth=") {
		e.Spoilt = "the cookie of a session of the gateway's own"
	}
	return e
}

func startUpstream(onBad func(string)) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{addr: l.Addr().String(), onBad: onBad}
	go serve(l, u)
	return u, nil
}

// serve answers as long as the program runs.
func serve(l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := echoOf(r)
	if strings.HasPrefix(e.Nonce, badNonce) {
		u.onBad(fmt.Sprintf("%s %s told %v", e.Nonce, r.URL, e.Told))
	}
	if r.Header.Get("Upgrade") != "" {
		u.stream(w, e)
		return
	}
	if pause, err := time.ParseDuration(r.URL.Query().Get("pause")); err == nil {
		u.inFlight.Add(1)
		time.Sleep(pause)
		u.inFlight.Add(-1)
	}
	_ = json.NewEncoder(w).Encode(e)
}

// stream answers as a server of WebSockets does, and then each byte by itself.
func (u *upstream) stream(w http.ResponseWriter, e echo) {
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	text, err := json.Marshal(e)
	if err != nil {
		return
	}
	fmt.Fprintf(both, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Echo: %s\r\n\r\n", text)
	if both.Flush() == nil {
		_, _ = io.Copy(conn, both)
	}
}
