// Command bench loads the built Caddy with each kind of credential and without
// any, in turn, and prints throughput, latency and CPU per request as ratios
// to plain Caddy in the same round. These are measurements, not tests: machines
// are noisy, so ratios and medians count.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each case is loaded")
	slice := flag.Duration("slice", 2*time.Second, "how long each case is loaded in a round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *rounds, *slice)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// benchCase is one site of the gateway, and what is sent to it.
type benchCase struct {
	name   string
	path   string
	header string // of a good credential; empty: none
	bad    string // of one that must be refused
	script string // for wrk, which sends other headers each time; empty: none

	requests []float64 // a second, by round
	cpu      []float64 // microseconds of the gateway a request, by round
	p50, p99 []float64 // milliseconds
}

// site holds all cases, each under its path.
const site = `{
	admin %[2]s
	auto_https off
	edge_auth {
		store redis redis://%[3]s/0
	}
}
http://%[1]s {
	handle /plain {
		reverse_proxy %[4]s
	}
	handle /token {
		edge_auth {
			token
		}
		reverse_proxy %[4]s
	}
	handle /session {
		edge_auth {
			session
		}
		reverse_proxy %[4]s
	}
	handle /jwt-eddsa {
		edge_auth {
			jwt {
				key EdDSA %[6]s
			}
		}
		reverse_proxy %[4]s
	}
	handle /jwt-hs256 {
		edge_auth {
			jwt {
				key HS256 %[5]s
			}
		}
		reverse_proxy %[4]s
	}
	handle /basic {
		edge_auth {
			basic
		}
		reverse_proxy %[4]s
	}
	handle /off {
		edge_auth off
		reverse_proxy %[4]s
	}
}
`

func run(ctx context.Context, rounds int, slice time.Duration) error {
	dir, err := os.MkdirTemp("", "edge-auth-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	upstream, err := startUpstream()
	if err != nil {
		return err
	}
	defer upstream.Close()
	addr, admin, redisAddr := freeAddr(), freeAddr(), freeAddr()
	_, redisPort, _ := net.SplitHostPort(redisAddr)
	stopRedis, _, err := start(dir, "redis-server", "--port", redisPort, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	if err != nil {
		return err
	}
	defer stopRedis()
	hs256Key := rand.Text() + rand.Text() // 52 characters: HS256 wants 32 bytes at least
	config := filepath.Join(dir, "Caddyfile")
	edKey := filepath.Join(dir, "eddsa.pem")
	ed, err := edDSA(edKey)
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, site, addr, admin, redisAddr, upstream.Addr, hs256Key, edKey), 0o600); err != nil {
		return err
	}
	stopCaddy, pid, err := start(dir, os.Getenv("EDGE_AUTH_CADDY"), "run", "--config", config, "--adapter", "caddyfile")
	if err != nil {
		return err
	}
	defer stopCaddy()
	for _, address := range []string{redisAddr, addr, admin} {
		if err := waitFor(ctx, address); err != nil {
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			return fmt.Errorf("%w\n%s", err, said)
		}
	}
	cases, err := makeCases(ctx, "http://"+admin+"/edge_auth")
	if err != nil {
		return err
	}
	for _, signer := range []jwtSigner{ed, hs256(hs256Key)} {
		more, err := jwtCases(signer, dir)
		if err != nil {
			return err
		}
		cases = append(cases, more...)
	}
	for _, c := range cases {
		if err := c.check("http://" + addr); err != nil {
			return err
		}
	}
	for range rounds {
		for _, c := range cases {
			if err := c.load(ctx, "http://"+addr, pid, slice); err != nil {
				return err
			}
		}
	}
	return report(os.Stdout, cases)
}

// makeCases makes a user and a credential of each kind.
func makeCases(ctx context.Context, api string) ([]*benchCase, error) {
	const password = "correct horse battery"
	secrets := make(map[string]string)
	for _, call := range []struct{ path, body, member string }{
		{"/users", `{"id":"alice","password":"` + password + `","groups":["staff"]}`, "id"},
		{"/tokens", `{"user":"alice","ttl":"1h"}`, "token"},
		{"/sessions", `{"user":"alice","lifetime":"1h"}`, "session"},
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+call.path, strings.NewReader(call.body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		var answer map[string]any
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("POST %s: %s: %v", call.path, resp.Status, answer)
		}
		secrets[call.member], _ = answer[call.member].(string)
	}
	basic, err := http.NewRequestWithContext(ctx, http.MethodGet, api, http.NoBody)
	if err != nil {
		return nil, err
	}
	basic.SetBasicAuth("alice", password)
	return []*benchCase{
		{name: "plain reverse_proxy", path: "/plain"},
		{name: "edge_auth off (strips only)", path: "/off"},
		{name: "token, Redis each time", path: "/token", header: "Authorization: Token " + secrets["token"], bad: "Authorization: Token x"},
		{name: "session, Redis each time", path: "/session", header: "Cookie: __Host-edge_auth=" + secrets["session"], bad: "Cookie: __Host-edge_auth=x"},
		{name: "basic, users in Redis", path: "/basic", header: "Authorization: " + basic.Header.Get("Authorization"), bad: "Authorization: Basic eDp4"},
	}, nil
}

// jwtCases are one token sent again and again, which is remembered, and a new
// one each time.
func jwtCases(signer jwtSigner, dir string) ([]*benchCase, error) {
	script, err := signer.rotating(dir, "alice")
	if err != nil {
		return nil, err
	}
	path, good := "/jwt-"+strings.ToLower(signer.alg), "Authorization: Bearer "+signer.token("alice", 0)
	return []*benchCase{
		{name: "jwt " + signer.alg + ", seen before", path: path, header: good, bad: good + "x"},
		{name: "jwt " + signer.alg + ", each new", path: path, header: good, bad: good + "x", script: script},
	}, nil
}

// check makes sure that a case does what it is to be measured for.
func (c *benchCase) check(base string) error {
	for _, try := range []struct {
		header string
		status int
		user   string
	}{{c.header, http.StatusOK, "alice"}, {c.bad, http.StatusUnauthorized, ""}} {
		if try.header == "" && try.status != http.StatusOK {
			continue
		}
		req, err := http.NewRequest(http.MethodGet, base+c.path, http.NoBody)
		if err != nil {
			return err
		}
		if name, value, ok := strings.Cut(try.header, ": "); ok {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != try.status || c.header != "" && try.status == http.StatusOK && string(body) != try.user {
			return fmt.Errorf("%s: %s %s", c.name, resp.Status, body)
		}
	}
	return nil
}

// load lets wrk ask for a slice of time.
func (c *benchCase) load(ctx context.Context, base string, pid int, slice time.Duration) error {
	args := []string{"-t1", "-c32", "-d" + strconv.Itoa(max(1, int(slice.Seconds()))) + "s", "--latency"}
	switch {
	case c.script != "":
		args = append(args, "-s", c.script)
	case c.header != "":
		args = append(args, "-H", c.header)
	}
	before, err := cpuOf(pid)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "wrk", append(args, base+c.path)...).Output()
	if err != nil {
		return fmt.Errorf("wrk: %w", err)
	}
	after, err := cpuOf(pid)
	if err != nil {
		return err
	}
	r, err := parseWrk(string(out))
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.requests = append(c.requests, r.perSecond)
	c.p50, c.p99 = append(c.p50, r.p50), append(c.p99, r.p99)
	c.cpu = append(c.cpu, (after-before).Seconds()*1e6/r.requests)
	return nil
}

// wrkResult is what wrk measured; times in milliseconds.
type wrkResult struct{ requests, perSecond, p50, p99 float64 }

func parseWrk(out string) (wrkResult, error) {
	var r wrkResult
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case strings.Contains(line, "Non-2xx"):
			return r, errors.New("not all requests were answered 200")
		case len(fields) == 2 && (fields[0] == "50%" || fields[0] == "99%"):
			d, err := time.ParseDuration(fields[1])
			if err != nil {
				return r, err
			}
			if fields[0] == "50%" {
				r.p50 = d.Seconds() * 1e3
			} else {
				r.p99 = d.Seconds() * 1e3
			}
		case len(fields) > 2 && fields[1] == "requests" && fields[2] == "in":
			r.requests, _ = strconv.ParseFloat(fields[0], 64)
		case len(fields) == 2 && fields[0] == "Requests/sec:":
			r.perSecond, _ = strconv.ParseFloat(fields[1], 64)
		}
	}
	if r.requests == 0 || r.perSecond == 0 {
		return r, fmt.Errorf("wrk printed no figures:\n%s", out)
	}
	return r, nil
}

// cpuOf returns the CPU time that a process has used.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err1, err2) // in USER_HZ
}

// report prints medians; ratios are taken round by round, against the first case.
func report(to io.Writer, cases []*benchCase) error {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| case\t| requests/s\t| of plain\t| CPU µs a request\t| of plain\t| p50 ms\t| p99 ms\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, c := range cases {
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.0f %%\t| %.0f\t| %.2f\t| %.2f\t| %.2f\t|\n", c.name,
			median(c.requests), 100*median(ratios(c.requests, cases[0].requests)),
			median(c.cpu), median(ratios(c.cpu, cases[0].cpu)), median(c.p50), median(c.p99))
	}
	return w.Flush()
}

func ratios(a, b []float64) []float64 {
	list := make([]float64, len(a))
	for i := range a {
		list[i] = a[i] / b[i]
	}
	return list
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// startUpstream answers with the user it was told.
func startUpstream() (*http.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Addr: l.Addr().String(), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Remote-User"))
		}),
	}
	go func() { _ = server.Serve(l) }() // ends with Close
	return server, nil
}

// start runs a program, whose output goes into a log in dir, and returns what
// ends it.
func start(dir, name string, args ...string) (func(), int, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer log.Close() // the program has its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}, cmd.Process.Pid, nil
}

func waitFor(ctx context.Context, address string) error {
	var dialer net.Dialer
	deadline, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := dialer.DialContext(deadline, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-deadline.Done():
			return fmt.Errorf("%s does not listen: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}
