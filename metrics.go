package edgeauth

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/issuer"
)

// requests counts checked requests. It is made once and lives across reloads;
// each config registers it anew. Labels come from the config only.
var requests = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy",
	Subsystem: "edge_auth",
	Name:      "requests_total",
	Help:      "Checked requests by policy, the authenticator that decided, and outcome.",
}, []string{"policy", "authenticator", "outcome"})

// reportOnlyRefusals counts what a policy would have refused, were it not report_only.
var reportOnlyRefusals = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy",
	Subsystem: "edge_auth",
	Name:      "report_only_refusals_total",
	Help:      "Requests that passed only because their policy is report_only, by the authenticator that decided, and outcome.",
}, []string{"policy", "authenticator", "outcome"})

// authentication measures what we add to a request, without the upstream. What is
// cached takes microseconds; what asks a store or an issuer, up to seconds.
var authentication = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Namespace: "caddy",
	Subsystem: "edge_auth",
	Name:      "authentication_duration_seconds",
	Help:      "How long it took to find out who is calling and whether they may, without the upstream.",
	Buckets: []float64{
		1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4,
		1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5,
	},
}, []string{"policy"})

// collectors are all that we register.
func collectors() []prometheus.Collector {
	return append(issuer.Collectors(),
		requests, reportOnlyRefusals, authentication, storeDuration, storeErrors, storeNews{}, caches{}, keySets{})
}

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
	counters  map[*Policy]map[string]outcomeCounters
	durations map[*Policy]prometheus.Observer
}

type outcomeCounters map[string]prometheus.Counter

func newMetrics(ctx caddy.Context) (*metrics, error) {
	for _, collector := range collectors() {
		var already prometheus.AlreadyRegisteredError
		if err := ctx.GetMetricsRegistry().Register(collector); err != nil && !errors.As(err, &already) {
			return nil, err
		}
	}
	return &metrics{counters: make(map[*Policy]map[string]outcomeCounters), durations: make(map[*Policy]prometheus.Observer)}, nil
}

// prepare makes the counters of a policy. It is called while the config is
// loaded, before any request.
func (m *metrics) prepare(p *Policy) {
	byAuthenticator := make(map[string]outcomeCounters)
	for _, member := range p.members {
		counters := make(outcomeCounters)
		for _, outcome := range []string{outcomeAccepted, outcomeRejected, outcomeUnavailable, outcomeForbidden} {
			counters[outcome] = requests.WithLabelValues(p.name, member.name, outcome)
			if p.ReportOnly && outcome != outcomeAccepted {
				reportOnlyRefusals.WithLabelValues(p.name, member.name, outcome) // so that the first is an increase
			}
		}
		byAuthenticator[member.name] = counters
	}
	byAuthenticator[""] = outcomeCounters{outcomeAbsent: requests.WithLabelValues(p.name, "", outcomeAbsent)}
	if p.ReportOnly {
		reportOnlyRefusals.WithLabelValues(p.name, "", outcomeAbsent)
	}
	m.counters[p] = byAuthenticator
	m.durations[p] = authentication.WithLabelValues(p.name)
}

func (m *metrics) observe(p *Policy, res *result, err error, took time.Duration) {
	m.durations[p].Observe(took.Seconds())
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
