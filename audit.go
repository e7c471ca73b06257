package edgeauth

import (
	"errors"
	"net/http"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
)

// Audit is the log of what happens to credentials.
func (a *App) Audit() *audit.Log { return a.audit }

// auditRejection tells of a wrong credential; of nothing else that a request is
// refused for. It does so once a request: where error routes have a policy too,
// that one finds the same credential.
func (p *Policy) auditRejection(r *http.Request, err error) {
	rejected, ok := errors.AsType[*authenticators.RejectedError](err)
	if !ok {
		return
	}
	s := stateOf(r)
	if s.audited {
		return
	}
	s.audited = true
	event := audit.Event{Name: audit.CredentialRejected, Policy: p.name, Code: rejected.Code, Reason: rejected.Cause}
	for i := range p.members {
		if found := s.found(&p.members[i].scope); found != nil && found.err != nil && !errors.Is(found.err, authenticators.ErrNoCredential) {
			event.Authenticator = p.members[i].name
			break
		}
	}
	p.app.audit.Write(r, event)
}

// audited is an answer of the admin API along with what it did to credentials.
type audited struct {
	answer any
	events []audit.Event
}

// did says what a request to the admin API has done.
func did(answer any, events ...audit.Event) *audited { return &audited{answer, events} }

// auditAdmin tells of what a request to the admin API did, or may have done: what
// was begun and could not be ended is not known to have had no effect.
func (a *App) auditAdmin(r *http.Request, answer any, err error) {
	done, ok := answer.(*audited)
	if !ok || err != nil && statusOf(err) != http.StatusServiceUnavailable {
		return
	}
	for _, event := range done.events {
		if err != nil {
			event.Outcome = audit.Unavailable
		}
		a.audit.Write(r, event)
	}
}
