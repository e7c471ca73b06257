package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// serveUpstream answers with the user it was told, or with as many other bytes.
func serveUpstream(ctx context.Context, address string) error {
	return serveUntil(ctx, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, cmp.Or(r.Header.Get("Remote-User"), "-----"))
	}))
}

// serveAuth is the small service that others ask about each request: it looks the
// cookie sid up in Redis, and answers 200 with Remote-User, or 401. It does as little
// as such a service can.
func serveAuth(ctx context.Context, address, redis string) error {
	free := make(chan *redisConn, 64)
	return serveUntil(ctx, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("sid")
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var conn *redisConn
		select {
		case conn = <-free:
		default:
			if conn, err = dialRedis(redis); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		user, err := conn.get("plain:" + cookie.Value)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		select {
		case free <- conn:
		default:
			_ = conn.Close()
		}
		if user == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Remote-User", user)
	}))
}

func serveUntil(ctx context.Context, address string, handler http.Handler) error {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// redisConn is a connection to Redis that does what the bench needs.
type redisConn struct {
	net.Conn
	in *bufio.Reader
}

func dialRedis(address string) (*redisConn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &redisConn{conn, bufio.NewReader(conn)}, nil
}

// get returns a value; empty if there is none.
func (c *redisConn) get(key string) (string, error) {
	if _, err := fmt.Fprintf(c, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key); err != nil {
		return "", err
	}
	line, err := c.in.ReadString('\n')
	if err != nil || strings.HasPrefix(line, "$-1") {
		return "", err
	}
	value, err := c.in.ReadString('\n')
	return strings.TrimRight(value, "\r\n"), err
}

// set writes values, all in one go.
func (c *redisConn) set(pairs func(yield func(key, value string) bool)) error {
	out := bufio.NewWriter(c)
	count := 0
	pairs(func(key, value string) bool {
		count++
		_, err := fmt.Fprintf(out, "*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n$2\r\nEX\r\n$4\r\n7200\r\n", len(key), key, len(value), value)
		if err == nil && count%1000 == 0 {
			err = c.flush(out, 1000)
		}
		return err == nil
	})
	return c.flush(out, count%1000)
}

func (c *redisConn) flush(out *bufio.Writer, replies int) error {
	if err := out.Flush(); err != nil {
		return err
	}
	for range replies {
		if line, err := c.in.ReadString('\n'); err != nil || line[0] != '+' {
			return fmt.Errorf("redis: %s: %w", line, err)
		}
	}
	return nil
}
