package issuer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// counts are what a counter says, by outcome.
func counts(t *testing.T, counter prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(counter))
	families, err := registry.Gather()
	require.NoError(t, err)
	all := make(map[string]float64)
	for _, metric := range families[0].GetMetric() {
		all[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
	}
	return all
}

func TestEachOutcomeIsCountedAsWhatItIs(t *testing.T) {
	// Not parallel: it counts.
	rejected := &authenticators.RejectedError{Code: "token_not_valid"}
	forbidden := &authenticators.ForbiddenError{Code: authenticators.CodeCSRF}
	for _, c := range []struct {
		name    string
		counter prometheus.Collector
		count   func(error) error
		err     error
		want    string // empty: not counted
	}{
		{"wrong password", logins, countLogin, fmt.Errorf("%w: wrong password", records.ErrLogin), "refused"},
		{"wrong code", logins, countLogin, unauthorized(nil, errCode), "refused"},
		{"too many", logins, countLogin, throttled(time.Second), "throttled"},
		{"code is asked for", logins, countLogin, unauthorized(nil, errNoCode), ""},
		{"no answer", logins, countLogin, errors.New("redis: no answer"), "unavailable"},
		{"went away", logins, countLogin, fmt.Errorf("counting logins: %w", context.Canceled), ""},
		{"logs in", logins, countLogin, nil, ""}, // loggedIn does
		{"refreshed", refreshes, countRefresh, nil, "success"},
		{"wrong token", refreshes, countRefresh, rejected, "refused"},
		{"no token", refreshes, countRefresh, invalid(nil), "refused"},
		{"from another site", refreshes, countRefresh, forbidden, "refused"},
		{"stolen", refreshes, countRefresh, fmt.Errorf("%w: %w", errReused, rejected), ""}, // endStolen does
		{"not looked up", refreshes, countRefresh, errors.New("redis: no answer"), "unavailable"},
		{"left", refreshes, countRefresh, context.Canceled, ""},
	} {
		before := counts(t, c.counter)
		assert.Equal(t, c.err, c.count(c.err), c.name)
		for outcome, count := range counts(t, c.counter) {
			more := 0.0
			if outcome == c.want {
				more = 1
			}
			assert.InDelta(t, before[outcome]+more, count, 0, "%s: %s", c.name, outcome)
		}
	}
}
