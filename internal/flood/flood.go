// Package flood sends a gateway more than it should take, over as many connections as
// one likes, and counts what it answers. It serves tests and benchmarks.
package flood

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Flood is requests to a server, of which each is another.
type Flood struct {
	Address     string
	Connections int
	Requests    int // in all; 0: until the context ends

	// Request is the n-th, as it goes over the wire.
	Request func(n int) string

	// Pause is how long each connection waits before its next request. They begin one
	// after the other, so that the rate is even.
	Pause time.Duration
}

// Result is what became of a flood.
type Result struct {
	Took     time.Duration
	Statuses map[int]int
	Errors   int // connections that were refused or broken off

	// Impatient counts answers of 503 that don't say when to come back.
	Impatient int

	// Wrong counts answers of 200 whose body is not what was asked for.
	Wrong int

	latencies []time.Duration
}

// Requests is how many were answered.
func (r *Result) Requests() int {
	all := 0
	for _, n := range r.Statuses {
		all += n
	}
	return all
}

// Share is that of a status among the answers.
func (r *Result) Share(status int) float64 {
	return float64(r.Statuses[status]) / float64(max(r.Requests(), 1))
}

// Latency is that of a share of the answers that were 200.
func (r *Result) Latency(share float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(int(share*float64(len(r.latencies))), len(r.latencies)-1)]
}

func (r *Result) String() string {
	return fmt.Sprintf("%d in %v, %v, %d connections lost, p50 %v, p99 %v", r.Requests(), r.Took.Round(time.Millisecond), r.Statuses, r.Errors,
		r.Latency(0.5).Round(10*time.Microsecond), r.Latency(0.99).Round(10*time.Microsecond))
}

// Run sends the requests. want is what the body of a 200 has to be.
func (f *Flood) Run(ctx context.Context, want string) *Result {
	total := &Result{Statuses: make(map[int]int)}
	began := time.Now()
	var mu sync.Mutex // guards total
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range f.Connections {
		all.Go(func() {
			pause(ctx, f.Pause*time.Duration(i)/time.Duration(f.Connections))
			one := f.connection(ctx, &next, want)
			mu.Lock()
			defer mu.Unlock()
			for status, n := range one.Statuses {
				total.Statuses[status] += n
			}
			total.Errors += one.Errors
			total.Impatient += one.Impatient
			total.Wrong += one.Wrong
			total.latencies = append(total.latencies, one.latencies...)
		})
	}
	all.Wait()
	total.Took = time.Since(began)
	slices.Sort(total.latencies)
	return total
}

// connection sends one request after the other, and dials anew where it has to.
func (f *Flood) connection(ctx context.Context, next *atomic.Int64, want string) *Result {
	r := &Result{Statuses: make(map[int]int)}
	var conn net.Conn
	var in *bufio.Reader
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for ctx.Err() == nil {
		n := int(next.Add(1)) - 1
		if f.Requests > 0 && n >= f.Requests {
			return r
		}
		if conn == nil {
			var err error
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", f.Address); err != nil {
				r.Errors++
				conn = nil
				pause(ctx, 10*time.Millisecond)
				continue
			}
			in = bufio.NewReaderSize(conn, 1024)
		}
		if !r.exchange(conn, in, f.Request(n), want) {
			_ = conn.Close()
			conn = nil
			if ctx.Err() == nil {
				r.Errors++
			}
		}
		pause(ctx, f.Pause)
	}
	return r
}

// exchange sends a request and counts its answer. It reports whether the connection
// can be used again.
func (r *Result) exchange(conn net.Conn, in *bufio.Reader, request, want string) bool {
	began := time.Now()
	_ = conn.SetDeadline(began.Add(time.Minute))
	if _, err := io.WriteString(conn, request); err != nil {
		return false
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return false
	}
	r.Statuses[resp.StatusCode]++
	switch {
	case resp.StatusCode == http.StatusOK:
		r.latencies = append(r.latencies, time.Since(began))
		if !bytes.Equal(body, []byte(want)) {
			r.Wrong++
		}
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "":
		r.Impatient++
	}
	return !resp.Close
}

func pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
