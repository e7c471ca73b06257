package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// perKind is how many credentials of each kind are in use at a side.
const perKind = 40

// populate makes users and credentials, before the load.
func (s *side) populate(ctx context.Context) error {
	for range 8 {
		user, err := s.newUser(ctx, "user")
		if err != nil {
			return err
		}
		s.users = append(s.users, user)
	}
	for kind := range makers {
		for range perKind {
			c, err := s.make(ctx, kind)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			if c != nil {
				s.add(c)
			}
		}
	}
	return nil
}

// newUser adds a user whose name, address and groups follow from the login name.
func (s *side) newUser(ctx context.Context, prefix string) (string, error) {
	user := prefix + strings.ToLower(rand.Text()[:8])
	return user, s.any().manage(ctx, http.MethodPost, "/users", map[string]any{
		"id": user, "password": password, "name": "Name " + user, "email": user + "@example.com", "groups": []string{"all", "of-" + user},
	}, nil)
}

// make makes a credential of a kind for one of the users; nil where the side has none.
func (s *side) make(ctx context.Context, kind string) (*credential, error) {
	if s.redis == nil && (strings.HasPrefix(kind, "django") || strings.HasPrefix(kind, "express") || kind == "apikey") {
		return nil, nil
	}
	c, err := makers[kind](s, ctx, s.users[mathrand.IntN(len(s.users))])
	if err != nil {
		return nil, err
	}
	return c, nil
}

// garden ends credentials and makes others in their place.
func (w *world) garden(ctx context.Context, s *side) {
	for w.wait(ctx, 400*time.Millisecond) {
		w.acting.RLock()
		s.tend(ctx)
		w.acting.RUnlock()
	}
}

func (s *side) tend(ctx context.Context) {
	s.mu.Lock()
	count := map[string]int{}
	var over []*credential
	for _, c := range s.live {
		if !c.expires.IsZero() && time.Since(c.expires) > 10*time.Second {
			over = append(over, c)
			continue
		}
		count[c.kind]++
	}
	s.mu.Unlock()
	for _, c := range over {
		s.retire(c)
	}
	if c := s.pick(); c != nil && c.revoke != nil {
		s.retire(c)
		short, cancel := context.WithTimeout(ctx, 15*time.Second)
		if c.end(short, s.any()) == nil {
			s.world.tally.done("revoked: " + c.kind)
			c.watch(ctx, &s.world.revocations)
		}
		cancel()
	}
	for kind := range makers {
		if count[kind] >= perKind {
			continue
		}
		if c, err := s.make(ctx, kind); err == nil && c != nil {
			s.add(c)
		}
	}
}

// expel adds users, and ends all that they have: by a logout everywhere, or by
// disabling them.
func (w *world) expel(ctx context.Context, s *side) {
	for w.wait(ctx, 15*time.Second) {
		w.acting.RLock()
		if user, err := s.newUser(ctx, "guest"); err == nil {
			s.expelOne(ctx, user)
		}
		w.acting.RUnlock()
	}
}

func (s *side) expelOne(ctx context.Context, user string) {
	var all []*credential
	for _, kind := range []string{"own session", "own jwt", "opaque token"} {
		if c, err := makers[kind](s, ctx, user); err == nil {
			c.revoke = nil // not one by one
			s.add(c)
			all = append(all, c)
		}
	}
	if !s.world.wait(ctx, 2*time.Second) {
		return
	}
	how, path := "user logged out everywhere", "/users/"+user+"/logout"
	if mathrand.IntN(2) == 0 {
		how, path = "user disabled", "/users/"+user+"/disable"
	}
	s.endAll(ctx, how, all, func(ctx context.Context, g *gateway) error {
		return g.manage(ctx, http.MethodPost, path, nil, nil)
	})
	for _, c := range all {
		s.retire(c)
	}
}

// rush sends many requests of one new session at once, and counts what Redis is asked.
func (w *world) rush(ctx context.Context, s *side) {
	for w.wait(ctx, 20*time.Second) {
		w.acting.RLock()
		s.rushOnce(ctx)
		w.acting.RUnlock()
	}
}

// rushed is how many requests come at once.
const rushed = 100

func (s *side) rushOnce(ctx context.Context) {
	c, err := s.expressSession(ctx, s.users[0])
	if err != nil {
		return
	}
	_, id, _ := strings.Cut(c.header[1], "%3A")
	id, _, _ = strings.Cut(id, ".")
	for _, g := range s.gateways {
		hot := &hotKey{name: []byte("sess:" + id)}
		g.way.hot.Store(hot)
		began := time.Now()
		var all sync.WaitGroup
		for range rushed {
			all.Go(func() {
				q := c.request()
				q.kind = "hot session"
				g.send(ctx, q)
			})
		}
		all.Wait()
		g.way.hot.Store(nil)
		if s.world.outages.during(dependency(g.name, storeDep), began, time.Now()) || s.world.unsettled(began) {
			continue
		}
		// One read is two commands. Those may find the session changed meanwhile,
		// which it was a moment ago, and so be repeated.
		s.world.mostReads.Store(max(s.world.mostReads.Load(), hot.asked.Load()))
		s.world.tally.done("hot session")
		if n := hot.asked.Load(); n > 20 {
			s.world.tally.fail("hot session", "D42: %d commands for %d requests at once", n, rushed)
		}
	}
	s.retire(c)
	short, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if c.end(short, s.any()) == nil {
		c.watch(ctx, &s.world.revocations)
	}
}
