package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gateway is a program under load, with what it asks.
type gateway struct {
	name    string
	address string
	pids    []int  // the gateway's own first
	redis   int    // the process of Redis
	admin   string // of a Caddy; empty: none
	cases   []*benchCase
}

// withBaselines puts before the cases what they are compared with: the same requests
// without authentication.
func withBaselines(cases []*benchCase) []*benchCase {
	bases := make(map[string]*benchCase)
	var all []*benchCase
	for _, c := range cases {
		key := c.script
		if key == "" {
			key = c.header
		}
		if bases[key] == nil {
			kind, _, _ := strings.Cut(c.name, ",")
			bases[key] = &benchCase{name: "plain, as for " + kind, path: "/plain", header: c.header, script: c.script}
			all = append(all, bases[key])
		}
		c.of = bases[key]
		all = append(all, c)
	}
	return all
}

// benchCase is one site of a gateway, and what is sent to it.
type benchCase struct {
	name   string
	path   string
	header string     // of a good credential; empty: none
	bad    string     // of one that must be refused
	user   string     // whom the upstream must be told of; empty: nobody
	script string     // for wrk, which sends other headers each time; empty: none
	of     *benchCase // the same requests without authentication; nil: it is that itself

	requests []float64 // a second, by round
	cpu      []float64 // microseconds of the gateway, and of what it asks, a request, by round
	redis    []float64 // microseconds of Redis a request, by round
	p50, p99 []float64 // milliseconds
	memory   []float64 // MB resident, after the round
}

// check makes sure that a case does what it is to be measured for.
func (c *benchCase) check(base string) error {
	for _, try := range []struct {
		header string
		status int
		user   string
	}{{c.header, http.StatusOK, c.user}, {c.bad, http.StatusUnauthorized, ""}} {
		if c.bad == "" && try.status != http.StatusOK {
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
		if resp.StatusCode != try.status || c.user != "" && try.status == http.StatusOK && string(body) != try.user {
			return fmt.Errorf("%s: %s %s", c.name, resp.Status, body)
		}
	}
	return nil
}

// load lets wrk ask for a slice of time.
func (g *gateway) load(ctx context.Context, c *benchCase, slice time.Duration) error {
	args := []string{"-c", loadCore, "wrk", "-t1", "-c32", "-d" + strconv.Itoa(max(1, int(slice.Seconds()))) + "s", "--latency"}
	switch {
	case c.script != "":
		args = append(args, "-s", c.script)
	case c.header != "":
		args = append(args, "-H", c.header)
	}
	before, _, err := usage(g.pids)
	if err != nil {
		return err
	}
	redisBefore, err := cpuOf(g.redis)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "taskset", append(args, "http://"+g.address+c.path)...).Output()
	if err != nil {
		return fmt.Errorf("wrk: %w", err)
	}
	after, memory, err := usage(g.pids)
	if err != nil {
		return err
	}
	redisAfter, err := cpuOf(g.redis)
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
	c.redis = append(c.redis, (redisAfter-redisBefore).Seconds()*1e6/r.requests)
	c.memory = append(c.memory, memory)
	return nil
}

// profile takes profiles of a Caddy that is loaded for a slice of time.
func (g *gateway) profile(ctx context.Context, c *benchCase, slice time.Duration, dir string) error {
	failed := make(chan error, 1)
	go func() {
		failed <- g.fetch(ctx, fmt.Sprintf("profile?seconds=%d", max(1, int(slice.Seconds())-1)), c, "cpu", dir)
	}()
	if err := g.load(ctx, c, slice); err != nil {
		return err
	}
	return errors.Join(<-failed, g.fetch(ctx, "allocs", c, "allocs", dir), g.fetch(ctx, "mutex", c, "mutex", dir))
}

// fetch writes what a Caddy's profiler says into a file.
func (g *gateway) fetch(ctx context.Context, what string, c *benchCase, kind, dir string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/debug/pprof/"+what, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	name := strings.NewReplacer(" ", "-", ",", "").Replace(g.name + "-" + c.name + "." + kind)
	return os.WriteFile(filepath.Join(dir, name), data, 0o600)
}

// withChildren are processes, and those that they have started.
func withChildren(pids []int) []int {
	all := slices.Clone(pids)
	for _, pid := range pids {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for field := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// usage returns the CPU time that processes have used, and the memory that they have
// now, in MB.
func usage(pids []int) (cpu time.Duration, memory float64, err error) {
	for _, pid := range withChildren(pids) {
		one, err := cpuOf(pid)
		if err != nil {
			return 0, 0, err
		}
		cpu += one
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, 0, err
		}
		pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
		if err != nil {
			return 0, 0, err
		}
		memory += pages * float64(os.Getpagesize()) / 1e6
	}
	return cpu, memory, nil
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
