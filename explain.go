package edgeauth

import (
	"sync"
	"time"
)

// explanation says step by step what becomes of a request, and why. It holds no
// credential.
type explanation struct {
	RequestID string    `json:"request_id,omitempty"`
	Time      time.Time `json:"time"`
	Request   shown     `json:"request"`

	// Server is the name of Caddy's server that takes the request; empty for one that
	// was explained from the log.
	Server string `json:"server,omitempty"`

	Steps []step `json:"steps"`

	// Outcome is passed, refused, "would refuse" (report_only), answered (by a handler
	// of ours, before any upstream), or nowhere, if no route takes the request.
	Outcome string `json:"outcome"`

	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"` // what the client is told
	Cause  string `json:"cause,omitempty"`  // why, which the client is not told

	// Location is where a browser is sent to log in.
	Location string `json:"location,omitempty"`

	// Upstream is where the request goes, Headers what it is told of the caller
	// there, and Removed which headers and cookies it gets no more.
	Upstream string        `json:"upstream,omitempty"`
	Headers  []shownHeader `json:"headers,omitempty"`
	Removed  []string      `json:"removed,omitempty"`
	NotRun   []string      `json:"not_run,omitempty"` // handlers that were passed over
}

// The outcomes of a request as a whole.
const (
	outcomePassed   = "passed"
	outcomeRefused  = "refused"
	outcomeReported = "would refuse"
	outcomeAnswered = "answered"
	outcomeNowhere  = "nowhere"
)

// step is one thing that is done with a request.
type step struct {
	// Step is strip, policy, query, authenticator, hint, csrf, require, forward or
	// handler.
	Step          string `json:"step"`
	Policy        string `json:"policy,omitempty"`
	Authenticator string `json:"authenticator,omitempty"`
	Outcome       string `json:"outcome,omitempty"`
	Detail        string `json:"detail,omitempty"`
}

// explanations are those of the last refusals, so that an id from a log or from a
// user's screen tells why.
type explanations struct {
	mu   sync.Mutex // guards what follows
	last [keptExplanations]*explanation
	next int
}

// keptExplanations is how many refusals are remembered; each takes about a kilobyte.
const keptExplanations = 1000

// Destruct has nothing to close; it lets them live in the pool, across reloads.
func (*explanations) Destruct() error { return nil }

func (e *explanations) add(x *explanation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last[e.next] = x
	e.next = (e.next + 1) % len(e.last)
}

// find returns the explanation of the refusal with this id; nil if it is not
// remembered.
func (e *explanations) find(id string) *explanation {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.last {
		if x != nil && x.RequestID == id {
			return x
		}
	}
	return nil
}
