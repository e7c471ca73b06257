package edgeauth

import (
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
	before := slices.Sorted(maps.Keys(x.r.Header))
	s := h.app.begin(x.r, h.Policy)
	for _, name := range before {
		if _, kept := x.r.Header[name]; !kept {
			x.note("strip", "", name+": no client may send it")
		}
	}
	if h.Off {
		x.note("policy", "off", "'edge_auth off' asks nobody"+at(place))
		return false
	}
	guarded, err := h.guards(x.r)
	switch {
	case err != nil:
		s.judged = judgement{policy: h.Policy, outcome: outcomeUnavailable}
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
	if err == nil {
		if err = h.Policy.forward(x.r, s, res.who); err != nil {
			s.withdraw(x.r)
		}
	}
	if err != nil && !h.Policy.ReportOnly {
		return x.refused(h, s, err)
	}
	if err != nil {
		x.policyStep(h, "would refuse", "report_only lets it pass all the same: "+err.Error())
		if err := h.Policy.forward(x.r, s, res.who); err != nil {
			s.withdraw(x.r)
		}
	}
	x.told(s)
	return false
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
	if found {
		x.r = x.r.WithContext(ctx)
		x.r.URL.RawQuery = rest
		x.note("query", "", "a credential was taken out of the address")
	}
}

func (x *explainer) refused(h *Handler, s *state, err error) bool {
	answer := h.answerTo(x.r, s, err)
	x.answer(answer, err)
	x.Outcome = outcomeRefused
	return true
}

// told notes what an upstream is told, and what it gets no more.
func (x *explainer) told(s *state) {
	x.Headers, x.Removed = nil, nil
	for _, name := range s.set {
		for _, value := range x.r.Header[name] {
			if a := s.judged.policy.Assertion; a != nil && name == a.canonical {
				value = "a JWT for " + strings.Join(a.Audience, ", ") // which whoever has it could use
			}
			x.Headers = append(x.Headers, shownHeader{name, clipped(value)})
		}
	}
	for _, header := range s.removed {
		if header.name != "Cookie" {
			x.Removed = append(x.Removed, header.name)
			continue
		}
		left := cookieNames(strings.Join(x.r.Header["Cookie"], "; "))
		for _, name := range cookieNames(strings.Join(header.values, "; ")) {
			if !slices.Contains(left, name) {
				x.Removed = append(x.Removed, "cookie "+strings.TrimSuffix(name, "=…"))
			}
		}
	}
	who := "nobody, so without an identity"
	if s.who != nil {
		who = s.who.ID
	}
	x.Steps = append(x.Steps, step{Step: "forward", Policy: s.judged.policy.name, Outcome: outcomePassed, Detail: "as " + who})
}
