package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// request is what a caller sends, and what is known of it beforehand.
type request struct {
	kind    string
	path    string
	headers [][2]string
	good    bool
	caller  identity
	of      *credential
	needs   []string
}

// slack is added to the bound on accepting what was revoked: the machine is busy.
const (
	maxStaleness = 2 * time.Second
	slack        = time.Second
)

// send sends a request, and judges the answer.
func (g *gateway) send(ctx context.Context, q request) outcome {
	nonce := rand.Text()
	if !q.good {
		nonce = badNonce + nonce
	}
	sent := time.Now()
	a, err := g.once(ctx, q, nonce)
	if err != nil && ctx.Err() == nil {
		// A reload may reset a connection that was queued and not yet taken.
		g.world.tally.retried.Add(1)
		a, err = g.once(ctx, q, nonce)
	}
	if ctx.Err() != nil {
		return refused // the soak ends: nobody counts this
	}
	known := asked{sent: sent, got: time.Now(), nonce: nonce, good: q.good, caller: q.caller}
	if q.of != nil {
		known.expires, known.bound = q.of.expires, g.bound()
		known.revoking, known.revoked = q.of.state()
	}
	for _, need := range q.needs {
		known.faulty = known.faulty || g.world.outages.during(dependency(g.name, need), sent, known.got)
	}
	found, why := judge(known, a)
	if err != nil {
		found, why = wrong, "D34: no answer: "+err.Error()
	}
	if found == unavailable {
		for _, need := range q.needs {
			g.world.outages.note(dependency(g.name, need), sent, known.got)
		}
	}
	g.world.tally.count(g, q, found, why, known)
	return found
}

// bound is how long this gateway may still accept what was revoked.
func (g *gateway) bound() time.Duration {
	if g.way == nil {
		return slack
	}
	return maxStaleness + slack
}

func (g *gateway) once(ctx context.Context, q request, nonce string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.addr+q.path, nil)
	if err != nil {
		return answer{}, err
	}
	for _, h := range q.headers {
		req.Header[h[0]] = append(req.Header[h[0]], h[1]) // as it is spelt
	}
	req.Header.Set("X-Nonce", nonce)
	resp, err := g.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return read(resp.StatusCode, string(body)), nil
}

// read reads an answer, which is the upstream's or the gateway's.
func read(status int, body string) answer {
	a := answer{status: status, body: body}
	var e echo
	if json.Unmarshal([]byte(body), &e) == nil {
		a.nonce, a.told, a.spoilt = e.Nonce, e.Told, e.Spoilt
	}
	return a
}

// post sends JSON to an endpoint of the issuer.
func (g *gateway) post(ctx context.Context, path string, in, out any, headers ...string) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, err = g.postTo(ctx, path, string(text), out, headers...)
	return err
}

func (g *gateway) postTo(ctx context.Context, path, text string, out any, headers ...string) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.addr+path, strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{resp.StatusCode, string(body)}
	}
	if out != nil {
		return resp.Header, json.Unmarshal(body, out)
	}
	return resp.Header, nil
}

// request makes a request of a credential. Some write identity headers themselves.
func (c *credential) request() request {
	return request{kind: c.kind, path: c.path(), headers: [][2]string{c.header}, good: true, caller: c.caller, of: c, needs: c.needs}
}

// pick takes a credential that is good, at random.
func (s *side) pick() *credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) == 0 {
		return nil
	}
	return s.live[mathrand.IntN(len(s.live))]
}

func (s *side) pickEnded() *credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) == 0 {
		return nil
	}
	return s.ended[mathrand.IntN(len(s.ended))]
}

// next is what some caller sends next.
func (s *side) next() request {
	var q request
	c := s.pick()
	switch n := mathrand.IntN(100); {
	case n < 20:
		f := s.forge()
		q = request{kind: "bad: " + f.kind, path: f.path, headers: f.headers, needs: []string{storeDep}}
		switch { // a kid may be a new one: who can't ask, can't know
		case f.kind == unknownKid:
			q.needs = []string{keysDep}
		case strings.HasPrefix(f.kind, "altered jwt"):
			q.needs = append(q.needs, keysDep)
		}
	case n < 28:
		if ended := s.pickEnded(); ended != nil {
			q = ended.request()
			q.kind = "ended " + q.kind
			if strings.HasPrefix(q.path, "/optional/") && q.headers[0][0] == "Cookie" {
				q.path = usersOwn // an ended session is nobody, whom optional lets through
			}
		}
	case n < 34:
		q = request{kind: "anonymous, optional", path: "/optional/", good: true, caller: identity{}}
	case n < 40:
		user := s.world.basicUsers[mathrand.IntN(len(s.world.basicUsers))]
		q = request{kind: "basic", path: "/basic/", headers: [][2]string{{"Authorization", user.header}}, good: true, caller: app(user.name)}
	}
	if q.path == "" {
		if c == nil {
			return request{kind: "bad: nothing at all", path: usersOwn}
		}
		q = c.request()
		if strings.HasPrefix(q.path, "/optional/") && q.headers[0][0] == "Cookie" {
			q.path = usersOwn
		}
	}
	if mathrand.IntN(6) == 0 {
		q.headers = append(slices.Clip(q.headers), claimed()...)
	}
	return q
}

// work sends requests whenever the pacer says so.
func (w *world) work(ctx context.Context, pace <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace:
		}
		w.working.Add(1)
		s := w.sides[0]
		if mathrand.IntN(4) == 0 {
			s = w.sides[1]
		}
		s.any().send(ctx, s.next())
		w.working.Add(-1)
	}
}

// pacer lets so many requests a second begin, and none while it is quiet.
func (w *world) pacer(ctx context.Context, rate int) <-chan struct{} {
	pace := make(chan struct{})
	go func() {
		const tick = 10 * time.Millisecond
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		var due float64
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if w.quiet.Load() {
				continue
			}
			for due += float64(rate) * tick.Seconds(); due >= 1; due-- {
				select {
				case pace <- struct{}{}:
				case <-ctx.Done():
					return
				default: // all are waiting for answers
				}
			}
		}
	}()
	return pace
}

// watchRevocation asks all gateways of a side for a credential that has just been
// revoked, and finds out how long it was still accepted.
func (c *credential) watch(ctx context.Context, seen *durations) {
	_, revoked := c.state()
	for _, g := range c.side.gateways {
		go func() {
			var last atomic.Int64
			for time.Since(revoked) < maxStaleness+2*slack && ctx.Err() == nil {
				began := time.Since(revoked)
				q := c.request()
				q.kind = "just ended " + q.kind
				if strings.HasPrefix(q.path, "/optional/") {
					q.path = usersOwn
				}
				if g.send(ctx, q) == through {
					last.Store(int64(began))
				}
				pause := 3 * time.Millisecond
				if began > 300*time.Millisecond {
					pause = 200 * time.Millisecond
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
			seen.add(time.Duration(last.Load()))
		}()
	}
}
