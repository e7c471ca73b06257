package edgeauth

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// stateKey is where a request's state stands among Caddy's variables, which
// error routes share with the routes that failed.
const stateKey = "edge_auth"

// state is what all edge_auth handlers that one request meets have in common.
// A request is handled by one goroutine at a time, so it needs no lock.
type state struct {
	// kept are the names that no policy has stripped yet, because of keep_header.
	kept     identity.Names
	stripped bool

	// audited says that the audit log has been told of a wrong credential.
	audited bool

	// who is the identity established last; nil: nobody.
	who *identity.Identity

	// set are the headers that told it to the upstream, by setBy.
	set   []string
	setBy *Policy

	// judged is what the last policy said.
	judged judgement

	// refused is the answer of the policy that refused the request, or would have.
	refused *refusal

	// findings are what authenticators found, so that a later policy with the same
	// authenticator takes it over.
	findings []finding

	// removed are the headers that credentials were taken from, as they came.
	removed []header

	// Room for what nearly every request needs, so that it is allocated once.
	room struct {
		findings [3]finding
		removed  [2]header
		who      identity.Identity
		values   [identity.PresetSize]string

		whoTaken, valuesTaken bool // they are in use
	}
}

// judgement is what a policy said of a request.
type judgement struct {
	policy *Policy
	result
	outcome string
	guarded bool // false where a matcher failed, and nobody was asked
}

// header is a header with its values.
type header struct {
	name   string
	values []string
}

// finding is what one authenticator found in a request.
type finding struct {
	scope      *scope // of the authenticator
	credential authenticators.Credential
	who        *identity.Identity
	err        error

	// cached says that it was known already, and nothing was looked up or verified.
	cached bool
}

// String keeps {http.vars.edge_auth} from showing anything.
func (*state) String() string { return "" }

// stateOf returns the request's state, and makes it at the first call.
func stateOf(r *http.Request) *state {
	if s, ok := caddyhttp.GetVar(r.Context(), stateKey).(*state); ok {
		return s
	}
	s := new(state)
	s.findings, s.removed = s.room.findings[:0], s.room.removed[:0]
	caddyhttp.SetVar(r.Context(), stateKey, s)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(s.placeholder)
	}
	return s
}

// placeholder gives the values of {http.auth.user.*}: of whoever was
// established last, known and empty where there is nobody, so that a config
// that sends one never sends the placeholder's own text.
func (s *state) placeholder(key string) (any, bool) {
	if field, ours := strings.CutPrefix(key, identity.PlaceholderPrefix); ours {
		return identity.Placeholder(s.who, field), true
	}
	if field, ours := strings.CutPrefix(key, judgementPrefix); ours {
		return s.judgement(field), true
	}
	return nil, false
}

// judgementPrefix is what placeholders begin with that say how a request was judged,
// for pages of handle_errors and for logs.
const judgementPrefix = "http.auth.edge_auth."

// judgement gives the value of such a placeholder; empty where nothing is known.
func (s *state) judgement(field string) string {
	switch field {
	case "policy":
		if s.judged.policy != nil {
			return s.judged.policy.name
		}
	case "authenticator":
		if s.judged.by != nil {
			return s.judged.by.name
		}
	case "outcome":
		return s.judged.outcome
	}
	if s.refused == nil {
		return ""
	}
	switch field {
	case "status":
		return strconv.Itoa(s.refused.status)
	case "code":
		return s.refused.Code
	case "detail":
		return s.refused.Detail
	case "request_id":
		return s.refused.requestID
	case "login_url":
		return s.refused.login
	case "user":
		return s.refused.user
	}
	return ""
}

// withdraw takes out what told the upstream who is calling.
func (s *state) withdraw(r *http.Request) {
	for _, name := range s.set {
		delete(r.Header, name)
	}
	s.set, s.setBy, s.who = nil, nil, nil
	forgetOthers(r)
}

// forgetOthers takes back what Caddy's own authentication has set for placeholders of
// the caller: what it says goes before what we say, and may be of somebody else.
func forgetOthers(r *http.Request) {
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.DeleteByPrefix(identity.PlaceholderPrefix)
	}
}

// strip removes the headers that a client may not send: names, but for those
// that keep exempts. It does so once a request, so that what we set ourselves
// stays; a later policy only removes what an earlier one had kept.
func (s *state) strip(r *http.Request, names, keep identity.Names, trailers []string) {
	if !s.stripped {
		s.stripped = true
		s.kept = keep
		identity.Strip(r, func(name string) bool { return names.Has(name) && !keep.Has(name) })
		identity.StripTrailers(r, trailers, names)
		return
	}
	if s.kept.Empty() {
		return
	}
	identity.Strip(r, func(name string) bool {
		return names.Has(name) && s.kept.Has(name) && !keep.Has(name) && !slices.Contains(s.set, name)
	})
}

// withCredentials returns r as the client sent its credentials, for a policy
// that comes after one that took them out.
func (s *state) withCredentials(r *http.Request) *http.Request {
	if len(s.removed) == 0 {
		return r
	}
	restored := *r
	restored.Header = r.Header.Clone()
	for _, h := range s.removed {
		restored.Header[h.name] = h.values
	}
	return &restored
}

// remember keeps a header before a credential is taken out of it.
func (s *state) remember(h http.Header, name string) {
	values := h[name]
	if values == nil || slices.ContainsFunc(s.removed, func(r header) bool { return r.name == name }) {
		return
	}
	s.removed = append(s.removed, header{name, values}) // whoever takes something out makes a new list
}

// removeCookies takes cookies out of the request.
func (s *state) removeCookies(r *http.Request, names []string) {
	s.remember(r.Header, "Cookie")
	authenticators.RemoveCookies(r, names)
}

// found returns what an authenticator has found already; nil if it was not asked.
func (s *state) found(of *scope) *finding {
	for i := range s.findings {
		if *s.findings[i].scope == *of {
			return &s.findings[i]
		}
	}
	return nil
}

// identity returns an empty one that lives as long as the request.
func (s *state) identity() *identity.Identity {
	if s.room.whoTaken {
		return new(identity.Identity)
	}
	s.room.whoTaken = true
	return &s.room.who
}

// values returns room for the values of a preset's headers.
func (s *state) values() *[identity.PresetSize]string {
	if s.room.valuesTaken {
		return new([identity.PresetSize]string)
	}
	s.room.valuesTaken = true
	return &s.room.values
}
