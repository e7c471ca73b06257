package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sample is what a gateway takes up at a moment.
type sample struct {
	At         float64 `json:"at"` // seconds since the load began
	Gateway    string  `json:"gateway"`
	Quiet      bool    `json:"quiet"` // there was no load
	RSS        float64 `json:"rss"`   // bytes
	Heap       float64 `json:"heap"`  // bytes, just after a collection
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
}

var (
	heapAlloc  = regexp.MustCompile(`# HeapAlloc = (\d+)`)
	goroutines = regexp.MustCompile(`goroutine profile: total (\d+)`)
)

func (g *gateway) sample(ctx context.Context, began time.Time, quiet bool) (sample, error) {
	s := sample{Gateway: g.name, Quiet: quiet}
	heap, err := g.ask(ctx, http.MethodGet, "/debug/pprof/heap?gc=1&debug=1", "", "", nil)
	if err != nil {
		return s, err
	}
	if s.Heap, err = number(heapAlloc, heap); err != nil {
		return s, err
	}
	running, err := g.ask(ctx, http.MethodGet, "/debug/pprof/goroutine?debug=1", "", "", nil)
	if err != nil {
		return s, err
	}
	if s.Goroutines, err = number(goroutines, running); err != nil {
		return s, err
	}
	proc := fmt.Sprintf("/proc/%d", g.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/statm")
	if err != nil {
		return s, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(status))[1], 64)
	if err != nil {
		return s, err
	}
	s.RSS = pages * float64(os.Getpagesize())
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return s, err
	}
	s.Files = float64(len(files))
	s.At = time.Since(began).Seconds()
	if quiet { // for `go tool pprof -diff_base`, where something grows
		err = os.WriteFile(filepath.Join(g.dir, fmt.Sprintf("heap-%.0fs", s.At)), []byte(heap), 0o600)
	}
	return s, err
}

func number(pattern *regexp.Regexp, text string) (float64, error) {
	found := pattern.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no %s in a profile", pattern)
	}
	return strconv.ParseFloat(found[1], 64)
}

// slope fits a line by least squares, and returns by how much y grows in an hour;
// x is in seconds.
func slope(x, y []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	var mx, my float64
	for i := range x {
		mx += x[i] / float64(len(x))
		my += y[i] / float64(len(x))
	}
	var up, down float64
	for i := range x {
		up += (x[i] - mx) * (y[i] - my)
		down += (x[i] - mx) * (x[i] - mx)
	}
	if down == 0 {
		return 0
	}
	return up / down * 3600
}

// secondHalf leaves out what was sampled before the middle: caches fill up then.
func secondHalf(samples []sample) []sample {
	if len(samples) == 0 {
		return nil
	}
	middle := samples[len(samples)-1].At / 2
	var kept []sample
	for _, s := range samples {
		if s.At >= middle {
			kept = append(kept, s)
		}
	}
	return kept
}
