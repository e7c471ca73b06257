package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// What a gateway keeps at most, in entries of 512 bytes, as its config and the limits
// have it: findings of good credentials, and refusals of bad ones.
const (
	findingsOfRedis    = 20_000
	findingsOfEmbedded = 100_000
	refusals           = 10_000

	// entrySize is what an entry takes at least.
	entrySize = 200
)

// fill fills each gateway's caches, which are bounded: what grows afterwards is no
// cache on its way to its bound.
func (w *world) fill(ctx context.Context) error {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for _, s := range w.sides {
		for _, g := range s.gateways {
			findings := findingsOfRedis
			if g.way == nil {
				findings = findingsOfEmbedded
			}
			for range findings * 512 / entrySize {
				group.Go(func() error { return g.keep(ctx, s.world.idp.filler()) })
			}
			for range refusals * 512 / entrySize {
				group.Go(func() error {
					return g.keep(ctx, request{path: usersOwn, headers: [][2]string{{"Authorization", "Token " + rand.Text() + rand.Text()}}})
				})
			}
		}
	}
	err := group.Wait()
	fmt.Printf("caches are full after %s\n", time.Since(began).Round(time.Second))
	return err
}

// filler is a good credential that nobody uses again.
func (p *idp) filler() request {
	user := "filler-" + strings.ToLower(rand.Text())
	token := p.token("HS256", "", claims(user, time.Now().Add(3*time.Hour)))
	return request{path: "/secret/", headers: [][2]string{{"Authorization", "Bearer " + token}}, good: true, caller: whole(user)}
}

// keep sends a request so that what is found of it is kept.
func (g *gateway) keep(ctx context.Context, q request) error {
	q.kind = "to fill the caches"
	g.send(ctx, q)
	return ctx.Err()
}
