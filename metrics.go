package edgeauth

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// requests counts checked requests. It is made once and lives across reloads;
// each config registers it anew. Labels come from the config only.
var requests = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy",
	Subsystem: "edge_auth",
	Name:      "requests_total",
	Help:      "Checked requests by policy, the authenticator that decided, and outcome.",
}, []string{"policy", "authenticator", "outcome"})

// reportedRefusals counts those whom a policy with report_only would have refused.
var reportedRefusals = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy",
	Subsystem: "edge_auth",
	Name:      "report_only_refusals_total",
	Help:      "Requests that passed only because of report_only, by policy, the authenticator that decided, and outcome.",
}, []string{"policy", "authenticator", "outcome"})

// The outcomes as they are counted. The last is a credential that was accepted
// and may not do this.
const (
	outcomeAccepted    = "accepted"
	outcomeAbsent      = "absent"
	outcomeRejected    = "rejected"
	outcomeUnavailable = "unavailable"
	outcomeForbidden   = "forbidden"
)

// metrics resolves the labels of each policy once, not for each request.
type metrics struct {
	counters map[*Policy]map[string]outcomeCounters
}

type outcomeCounters map[string]prometheus.Counter

func newMetrics(ctx caddy.Context) (*metrics, error) {
	for _, collector := range []prometheus.Collector{requests, reportedRefusals, keySets{}} {
		var already prometheus.AlreadyRegisteredError
		if err := ctx.GetMetricsRegistry().Register(collector); err != nil && !errors.As(err, &already) {
			return nil, err
		}
	}
	return &metrics{counters: make(map[*Policy]map[string]outcomeCounters)}, nil
}

// prepare makes the counters of a policy. It is called while the config is
// loaded, before any request.
func (m *metrics) prepare(p *Policy) {
	byAuthenticator := make(map[string]outcomeCounters)
	for _, member := range p.members {
		counters := make(outcomeCounters)
		for _, outcome := range []string{outcomeAccepted, outcomeRejected, outcomeUnavailable, outcomeForbidden} {
			counters[outcome] = requests.WithLabelValues(p.name, member.name, outcome)
		}
		byAuthenticator[member.name] = counters
	}
	byAuthenticator[""] = outcomeCounters{outcomeAbsent: requests.WithLabelValues(p.name, "", outcomeAbsent)}
	m.counters[p] = byAuthenticator
}

func (m *metrics) observe(p *Policy, res *result, err error) {
	name, outcome := res.name(), outcomeOf(res, err)
	if counter := m.counters[p][name][outcome]; counter != nil {
		counter.Inc()
	}
}

func outcomeOf(res *result, err error) string {
	if err == nil {
		if res.who != nil {
			return outcomeAccepted
		}
		return outcomeAbsent
	}
	var rejected *authenticators.RejectedError
	var forbidden *authenticators.ForbiddenError
	switch {
	case errors.Is(err, authenticators.ErrNoCredential):
		return outcomeAbsent
	case errors.As(err, &rejected):
		return outcomeRejected
	case errors.As(err, &forbidden):
		return outcomeForbidden
	}
	return outcomeUnavailable
}
