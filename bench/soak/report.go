package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// lateShare is which part of all answers may be a 503 that no fault explains: a busy
// machine may hold up a call of Redis for longer than its timeout.
const lateShare = 1e-4

// progress prints a line.
func (w *world) progress(at time.Duration) {
	sum := w.tally.total()
	fmt.Printf("%s: %s in, %d through, %d refused, %d times 503 in faults, %d without, %d wrong\n", time.Now().Format(time.TimeOnly),
		at.Round(time.Second), sum[through], sum[refused], sum[unavailable], sum[late], sum[wrong])
}

// report prints all, and returns an error if anything was wrong.
func (w *world) report(samples []sample, took time.Duration, out string) error {
	if out != "" {
		text, err := json.MarshalIndent(samples, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Clean(out), text, 0o600); err != nil {
			return err
		}
	}
	sum := w.tally.total()
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	fmt.Printf("\nSoak of %s\n\n", took.Round(time.Second))
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "requests")
	for _, name := range outcomeNames {
		fmt.Fprint(t, "\t", name)
	}
	fmt.Fprintln(t)
	for _, kind := range slices.Sorted(maps.Keys(w.tally.kinds)) {
		row(t, kind, *w.tally.kinds[kind])
	}
	row(t, "all", sum)
	fmt.Fprintln(t, "\nmeanwhile\tcount")
	for _, what := range slices.Sorted(maps.Keys(w.tally.did)) {
		fmt.Fprintf(t, "%s\t%d\n", what, w.tally.did[what])
	}
	fmt.Fprintf(t, "requests sent again: no answer\t%d\n", w.tally.retried.Load())
	fmt.Fprintf(t, "fetches of keys\t%d\n", w.idp.asked.Load())
	fmt.Fprintln(t, "\ntimes\tcount\tmedian\t99 %\tmost")
	times(t, "still accepted after a revocation", &w.revocations)
	times(t, "reload", &w.reloadTimes)
	times(t, "end at SIGTERM, 200 requests of 2 s under way", &w.stopTimes)
	w.recoveries(t)
	fmt.Fprintf(t, "\ncommands to Redis for %d requests of one new session at once, at most\t%d\n", rushed, w.mostReads.Load())
	w.growth(t, samples)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, text := range slices.Concat(w.tally.wrongs, w.tally.lates) {
		fmt.Println(text)
	}
	if sum[wrong] > 0 || float64(sum[late]) > lateShare*float64(sum[through]) {
		return fmt.Errorf("%d answers were wrong, %d were 503 without a fault", sum[wrong], sum[late])
	}
	fmt.Println("No answer was wrong.")
	return nil
}

func row(t *tabwriter.Writer, name string, counts [outcomes]int64) {
	fmt.Fprint(t, name)
	for _, n := range counts {
		fmt.Fprint(t, "\t", n)
	}
	fmt.Fprintln(t)
}

func times(t *tabwriter.Writer, name string, d *durations) {
	fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", name, d.len(), rounded(d.quantile(0.5)), rounded(d.quantile(0.99)), rounded(d.quantile(1)))
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// recoveries tells for each kind of fault when the last 503 came after its end.
func (w *world) recoveries(t *tabwriter.Writer) {
	after := map[string]*durations{}
	for _, x := range w.outages.list() {
		if after[x.name] == nil {
			after[x.name] = &durations{}
		}
		after[x.name].add(x.after)
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		times(t, "last 503 after: "+name, after[name])
	}
}

// growth tells what each gateway took up, first and last, and by how much that grows.
func (w *world) growth(t *tabwriter.Writer, samples []sample) {
	figures := []struct {
		name string
		unit float64
		of   func(sample) float64
	}{
		{"RSS, MiB", 1 << 20, func(s sample) float64 { return s.RSS }},
		{"heap, MiB", 1 << 20, func(s sample) float64 { return s.Heap }},
		{"goroutines", 1, func(s sample) float64 { return s.Goroutines }},
		{"open files", 1, func(s sample) float64 { return s.Files }},
	}
	fmt.Fprintln(t, "\nin quiet\tfirst\tlast\tmost\tgrowth an hour, second half\tthe same under load")
	for _, g := range w.gateways {
		var quiet, loaded []sample
		for _, s := range samples {
			switch {
			case s.Gateway != g.name:
			case s.Quiet:
				quiet = append(quiet, s)
			default:
				loaded = append(loaded, s)
			}
		}
		if len(quiet) == 0 {
			continue
		}
		for _, f := range figures {
			most := 0.0
			for _, s := range quiet {
				most = max(most, f.of(s)/f.unit)
			}
			fmt.Fprintf(t, "%s: %s\t%.1f\t%.1f\t%.1f\t%+.1f\t%+.1f\n", g.name, f.name, f.of(quiet[0])/f.unit, f.of(quiet[len(quiet)-1])/f.unit, most,
				slopeOf(quiet, f.of)/f.unit, slopeOf(loaded, f.of)/f.unit)
		}
	}
}

func slopeOf(samples []sample, of func(sample) float64) float64 {
	half := secondHalf(samples)
	x, y := make([]float64, len(half)), make([]float64, len(half))
	for i, s := range half {
		x[i], y[i] = s.At, of(s)
	}
	return slope(x, y)
}
