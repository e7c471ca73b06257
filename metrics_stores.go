package edgeauth

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgeauth/caddy-edgeauth/store"
)

var (
	storeDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy",
		Subsystem: "edge_auth",
		Name:      "store_duration_seconds",
		Help:      "How long calls of the store took, those included that failed.",
		Buckets:   []float64{1e-5, 2.5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"store", "operation"})

	storeErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy",
		Subsystem: "edge_auth",
		Name:      "store_errors_total",
		Help:      "Calls that the store did not answer. That there is no such record is an answer.",
	}, []string{"store", "operation"})
)

// operation is a call of a store.
type operation int

const (
	opGet operation = iota
	opPut
	opSwap
	opAdd
	opDelete
	opTouch
	opList
	opPing
	opForeignGet
	opForeignFields
	opForeignExtend
	numOperations
)

// writes reports whether it changes records.
func (o operation) writes() bool {
	return o == opPut || o == opSwap || o == opAdd || o == opDelete || o == opTouch || o == opForeignExtend
}

var operationNames = [numOperations]string{
	"get", "put", "swap", "add", "delete", "touch", "list", "ping", "foreign_get", "foreign_fields", "foreign_extend",
}

// storeMeter measures the calls of one store. Its labels are resolved once.
type storeMeter struct {
	durations [numOperations]prometheus.Observer
	errors    [numOperations]prometheus.Counter
}

func newStoreMeter(name string) *storeMeter {
	m := new(storeMeter)
	for op, operation := range operationNames {
		m.durations[op] = storeDuration.WithLabelValues(name, operation)
		m.errors[op] = storeErrors.WithLabelValues(name, operation)
	}
	return m
}

// note takes the outcome of a call that began then. A caller that went away says
// nothing of the store.
func (m *storeMeter) note(op operation, began time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	m.durations[op].Observe(time.Since(began).Seconds())
	if !isAnswer(err) {
		m.errors[op].Inc()
	}
}

// storeNews tells what stores tell of changed records. It asks them when it is asked
// itself, so it holds nothing and outlives each config.
type storeNews struct{}

var (
	cacheInvalidations = prometheus.NewDesc("caddy_edge_auth_cache_invalidations_total",
		"News of changed records, by which what rests on them is forgotten.", []string{"store"}, nil)
	storeTracking = prometheus.NewDesc("caddy_edge_auth_store_tracking",
		"1 while news of changes is trusted, 0 while it is not, and each request asks the store. None where nothing is kept.", []string{"store"}, nil)
)

// Describe is that of prometheus.Collector.
func (storeNews) Describe(to chan<- *prometheus.Desc) {
	to <- cacheInvalidations
	to <- storeTracking
}

// news is what all stores of one name tell: two configs of one Redis, such as with
// different timeouts, are two stores.
type news struct {
	told    uint64
	tracked float64
}

// Collect is that of prometheus.Collector.
func (storeNews) Collect(to chan<- prometheus.Metric) {
	byName := make(map[string]news)
	pool.Range(func(_, value any) bool {
		s, ok := value.(*sharedStore)
		if !ok {
			return true
		}
		on, meant := s.tracking()
		if !meant {
			return true
		}
		n, known := byName[s.name]
		if !known {
			n.tracked = 1
		}
		if !on {
			n.tracked = 0
		}
		n.told += s.Handle.(store.Teller).Changes().Told() // it is one, since tracking is meant
		byName[s.name] = n
		return true
	})
	for name, n := range byName {
		to <- prometheus.MustNewConstMetric(cacheInvalidations, prometheus.CounterValue, float64(n.told), name)
		to <- prometheus.MustNewConstMetric(storeTracking, prometheus.GaugeValue, n.tracked, name)
	}
}

var _ prometheus.Collector = storeNews{}
