package edgeauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// steps tells what a policy found of a request that it has judged: r is as the client
// sent it.
func (p *Policy) steps(r *http.Request, s *state, res *result, err error) []step {
	var list []step
	add := func(what string, m *member, outcome, detail string) {
		one := step{Step: what, Policy: p.name, Outcome: outcome, Detail: clipped(detail)}
		if m != nil {
			one.Authenticator = m.name
		}
		list = append(list, one)
	}
	if method, ok := errors.AsType[*methodError](err); ok {
		add("method", nil, "not allowed", method.Error())
		return list
	}
	for i := range p.members {
		m := &p.members[i]
		found := s.found(&m.scope)
		if found == nil {
			add("authenticator", m, "not asked", "an earlier one has decided")
			continue
		}
		outcome, detail := m.tell(found)
		add("authenticator", m, outcome, detail)
	}
	if res.who == nil {
		if hint := p.hint(r); hint != "" && (err == nil || errors.Is(err, authenticators.ErrNoCredential)) {
			add("hint", nil, "", hint)
		}
		return list
	}
	forbidden, _ := errors.AsType[*authenticators.ForbiddenError](err)
	if forbidden != nil && res.unmet == nil {
		add("csrf", res.by, "not met", forbidden.Error())
		return list
	}
	for i := range p.Require {
		rule := &p.Require[i]
		if rule == res.unmet {
			add("require", nil, "not met", rule.String()+"; "+rule.lacking(res))
			return list
		}
		add("require", nil, "met", rule.String())
	}
	return list
}

// tell says in words what an authenticator found.
func (m *member) tell(f *finding) (outcome, detail string) {
	where := ""
	if f.credential.Name != "" && f.credential.Value != "" {
		where = shownCredential(m, f.credential)
	}
	cached := ""
	if f.cached {
		cached = "; known from before"
	}
	var rejected *authenticators.RejectedError
	switch {
	case f.err == nil:
		return outcomeAccepted, fmt.Sprintf("%s: it is %s%s", where, f.who.ID, cached)
	case errors.Is(f.err, authenticators.ErrAmbiguous):
		return outcomeAbsent, f.err.Error()
	case errors.Is(f.err, authenticators.ErrNoCredential) && where != "":
		return outcomeAbsent, where + ": it names nothing that is live; it is unknown, has expired or was ended" + cached
	case errors.Is(f.err, authenticators.ErrNoCredential):
		return outcomeAbsent, "nothing of its kind in the request"
	case errors.As(f.err, &rejected):
		return outcomeRejected, strings.TrimPrefix(where+": "+rejected.Error(), ": ") + cached
	}
	return outcomeUnavailable, strings.TrimPrefix(where+": "+f.err.Error(), ": ")
}

// hint names what the request does carry, where nobody found a credential in it.
func (p *Policy) hint(r *http.Request) string {
	var hints []string
	for _, value := range r.Header["Authorization"] {
		if scheme := schemeOf(value); scheme != "" {
			hints = append(hints, "Authorization has the scheme '"+scheme+"', which no authenticator of the policy reads")
		} else {
			hints = append(hints, "Authorization has no scheme before its value")
		}
	}
	names := cookieNames(r.Header["Cookie"])
	if len(names) > 0 {
		hint := "cookies that were sent: " + strings.Join(names, ", ")
		read := slices.DeleteFunc(slices.Clone(p.cookies), func(name string) bool { return slices.Contains(loopCookies, name) })
		if len(read) > 0 {
			hint += "; those that the policy reads as its own: " + strings.Join(read, ", ")
		}
		hints = append(hints, hint)
	}
	return strings.Join(hints, "; ")
}

// lacking says what the caller has instead of what the rule asks for.
func (q *Requirement) lacking(res *result) string {
	who := res.who
	list := func(what string, values []string) string {
		if len(values) == 0 {
			return who.ID + " has no " + what
		}
		return who.ID + " has the " + what + " " + strings.Join(values, ", ")
	}
	switch {
	case len(q.User) > 0:
		return "the caller is " + who.ID
	case len(q.Group) > 0:
		return list("groups", who.Groups)
	case len(q.Scope) > 0:
		return list("scopes", who.Scopes)
	case len(q.Method) > 0:
		return "the credential is of the kind " + who.Method
	case len(q.AMR) > 0:
		return list("amr", claimTexts(who, "amr"))
	case q.MaxAge != 0 && who.AuthTime.IsZero():
		return "when " + who.ID + " logged in is not known"
	case q.MaxAge != 0:
		return fmt.Sprintf("%s logged in at %s", who.ID, who.AuthTime.UTC().Format(time.RFC3339))
	case q.Claim != "":
		return list("values", claimTexts(who, q.Claim))
	}
	return "it is false for " + who.ID + ", or can't be evaluated"
}

// explainRefusal is the explanation of a request that h has just refused.
func (h *Handler) explainRefusal(r *http.Request, s *state, answer *refusal, err error) *explanation {
	x := &explanation{
		RequestID: answer.requestID, Time: time.Now().UTC(), Request: shownRequest(r, originalURL(r)),
		Steps: []step{{Step: "policy", Policy: h.Policy.name, Outcome: "guards"}}, Outcome: outcomeRefused,
	}
	if s.judged.guarded {
		x.Steps = append(x.Steps, h.Policy.steps(s.withCredentials(r), s, &s.judged.result, err)...)
	}
	x.answer(answer, err)
	return x
}

// answer notes what the client is told, and the cause.
func (x *explanation) answer(a *refusal, err error) {
	x.Status, x.Code, x.Detail, x.Cause = a.status, a.Code, a.Detail, clipped(err.Error())
	if login, _, ok := strings.Cut(a.location, "next="); ok {
		x.Location = clipped(login + "next=…") // the address asked for may hold a token
	}
}
