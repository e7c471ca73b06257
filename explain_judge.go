package edgeauth

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// policy takes the request through an edge_auth, by the very functions that judge
// requests.
func (x *explainer) policy(h *Handler, place string) bool {
	if x.looking != nil {
		guarded, err := h.guards(x.r)
		x.seen = h == x.looking && guarded && err == nil
		return x.seen
	}
	x.takeQuery(h.Policy)
	s := x.strip(h)
	if h.Off {
		x.note("policy", "off", "'edge_auth off' asks nobody"+at(place))
		return false
	}
	guarded, err := h.guards(x.r)
	switch {
	case err != nil:
		s.judged = judgement{policy: h.Policy, outcome: outcomeUnavailable}
		x.policyStep(h, "can't tell", "its matcher fails"+at(place))
		return x.refused(h, s, err)
	case !guarded:
		x.policyStep(h, "does not guard", "its matcher does not match"+at(place))
		return false
	}
	x.policyStep(h, "guards", strings.TrimPrefix(place, " > "))
	if h.Policy.AllowPreflight && isPreflight(x.r) {
		h.Policy.removeCredentials(x.r, s)
		x.policyStep(h, "passes", "a CORS preflight, which allow_preflight lets through")
		return false
	}
	res, err := h.assess(x.r, s)
	x.Steps = append(x.Steps, h.Policy.steps(s.withCredentials(x.r), s, &res, err)...)
	if err != nil && x.refused(h, s, err) {
		return true
	}
	if err := h.Policy.forward(x.r, s, res.who); err != nil {
		s.withdraw(x.r)
		if x.refused(h, s, err) {
			return true
		}
	}
	x.told(s)
	return false
}

// strip strips the request, and tells of what that took.
func (x *explainer) strip(h *Handler) *state {
	before := x.r.Header.Clone()
	s := h.app.begin(x.r, h.Policy)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		switch after, kept := x.r.Header[name]; {
		case name == "Connection" && !slices.Equal(before[name], after):
			x.note("strip", "", "what Connection named of the headers that tell who is calling: it would have taken ours out")
		case !kept:
			x.note("strip", "", clipped(name)+": no client may send it")
		}
	}
	return s
}

func (x *explainer) policyStep(h *Handler, outcome, detail string) {
	x.Steps = append(x.Steps, step{Step: "policy", Policy: h.Policy.name, Outcome: outcome, Detail: clipped(detail)})
}

// takeQuery takes credentials out of the address, for which a real request starts
// over.
func (x *explainer) takeQuery(p *Policy) {
	if p == nil || len(p.query) == 0 {
		return
	}
	ctx, rest, found := authenticators.TakeFromQuery(x.r.Context(), x.r.URL.RawQuery, p.query)
	if !found {
		return
	}
	x.note("query", "", "a credential stands in the address")
	if p.ReportOnly {
		x.r = p.readQueryCredential(x.r, x.r.URL.RawQuery)
		return
	}
	x.r = x.r.WithContext(ctx)
	x.r.URL.RawQuery = rest
}

// refused notes a refusal, and reports whether it is one: not where the policy only
// reports.
func (x *explainer) refused(h *Handler, s *state, err error) bool {
	answer := h.answerTo(x.r, s, err)
	if h.Policy.ReportOnly {
		x.policyStep(h, outcomeReported, fmt.Sprintf("%d %s: %v; report_only lets it pass all the same", answer.status, answer.Code, err))
		return false
	}
	x.answer(answer, err)
	x.Outcome, x.Headers, x.Removed = outcomeRefused, nil, nil
	return true
}

// told notes what an upstream is told, and what it gets no more.
func (x *explainer) told(s *state) {
	x.Headers, x.Removed = nil, nil
	whatever := func(string) bool { return true }
	for _, name := range s.set {
		for _, value := range x.r.Header[name] {
			if !s.setBy.reveals(name, whatever) {
				value = masked
			}
			x.Headers = append(x.Headers, shownHeader{name, clipped(fmt.Sprint(withoutJWTs(value)))})
		}
	}
	left := cookieNames(x.r.Header["Cookie"])
	for _, header := range s.removed {
		if header.name != "Cookie" {
			x.Removed = append(x.Removed, header.name)
			continue
		}
		for _, name := range cookieNames(header.values) {
			if !slices.Contains(left, name) {
				x.Removed = append(x.Removed, "cookie "+clipped(name))
			}
		}
	}
	who := "nobody, so without an identity"
	if s.who != nil {
		who = s.who.ID
	}
	x.Steps = append(x.Steps, step{Step: "forward", Policy: s.judged.policy.name, Outcome: outcomePassed, Detail: "as " + who})
}
