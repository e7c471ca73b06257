package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// inFlight is how many requests are under way at a gateway that is asked to end.
const inFlight = 200

// checkShutdown asks each gateway to end while requests are under way: they must end
// well, and the gateway within its grace_period.
func (w *world) checkShutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, s := range w.sides {
		for _, g := range s.gateways {
			w.checkShutdownOf(ctx, s, g)
		}
	}
}

func (w *world) checkShutdownOf(ctx context.Context, s *side, g *gateway) {
	var all sync.WaitGroup
	var failed atomic.Int64
	alone := &side{world: w, gateways: []*gateway{g}, redis: s.redis, users: s.users} // the others may have ended
	c, err := alone.ownToken(ctx, s.users[0])
	if err != nil {
		w.tally.fail("SIGTERM", "no token to be had: %v", err)
		return
	}
	for range inFlight {
		all.Go(func() {
			q := c.request()
			q.kind, q.path = "under way at SIGTERM", usersOwn+"?pause=2s"
			if g.send(ctx, q) != through {
				failed.Add(1)
			}
		})
	}
	for w.up.inFlight.Load() < inFlight-failed.Load() && w.wait(ctx, 5*time.Millisecond) {
	}
	took := g.stop()
	all.Wait()
	w.stopTimes.add(took)
	if took > 6*time.Second {
		w.tally.fail("SIGTERM", "D35: %s ended after %s; its grace_period is 5s", g.name, took)
	}
	if n := failed.Load(); n > 0 {
		w.tally.fail("SIGTERM", "D35: %s has failed %d of %d requests", g.name, n, inFlight)
	}
}

// writeKey makes the key that the gateways of a side share.
func writeKey(dir string) (string, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "signing.pem")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}
