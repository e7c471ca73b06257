package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// figure is what was measured of a case: medians of all rounds.
type figure struct {
	Gateway  string  `json:"gateway"`
	Case     string  `json:"case"`
	Requests float64 `json:"requests"` // a second
	Share    float64 `json:"share"`    // of the same gateway without authentication
	CPU      float64 `json:"cpu"`      // microseconds a request
	Added    float64 `json:"added"`    // microseconds a request, over no authentication
	Redis    float64 `json:"redis"`    // microseconds of Redis a request
	P50      float64 `json:"p50"`      // milliseconds
	P99      float64 `json:"p99"`      // milliseconds
	P99Times float64 `json:"p99_times"`
	Memory   float64 `json:"memory"` // MB resident, at most
}

// figures reckons ratios round by round, against the same requests to the same
// gateway without authentication.
func figures(gateways []*gateway) []figure {
	var list []figure
	for _, g := range gateways {
		for _, c := range g.cases {
			base := cmp.Or(c.of, c)
			list = append(list, figure{
				Gateway: g.name, Case: c.name, Requests: median(c.requests), Share: median(ratios(c.requests, base.requests)),
				CPU: median(c.cpu), Added: median(differences(c.cpu, base.cpu)), Redis: median(c.redis), P50: median(c.p50), P99: median(c.p99),
				P99Times: median(ratios(c.p99, base.p99)), Memory: slices.Max(c.memory),
			})
		}
	}
	return list
}

// report prints figures as a table in Markdown.
func report(to io.Writer, list []figure) error {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| gateway\t| case\t| requests/s\t| of its own plain\t| CPU µs a request\t| added\t| of Redis\t| p50 ms\t| p99 ms\t| of plain\t| MB\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, f := range list {
		fmt.Fprintf(w, "| %s\t| %s\t| %.0f\t| %.0f %%\t| %.0f\t| %+.0f\t| %.0f\t| %.2f\t| %.2f\t| %.2f\t| %.0f\t|\n",
			f.Gateway, f.Case, f.Requests, 100*f.Share, f.CPU, f.Added, f.Redis, f.P50, f.P99, f.P99Times, f.Memory)
	}
	return w.Flush()
}

func differences(a, b []float64) []float64 {
	list := make([]float64, len(a))
	for i := range a {
		list[i] = a[i] - b[i]
	}
	return list
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
