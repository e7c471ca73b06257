package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// login is a pair of tokens from the issuer, and its successors.
type login struct {
	user, refresh string
	spent         string // the refresh token before, which was used
	access        []*credential
}

const password = "correct horse battery"

type pair struct{ Access, Refresh string }

// logIn obtains a pair; nil where that is not to be had now.
func (s *side) logIn(ctx context.Context) *login {
	g, user := s.any(), s.users[mathrand.IntN(len(s.users))]
	var p pair
	if !s.expect(ctx, "login", g, func() error {
		return g.post(ctx, "/api/token/", map[string]string{"username": user, "password": password}, &p)
	}) {
		return nil
	}
	l := &login{user: user}
	l.take(s, p)
	return l
}

// expect counts what came of a call of the issuer that must succeed, or be 503 in a fault.
func (s *side) expect(ctx context.Context, kind string, g *gateway, call func() error) bool {
	sent := time.Now()
	err := call()
	if ctx.Err() != nil {
		return false
	}
	of := dependency(g.name, storeDep)
	faulty := s.world.outages.during(of, sent, time.Now())
	var status *statusError
	switch {
	case err == nil:
		s.world.tally.ok(kind, through)
		return true
	case errors.As(err, &status) && status.status == http.StatusServiceUnavailable && faulty:
		s.world.tally.ok(kind, unavailable)
		s.world.outages.note(of, sent, time.Now())
	case errors.As(err, &status) && status.status == http.StatusServiceUnavailable:
		s.world.tally.count(g, request{kind: kind}, late, "I6: 503, though nothing is out of order", asked{sent: sent, got: time.Now()})
	case errors.As(err, &status):
		s.world.tally.fail(kind, "I3: %s: %v (faulty: %t)", g.name, err, faulty)
	default:
		s.world.tally.done(kind + " without an answer") // a reload has cut it off
	}
	return false
}

func (l *login) take(s *side, p pair) {
	l.spent, l.refresh = l.refresh, p.Refresh
	if n := len(l.access); n == 0 || l.access[n-1].header[1] != "Bearer "+p.Access {
		c := s.jwtOf("access token", l.user, p.Access, nil)
		l.access = append(l.access, c)
		s.add(c)
	}
	if len(l.access) > 3 {
		s.drop(l.access[0])
		l.access = l.access[1:]
	}
}

func (s *side) add(c *credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = append(s.live, c)
}

// drop takes a credential out of use.
func (s *side) drop(c *credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range s.live {
		if one == c {
			s.live[i] = s.live[len(s.live)-1]
			s.live = s.live[:len(s.live)-1]
			return
		}
	}
}

// retire is drop for what goes on being tried, and refused.
func (s *side) retire(c *credential) {
	s.drop(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, c)
	if len(s.ended) > 400 {
		s.ended = append([]*credential(nil), s.ended[100:]...)
	}
}

// goOn refreshes a login as a client does: whoever got no answer asks again, with the
// same token, for less than the ten seconds that this is no theft. It returns false
// if the login is lost, or can't be known not to be.
func (l *login) goOn(ctx context.Context, s *side) bool {
	began := time.Now()
	for time.Since(began) < 8*time.Second && ctx.Err() == nil {
		g := s.any()
		var p pair
		if s.expect(ctx, "refresh", g, func() error {
			return g.post(ctx, "/api/token/refresh/", map[string]string{"refresh": l.refresh}, &p)
		}) {
			if mathrand.IntN(8) == 0 && !l.sameAgain(ctx, s, p) {
				return false
			}
			l.take(s, p)
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	s.world.tally.done("login given up: no answer to a refresh")
	return false
}

// sameAgain refreshes with the same token at all gateways at once, as tabs do: each must
// get the pair that was given out.
func (l *login) sameAgain(ctx context.Context, s *side, p pair) bool {
	var all sync.WaitGroup
	same := true
	var mu sync.Mutex
	for _, g := range s.gateways {
		all.Go(func() {
			var again pair
			if s.expect(ctx, "refresh by another tab", g, func() error {
				return g.post(ctx, "/api/token/refresh/", map[string]string{"refresh": l.refresh}, &again)
			}) && again != p {
				mu.Lock()
				defer mu.Unlock()
				same = false
				s.world.tally.fail("refresh by another tab", "R: two successors of one token")
			}
		})
	}
	all.Wait()
	return same
}

// logOut ends a login: its owner does, or a thief is found out.
func (l *login) logOut(ctx context.Context, s *side) {
	how := "logout (blacklist)"
	call := func(ctx context.Context, g *gateway) error {
		return g.post(ctx, "/api/token/blacklist/", map[string]string{"refresh": l.refresh}, nil)
	}
	if l.spent != "" && mathrand.IntN(3) == 0 {
		how = "logout (theft found out)"
		call = func(ctx context.Context, g *gateway) error {
			err := g.post(ctx, "/api/token/refresh/", map[string]string{"refresh": l.spent}, nil, "User-Agent", "thief")
			var status *statusError
			switch {
			case err == nil:
				s.world.tally.fail("theft", "R: a used refresh token was taken again, by another client")
				return nil
			case errors.As(err, &status) && status.status == http.StatusUnauthorized:
				return nil
			}
			return err
		}
	}
	var left []*credential
	for _, c := range l.access {
		if time.Until(c.expires) > 0 {
			left = append(left, c)
		}
		s.retire(c)
	}
	s.endAll(ctx, how, left, func(ctx context.Context, g *gateway) error {
		err := call(ctx, g)
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusUnauthorized && strings.Contains(status.body, "token_not_valid") {
			return nil // an earlier try has done it
		}
		return err
	})
	// The login itself has ended too.
	for _, g := range s.gateways {
		err := g.post(ctx, "/api/token/refresh/", map[string]string{"refresh": l.refresh}, nil)
		var status *statusError
		switch {
		case err == nil:
			s.world.tally.fail("refresh of an ended login", "I4: %s has refreshed it after %s was acknowledged", g.name, how)
		case errors.As(err, &status) && status.status == http.StatusUnauthorized:
			s.world.tally.ok("refresh of an ended login", refused)
		case errors.As(err, &status) && status.status != http.StatusServiceUnavailable:
			s.world.tally.fail("refresh of an ended login", "%v", err)
		}
	}
}

// endAll ends credentials by one call, and watches that they are refused.
func (s *side) endAll(ctx context.Context, how string, all []*credential, call func(context.Context, *gateway) error) {
	now := time.Now()
	for _, c := range all {
		c.mu.Lock()
		c.revoking = now
		c.mu.Unlock()
	}
	act := &credential{side: s, revoke: call}
	if act.end(ctx, s.any()) != nil {
		return
	}
	s.world.tally.done(how)
	_, revoked := act.state()
	for _, c := range all {
		c.mu.Lock()
		c.revoked = revoked
		c.mu.Unlock()
		c.watch(ctx, &s.world.revocations)
	}
}

// logins keeps some logins going: they are refreshed, and end.
func (w *world) logins(ctx context.Context, s *side) {
	var all []*login
	for ctx.Err() == nil {
		if !w.wait(ctx, 300*time.Millisecond) {
			return
		}
		w.acting.RLock()
		switch n := mathrand.IntN(10); {
		case len(all) < 8 || n == 0 && len(all) < 20:
			if l := s.logIn(ctx); l != nil {
				all = append(all, l)
			}
		case n == 1:
			i := mathrand.IntN(len(all))
			l := all[i]
			all = append(all[:i], all[i+1:]...)
			l.logOut(ctx, s)
		case n == 2:
			s.browse(ctx)
		case n == 3:
			w.guess(ctx, s)
		default:
			i := mathrand.IntN(len(all))
			if !all[i].goOn(ctx, s) {
				for _, c := range all[i].access {
					s.drop(c)
				}
				all = append(all[:i], all[i+1:]...)
			}
		}
		w.acting.RUnlock()
	}
}

// browse logs in by the login page, and so begins a session.
func (s *side) browse(ctx context.Context) {
	g, user := s.any(), s.users[mathrand.IntN(len(s.users))]
	var header http.Header
	if !s.expect(ctx, "login by page", g, func() (err error) {
		header, err = g.postTo(ctx, "/login/", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password), nil)
		return err
	}) {
		return
	}
	for _, line := range header.Values("Set-Cookie") {
		if cookie, err := http.ParseSetCookie(line); err == nil && cookie.Name == "__Host-edge_auth" {
			s.add(s.sessionOf(user, cookie.Value))
			return
		}
	}
	s.world.tally.fail("login by page", "no session came of it")
}

// guess tries a wrong password, from an address that nobody else has: those who share
// one are kept waiting together.
func (w *world) guess(ctx context.Context, s *side) {
	err := s.any().from(elsewhere()).post(ctx, "/api/token/", map[string]string{"username": "nobody-" + rand.Text()[:6], "password": "wrong guess"}, nil)
	var status *statusError
	switch {
	case err == nil:
		w.tally.fail("wrong password", "I1: a pair of tokens for nobody")
	case errors.As(err, &status) && (status.status == http.StatusUnauthorized || status.status == http.StatusTooManyRequests):
		w.tally.ok("wrong password", refused)
	case errors.As(err, &status) && status.status == http.StatusServiceUnavailable:
		w.tally.ok("wrong password", unavailable)
	case errors.As(err, &status):
		w.tally.fail("wrong password", "%v", err)
	}
}

// elsewhere is another address of this machine.
func elsewhere() net.IP {
	return net.IPv4(127, byte(1+mathrand.IntN(200)), byte(mathrand.IntN(250)), byte(2+mathrand.IntN(250)))
}

// from is the gateway as a client at another address asks it.
func (g *gateway) from(ip net.IP) *gateway {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	there := *g
	there.client = &http.Client{Timeout: g.client.Timeout, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
	return &there
}
