package edgeauth

import (
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// trace adds a span of what the policy found, from began until now, below the one that
// Caddy's tracing has put into the request. Where there is none that records, it does
// nothing.
func (p *Policy) trace(r *http.Request, s *state, res *result, err error, began time.Time) {
	parent := trace.SpanFromContext(r.Context())
	if !parent.IsRecording() {
		return
	}
	outcome := outcomeOf(res, err)
	attributes := []attribute.KeyValue{attribute.String("edge_auth.policy", p.name), attribute.String("edge_auth.outcome", outcome)}
	if res.by != nil {
		found := s.found(&res.by.scope)
		attributes = append(attributes,
			attribute.String("edge_auth.authenticator", res.by.name),
			attribute.Bool("edge_auth.cache_hit", found != nil && found.cached))
	}
	_, span := parent.TracerProvider().Tracer("edge_auth").Start(r.Context(), "edge_auth",
		trace.WithTimestamp(began), trace.WithAttributes(attributes...))
	if outcome == outcomeUnavailable {
		span.SetStatus(codes.Error, "could not find out who is calling") // the cause is for the log
	}
	span.End()
}
