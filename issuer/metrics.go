package issuer

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/records"
)

var (
	logins = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "edge_auth", Name: "logins_total",
		Help: "Logins by outcome. A wrong code of the second factor is one that was refused.",
	}, []string{"outcome"})

	refreshes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "edge_auth", Name: "refreshes_total",
		Help: "Refreshes by outcome. Reused is a refresh token that came again: somebody has stolen it, and the login has ended.",
	}, []string{"outcome"})

	issued = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "edge_auth", Name: "issued_total",
		Help: "Credentials that the issuer has given out, by kind. A pair of JWTs is one.",
	}, []string{"kind"})

	logouts = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "edge_auth", Name: "logouts_total",
		Help: "Logouts, by page or by token.",
	})
)

// Resolved once. All are there from the start, at 0: an alert sees the first theft too.
var (
	loginSucceeded   = logins.WithLabelValues("success")
	loginRefused     = logins.WithLabelValues("refused")
	loginThrottled   = logins.WithLabelValues("throttled")
	loginUnavailable = logins.WithLabelValues("unavailable")

	refreshSucceeded   = refreshes.WithLabelValues("success")
	refreshRefused     = refreshes.WithLabelValues("refused")
	refreshReused      = refreshes.WithLabelValues("reused")
	refreshUnavailable = refreshes.WithLabelValues("unavailable")

	issuedJWT     = issued.WithLabelValues("jwt")
	issuedToken   = issued.WithLabelValues("token")
	issuedSession = issued.WithLabelValues("session")
)

// Collectors are the metrics of all issuers, made once.
func Collectors() []prometheus.Collector {
	return []prometheus.Collector{logins, refreshes, issued, logouts}
}

// countLogin counts a login that failed, and returns why. Who was not refused, and is
// asked for more, or went away, has not failed.
func countLogin(err error) error {
	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case err == nil, errors.Is(err, context.Canceled), isRefusal && errors.Is(refused.cause, errNoCode):
	case isRefusal && refused.wait > 0:
		loginThrottled.Inc()
	case errors.Is(err, records.ErrLogin), isRefusal:
		loginRefused.Inc()
	default:
		loginUnavailable.Inc()
	}
	return err
}

// countRefresh counts a refresh. Of a theft endStolen has.
func countRefresh(err error) error {
	_, forbidden := errors.AsType[*authenticators.ForbiddenError](err)
	switch {
	case err == nil:
		refreshSucceeded.Inc()
	case errors.Is(err, context.Canceled), errors.Is(err, errReused):
	case isUnavailable(err) && !forbidden:
		refreshUnavailable.Inc()
	default:
		refreshRefused.Inc()
	}
	return err
}
