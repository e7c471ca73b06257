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

func registerMetrics(ctx caddy.Context) error {
	for _, collector := range collectors() {
		var already prometheus.AlreadyRegisteredError
		if err := ctx.GetMetricsRegistry().Register(collector); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// policyMetrics are the metrics of a policy, whose labels are resolved once, and not
// for each request.
type policyMetrics struct {
	absent prometheus.Counter
	took   prometheus.Observer
}

// prepareMetrics is called while the config is loaded, before any request.
func (p *Policy) prepareMetrics() {
	for i := range p.members {
		m := &p.members[i]
		m.counters = make(map[string]prometheus.Counter)
		for _, outcome := range []string{outcomeAccepted, outcomeRejected, outcomeUnavailable, outcomeForbidden} {
			m.counters[outcome] = requests.WithLabelValues(p.name, m.name, outcome)
			if p.ReportOnly && outcome != outcomeAccepted {
				reportOnlyRefusals.WithLabelValues(p.name, m.name, outcome) // so that the first is an increase
			}
		}
	}
	if p.ReportOnly {
		reportOnlyRefusals.WithLabelValues(p.name, "", outcomeAbsent)
	}
	p.metrics = policyMetrics{requests.WithLabelValues(p.name, "", outcomeAbsent), authentication.WithLabelValues(p.name)}
}

func (p *Policy) observe(by *member, outcome string, took time.Duration) {
	p.metrics.took.Observe(took.Seconds())
	if by == nil {
		p.metrics.absent.Inc()
		return
	}
	by.counters[outcome].Inc()
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
	var method *methodError
	switch {
	case errors.Is(err, authenticators.ErrNoCredential):
		return outcomeAbsent
	case errors.As(err, &rejected):
		return outcomeRejected
	case errors.As(err, &forbidden), errors.As(err, &method):
		return outcomeForbidden
	}
	return outcomeUnavailable
}
