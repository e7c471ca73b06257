package edgeauth

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgeauth/caddy-edgeauth/keys"
)

// keySets tells how the key sets of issuers fare. It asks them when it is asked
// itself, so it holds nothing and outlives each config.
type keySets struct{}

var (
	keySetKeys = prometheus.NewDesc("caddy_edge_auth_key_set_keys",
		"Keys of an issuer that are in use; 0 where its tokens can't be checked.", []string{"key_set"}, nil)
	keySetFetched = prometheus.NewDesc("caddy_edge_auth_key_set_fetched_timestamp_seconds",
		"When the key set was last fetched.", []string{"key_set"}, nil)
	keySetFetches = prometheus.NewDesc("caddy_edge_auth_key_set_fetches_total",
		"Fetches of the key set by outcome.", []string{"key_set", "outcome"}, nil)
)

// Describe is that of prometheus.Collector.
func (keySets) Describe(to chan<- *prometheus.Desc) {
	to <- keySetKeys
	to <- keySetFetched
	to <- keySetFetches
}

// Collect is that of prometheus.Collector.
func (keySets) Collect(to chan<- prometheus.Metric) {
	pool.Range(func(_, value any) bool {
		set, ok := value.(*keys.Remote)
		if !ok {
			return true
		}
		s := set.Status()
		to <- prometheus.MustNewConstMetric(keySetKeys, prometheus.GaugeValue, float64(s.Keys), s.URL)
		to <- prometheus.MustNewConstMetric(keySetFetches, prometheus.CounterValue, float64(s.Fetches), s.URL, "ok")
		to <- prometheus.MustNewConstMetric(keySetFetches, prometheus.CounterValue, float64(s.Failures), s.URL, "failed")
		if !s.Fetched.IsZero() {
			to <- prometheus.MustNewConstMetric(keySetFetched, prometheus.GaugeValue, float64(s.Fetched.Unix()), s.URL)
		}
		return true
	})
}

var _ prometheus.Collector = keySets{}
