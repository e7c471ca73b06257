// Command bench loads gateways with each kind of credential and without any, in
// turn, and prints throughput, latency, CPU and memory, as ratios to the same gateway
// without authentication in the same round. These are measurements, not tests:
// machines are noisy, so ratios and medians count.
//
// It runs the gateways and what they ask on one core, and wrk, the upstream and Redis
// on another, so that the figures are of the gateways alone.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each case is loaded")
	slice := flag.Duration("slice", 2*time.Second, "how long each case is loaded in a round")
	only := flag.String("only", "", "a regular expression for the cases that are loaded; their baselines always are")
	out := flag.String("json", "", "a file for the figures, as JSON")
	profiles := flag.String("profiles", "", "a folder for profiles of each case of Edge Auth, which takes another round")
	growth := flag.Bool("growth", false, "measure growth with the number of sessions, policies and issuers instead")
	flooded := flag.Int("flood", 0, "send a gateway so many wrong credentials of each kind instead")
	connections := flag.Int("connections", 10_000, "over so many connections")
	rate := flag.Float64("rate", 0, "so many a second in all; 0: as many as are answered")
	serve := flag.String("serve", "", "be the service that asks Redis, at this address")
	redis := flag.String("redis", "", "the Redis that it asks")
	upstream := flag.String("upstream", "", "be the upstream, at this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch {
	case *serve != "":
		err = serveAuth(ctx, *serve, *redis)
	case *upstream != "":
		err = serveUpstream(ctx, *upstream)
	case *flooded > 0:
		err = floods(ctx, *connections, *flooded, *rate)
	default:
		err = run(ctx, *rounds, *slice, regexp.MustCompile(*only), *growth, *out, *profiles)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, slice time.Duration, only *regexp.Regexp, growth bool, out, profiles string) error {
	dir, err := os.MkdirTemp("", "edge-auth-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m := &machine{dir: dir}
	defer m.stop()
	if err := m.startCommon(ctx); err != nil {
		return err
	}
	make := peers
	if growth {
		make = growing
	}
	gateways, err := make(ctx, m)
	if err != nil {
		return err
	}
	for _, g := range gateways {
		kept := g.cases[:0]
		for _, c := range g.cases {
			if only.MatchString(g.name + ": " + c.name) {
				kept = append(kept, c)
			}
		}
		g.cases = withBaselines(kept)
		for _, c := range g.cases {
			if err := c.check("http://" + g.address); err != nil {
				return fmt.Errorf("%s: %w", g.name, err)
			}
		}
	}
	for range rounds {
		for _, g := range gateways {
			for _, c := range g.cases {
				if err := g.load(ctx, c, slice); err != nil {
					return fmt.Errorf("%s: %w", g.name, err)
				}
			}
		}
	}
	rows := figures(gateways)
	for _, g := range gateways {
		for _, c := range g.cases {
			if profiles == "" || g.admin == "" {
				continue
			}
			if err := g.profile(ctx, c, 5*time.Second, profiles); err != nil {
				return fmt.Errorf("%s: profile: %w", g.name, err)
			}
		}
	}
	if out != "" {
		data, err := json.MarshalIndent(rows, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Clean(out), data, 0o600); err != nil {
			return err
		}
	}
	return report(os.Stdout, rows)
}
