package integration

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// collector takes the spans that Caddy sends by OTLP over HTTP. It keeps them as they
// come: what is text in protobuf stands there in plain.
type collector struct {
	*httptest.Server

	mu   sync.Mutex
	sent strings.Builder
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err == nil && r.URL.Path == "/v1/traces" {
			c.mu.Lock()
			c.sent.Write(data)
			c.mu.Unlock()
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.String()
}

func TestTraceOfCaddyHoldsASpanOfOurs(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Env = append(g.Env, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	g.Serve("", `http://127.0.0.1:$PORT {
	tracing
	edge_auth {
		token
	}
	reverse_proxy UPSTREAM
}`)
	g.EdgeAuth("correct horse\n", "user", "add", "alice")
	secret := g.EdgeAuth("", "token", "create", "alice")
	require.Equal(t, http.StatusOK, g.Get("/", "Authorization: Token "+secret).Status)
	harness.Eventually(t, 10*time.Second, func() bool { return strings.Contains(c.text(), "edge_auth.outcome") }, "no span of ours")
	sent := c.text()
	for _, want := range []string{"edge_auth.policy", "inline", "edge_auth.authenticator", "token", "accepted", "edge_auth.cache_hit"} {
		assert.Contains(t, sent, want)
	}
	for _, private := range []string{secret, "alice"} {
		assert.NotContains(t, sent, private)
	}
	require.Len(t, harness.HeaderOf(up.One(t), "Traceparent"), 1, "the upstream goes on below Caddy's span")
}
