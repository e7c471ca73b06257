package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/internal/flood"
)

const flooded = `{
	admin ADMIN
	auto_https off
	edge_auth {
		store redis redis://REDIS/0
	}
	log default {
		output discard
	}
}
http://ADDR {
	edge_auth {
		token
		jwt {
			key HS256 "a secret of at least 32 characters, for HS256"
		}
		jwt
		session
		basic
	}
	reverse_proxy UPSTREAM
}
`

// target is a gateway that is flooded, and the good credentials of one who goes on.
type target struct {
	address, admin string
	pid            int
	good           []string // header lines, all of alice
}

// floods sends a gateway wrong credentials of each kind, every one of them another, and
// prints what that does to it, and to clients with good ones.
func floods(ctx context.Context, connections, requests int, rate float64) error {
	var pause time.Duration
	if rate > 0 {
		pause = time.Duration(float64(connections) / rate * float64(time.Second))
	}
	dir, err := os.MkdirTemp("", "edge-auth-flood")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m := &machine{dir: dir}
	defer m.stop()
	if err := m.startCommon(ctx); err != nil {
		return err
	}
	t, err := m.startTarget(ctx)
	if err != nil {
		return err
	}
	idle := t.goodClients(ctx, func() { wait(ctx, 5*time.Second) })
	fmt.Printf("good clients alone: %v\n", idle)
	for _, kind := range flood.Kinds { // what so many connections take
		f := flood.Flood{Address: t.address, Connections: connections, Requests: connections, Pause: pause, Request: flood.Wrong(t.address, kind)}
		f.Run(ctx, "")
	}
	fmt.Println("| wrong | connections | requests | a second | 401 | 503 | lost | good: 200 | p50 ms | p99 ms | MB before | most | after | goroutines |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, kind := range flood.Kinds {
		if err := t.flood(ctx, kind, connections, requests, pause); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) flood(ctx context.Context, kind string, connections, requests int, pause time.Duration) error {
	_, before, err := usage([]int{t.pid})
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	most := make(chan [2]float64, 1)
	go func() { most <- t.watch(watching) }()
	var wrong *flood.Result
	good := t.goodClients(ctx, func() {
		of := flood.Wrong(t.address, kind)
		f := flood.Flood{Address: t.address, Connections: connections, Requests: requests, Pause: pause, Request: func(n int) string { return of(10_000_000 + n) }}
		wrong = f.Run(ctx, "")
	})
	stop()
	peak := <-most
	_, after, err := usage([]int{t.pid})
	if err != nil {
		return err
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	fmt.Printf("| %s | %d | %d | %.0f | %.1f %% | %.1f %% | %d | %.2f %% | %.1f | %.1f | %.0f | %.0f | %.0f | %.0f |\n", kind, connections, wrong.Requests(),
		float64(wrong.Requests())/wrong.Took.Seconds(), 100*wrong.Share(http.StatusUnauthorized), 100*wrong.Share(http.StatusServiceUnavailable), wrong.Errors,
		100*good.Share(http.StatusOK), ms(good.Latency(0.5)), ms(good.Latency(0.99)), before, peak[0], after, peak[1])
	if wrong.Statuses[http.StatusOK]+good.Wrong+good.Statuses[http.StatusUnauthorized] > 0 {
		return fmt.Errorf("somebody got the wrong answer: wrong ones %v; good ones %v, %d of whom were taken for others", wrong, good, good.Wrong)
	}
	return nil
}

// watch returns the most memory, in MB, and goroutines that there are until the
// context ends.
func (t *target) watch(ctx context.Context) (most [2]float64) {
	for wait(ctx, 500*time.Millisecond) {
		if _, memory, err := usage([]int{t.pid}); err == nil {
			most[0] = max(most[0], memory)
		}
		most[1] = max(most[1], t.goroutines(ctx))
	}
	return most
}

func (t *target) goroutines(ctx context.Context) float64 {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/metrics", http.NoBody)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return n
		}
	}
	return 0
}

// goodClients ask at an even rate for as long as something else takes.
func (t *target) goodClients(ctx context.Context, while func()) *flood.Result {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan *flood.Result, 1)
	go func() {
		f := flood.Flood{
			Address: t.address, Connections: 10, Pause: 10 * time.Millisecond,
			Request: func(n int) string { return flood.Get(t.address, t.good[n%len(t.good)]) },
		}
		ended <- f.Run(ctx, "alice")
	}()
	while()
	cancel()
	return <-ended
}

// startTarget runs the gateway.
func (m *machine) startTarget(ctx context.Context) (*target, error) {
	t := &target{address: freeAddr(), admin: freeAddr()}
	config, err := m.write("flooded", strings.NewReplacer("ADMIN", t.admin, "ADDR", t.address, "REDIS", m.redis, "UPSTREAM", m.upstream).Replace(flooded))
	if err != nil {
		return nil, err
	}
	if t.pid, err = m.start(ctx, gatewayCore, t.address, os.Getenv("EDGE_AUTH_CADDY"), "run", "--config", config, "--adapter", "caddyfile"); err != nil {
		return nil, err
	}
	edgeAuth := func(stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, os.Getenv("EDGE_AUTH_CADDY"), append([]string{"edge-auth", "--address", t.admin}, args...)...) //nolint:gosec // ours
		cmd.Stdin = strings.NewReader(stdin)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("edge-auth %s: %w: %s", args[0], err, errs.String())
		}
		return strings.TrimSpace(string(out)), nil
	}
	for try := 0; ; try++ { // it listens a moment before its admin API answers
		_, err := edgeAuth("correct horse battery\n", "user", "add", "alice")
		if err == nil {
			break
		}
		if try == 20 || !wait(ctx, time.Second) {
			return nil, err
		}
	}
	for kind, header := range map[string]string{"token": "Authorization: Token ", "jwt": "Authorization: Bearer ", "session": "Cookie: __Host-edge_auth="} {
		args := []string{kind, "create", "alice"}
		if kind == "jwt" {
			args = append(args, "--lifetime", "8h") // longer than any flood
		}
		credential, err := edgeAuth("", args...)
		if err != nil {
			return nil, err
		}
		t.good = append(t.good, header+credential)
	}
	return t, nil
}

// wait reports whether the context is still going on after a while.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
