package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// crowd are callers who ask again and again while something breaks: most have a
// credential of their own, one a wrong one, and one none.
type crowd struct {
	t       testing.TB
	g       *harness.Gateway
	up      *harness.Upstream
	clients []*http.Client
	quit    chan struct{}
	ended   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	answers map[int]int
	broken  []string        // what must not be
	may     map[int]bool    // statuses that are nobody's fault
	ends    map[string]bool // whose credentials end, and who may be refused then
	lost    []error         // no answer
	slowest time.Duration   // of all answers
}

// member is a caller: whose user stands in the path that it asks for.
type member struct {
	name   string
	header string // with its credential
	good   bool
}

// sessionOf is a caller with the session of a user.
func sessionOf(n int) member {
	return member{name: fmt.Sprintf("user-%d", n), header: fmt.Sprintf("Cookie: sid=s%d", n), good: true}
}

// gap is how long a caller waits between two requests.
const gap = 40 * time.Millisecond

// startCrowd lets members ask; two more have no right to.
func startCrowd(t testing.TB, g *harness.Gateway, up *harness.Upstream, members ...member) *crowd {
	t.Helper()
	c := &crowd{t: t, g: g, up: up, quit: make(chan struct{}), answers: make(map[int]int), ends: make(map[string]bool), may: make(map[int]bool)}
	members = append(members, member{name: "liar", header: "Cookie: sid=never-given"}, member{name: "nobody"})
	for _, m := range members {
		client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second, CheckRedirect: harness.Client.CheckRedirect}
		c.clients = append(c.clients, client)
		c.ended.Go(func() { c.ask(client, m) })
	}
	return c
}

func (c *crowd) ask(client *http.Client, m member) {
	ticker := time.NewTicker(gap)
	defer ticker.Stop()
	for {
		began := time.Now()
		status, retry, err := c.once(client, m)
		c.note(m, status, retry, time.Since(began), err)
		select {
		case <-c.quit:
			client.CloseIdleConnections()
			return
		case <-ticker.C:
		}
	}
}

// once asks, with a forged header.
func (c *crowd) once(client *http.Client, m member) (status int, retry string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.g.URL+"/"+m.name, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Remote-User", "admin")
	if name, value, ok := strings.Cut(m.header, ": "); ok {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), err
}

func (c *crowd) note(m member, status int, retry string, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lost = append(c.lost, err)
		return
	}
	c.slowest = max(c.slowest, took)
	fine := status == http.StatusServiceUnavailable && retry != ""
	fine = fine || status == http.StatusUnauthorized && c.ends[m.name]
	fine = fine || c.may[status]
	if m.good {
		c.answers[status]++
		fine = fine || status == http.StatusOK
	} else {
		fine = fine || status == http.StatusUnauthorized
	}
	if !fine {
		c.broken = append(c.broken, fmt.Sprintf("%s: %d, Retry-After %q", m.name, status, retry))
	}
}

// mayAnswer allows a status.
func (c *crowd) mayAnswer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.may[status] = true
}

// mayEnd says that a caller's credential will end, before it does.
func (c *crowd) mayEnd(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends[name] = true
}

// get asks as one of the crowd, and returns the status.
func (c *crowd) get(n int) int {
	c.t.Helper()
	m := sessionOf(n)
	status, retry, err := c.once(harness.Client, m)
	require.NoError(c.t, err)
	c.note(m, status, retry, 0, nil)
	return status
}

// count is how often good callers have had an answer so far.
func (c *crowd) count(status int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[status]
}

// String says what good callers were answered so far.
func (c *crowd) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%v, lost %v, wrong %v", c.answers, c.lost, c.broken)
}

// awaits waits until good callers get an answer that they have not had since.
func (c *crowd) awaits(status int, within time.Duration) {
	c.t.Helper()
	before := c.count(status)
	harness.Eventually(c.t, within, func() bool { return c.count(status) > before }, "nobody gets %d: %v", status, c)
}

// awaitsOnly waits until all good callers get one answer and no other, and returns
// how long it took until then. That it stays so, it looks at for a while longer.
func (c *crowd) awaitsOnly(status int, within time.Duration) time.Duration {
	c.t.Helper()
	began := time.Now()
	var other, same int
	changed := began
	harness.Eventually(c.t, within+3*time.Second, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		others := 0
		for s, n := range c.answers {
			if s != status {
				others += n
			}
		}
		if others != other || c.answers[status] == 0 {
			other, same, changed = others, c.answers[status], time.Now()
		}
		return c.answers[status] > same+len(c.clients) && time.Since(changed) > 5*gap
	}, "not only %d: %v", status, c)
	return changed.Sub(began)
}

// stop ends the crowd and judges all that came of it. An answer may have been lost
// only where the test says so.
func (c *crowd) stop() {
	c.t.Helper()
	close(c.quit)
	c.ended.Wait()
	assert.Empty(c.t, c.broken, "answers that must not be")
	good := c.answers[http.StatusOK]
	judge(c.t, c.up.Taken(), good, good+len(c.lost))
	c.t.Logf("answers to good callers: %v; slowest %v; lost %d", c.answers, c.slowest, len(c.lost))
	for _, line := range []string{"panic", `"status":500`, `"status": 500`} {
		assert.Empty(c.t, c.g.Log.Lines(line))
	}
}

// recovers wants all good callers to be let through again, and says when they were.
func (c *crowd) recovers(within time.Duration) {
	c.t.Helper()
	c.t.Logf("recovers within %v", c.awaitsOnly(http.StatusOK, within))
}

// end stops a crowd of which each has had answers all the time, and wants the log to
// tell of so many outages and not many more.
func (c *crowd) end(outages int) {
	c.t.Helper()
	c.stop()
	c.lossless()
	told(c.t, c.g, outages)
}

// lossless wants that no request was left without an answer.
func (c *crowd) lossless() {
	c.t.Helper()
	assert.Empty(c.t, c.lost)
}

// judge wants each request that reached the upstream to say once who is calling, and
// that to be who called; and between least and most of them.
func judge(t testing.TB, requests []string, least, most int) {
	t.Helper()
	assert.GreaterOrEqual(t, len(requests), least, "what was answered 200 was there")
	assert.LessOrEqual(t, len(requests), most, "nothing else was")
	for _, request := range requests {
		path, _, _ := strings.Cut(strings.TrimPrefix(request, "GET /"), " ")
		if users := harness.HeaderOf(request, "Remote-User"); !slices.Equal(users, []string{path}) {
			require.Failf(t, "wrong identity", "%q got through as %q", path, users)
		}
	}
}
