package edgeauth

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// traced sends a request with a header below a span of Caddy's, and returns the
// policy's span and that of Caddy.
func (s *site) traced(t *testing.T, header string, options ...sdktrace.TracerProviderOption) (spans tracetest.SpanStubs) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSyncer(exporter))...)
	r := prepared(httptest.NewRequest(http.MethodGet, "/app?q=1", nil))
	ctx, parent := provider.Tracer("caddy").Start(r.Context(), "http request")
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	s.serve(r.WithContext(ctx))
	parent.End()
	return exporter.GetSpans()
}

func TestSpanBelowThatOfCaddySaysWhatWasFound(t *testing.T) {
	t.Parallel()
	s := credentials(t)["token"]
	good := s.header[len("Authorization: "):]
	text := func(name, value string) attribute.KeyValue { return attribute.String("edge_auth."+name, value) }
	hit := func(value bool) attribute.KeyValue { return attribute.Bool("edge_auth.cache_hit", value) }
	for _, step := range []struct {
		name, header string
		want         []attribute.KeyValue
	}{
		{"looked up", good, []attribute.KeyValue{text("policy", "test"), text("outcome", "accepted"), text("authenticator", "token"), hit(false)}},
		{"known", good, []attribute.KeyValue{text("policy", "test"), text("outcome", "accepted"), text("authenticator", "token"), hit(true)}},
		{"absent", "", []attribute.KeyValue{text("policy", "test"), text("outcome", "absent")}},
		{"rejected", "Token wrong", []attribute.KeyValue{text("policy", "test"), text("outcome", "rejected"), text("authenticator", "token"), hit(false)}},
	} {
		spans := s.site.traced(t, step.header)
		require.Len(t, spans, 2, step.name)
		assert.Equal(t, "edge_auth", spans[0].Name, step.name)
		assert.Equal(t, spans[1].SpanContext.SpanID(), spans[0].Parent.SpanID(), step.name)
		assert.ElementsMatch(t, step.want, spans[0].Attributes, step.name)
		assert.Equal(t, codes.Unset, spans[0].Status.Code, step.name)
		assert.False(t, spans[0].StartTime.Before(spans[1].StartTime), step.name)
		assert.False(t, spans[0].EndTime.After(spans[1].EndTime), step.name)
	}
}

func TestSpanOfAnOutageIsAnErrorThatSaysNoCause(t *testing.T) {
	t.Parallel()
	s := newSite(t, new(Policy), `{"authenticator":"token"}`)
	require.NoError(t, s.app.store.Destruct())
	spans := s.traced(t, "Token 0123456789abcdef0123456789abcdef01234567")
	require.Len(t, spans, 2)
	assert.Equal(t, sdktrace.Status{Code: codes.Error, Description: "could not find out who is calling"}, spans[0].Status)
	assert.Contains(t, spans[0].Attributes, attribute.String("edge_auth.outcome", "unavailable"))
	assert.Empty(t, spans[0].Events, "an event would show the cause")
}

func TestNothingIsTracedWhereCaddyDoesNotRecord(t *testing.T) {
	t.Parallel()
	s := credentials(t)["token"]
	assert.Empty(t, s.site.traced(t, s.header[len("Authorization: "):], sdktrace.WithSampler(sdktrace.NeverSample())))
}

func TestSpanBeginsWithTheFirstLook(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	ctx, _ := provider.Tracer("caddy").Start(t.Context(), "http request")
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	began := time.Now().Add(-time.Minute)
	(&Policy{name: "test"}).trace(r, new(state), new(result), nil, began)
	assert.WithinDuration(t, began, exporter.GetSpans()[0].StartTime, 0)
}
