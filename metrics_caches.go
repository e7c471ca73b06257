package edgeauth

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgeauth/caddy-edgeauth/cache"
)

// caches tells how the caches fare. It asks them when it is asked itself, so it holds
// nothing and outlives each config.
type caches struct{}

var (
	cacheLookups = prometheus.NewDesc("caddy_edge_auth_cache_lookups_total",
		"Look-ups of what was found out before; stale is what was found, and not true any more.", []string{"cache", "result"}, nil)
	cacheEntries = prometheus.NewDesc("caddy_edge_auth_cache_entries",
		"What is kept, that included which is not true any more.", []string{"cache"}, nil)
	cacheBytes = prometheus.NewDesc("caddy_edge_auth_cache_bytes",
		"Memory that the entries take, without their index.", []string{"cache"}, nil)
)

// Describe is that of prometheus.Collector.
func (caches) Describe(to chan<- *prometheus.Desc) {
	to <- cacheLookups
	to <- cacheEntries
	to <- cacheBytes
}

// cachePrefix begins the keys of caches in the pool; then follow what is in it, and
// its size. While a reload changes the size there are two.
const cachePrefix = "cache of "

// Collect is that of prometheus.Collector.
func (caches) Collect(to chan<- prometheus.Metric) {
	sums := make(map[string]cache.Stats)
	pool.Range(func(key, value any) bool {
		c, ok := value.(*cache.Cache)
		if !ok {
			return true
		}
		what, _, _ := strings.Cut(strings.TrimPrefix(key.(string), cachePrefix), " ")
		sum, s := sums[what], c.Stats()
		sums[what] = cache.Stats{
			Hits: sum.Hits + s.Hits, Misses: sum.Misses + s.Misses, Stale: sum.Stale + s.Stale,
			Entries: sum.Entries + s.Entries, Bytes: sum.Bytes + s.Bytes,
		}
		return true
	})
	for what, sum := range sums {
		for result, n := range map[string]uint64{"hit": sum.Hits, "miss": sum.Misses, "stale": sum.Stale} {
			to <- prometheus.MustNewConstMetric(cacheLookups, prometheus.CounterValue, float64(n), what, result)
		}
		to <- prometheus.MustNewConstMetric(cacheEntries, prometheus.GaugeValue, float64(sum.Entries), what)
		to <- prometheus.MustNewConstMetric(cacheBytes, prometheus.GaugeValue, float64(sum.Bytes), what)
	}
}

var _ prometheus.Collector = caches{}
