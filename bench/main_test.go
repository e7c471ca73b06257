package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const printed = `Running 2s test @ http://127.0.0.1:1/plain
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.73ms    3.36ms  69.79ms   84.54%
  Latency Distribution
     50%  850.00us
     75%    4.91ms
     99%   14.02ms
  93268 requests in 10.02s, 11.91MB read
Requests/sec:   9309.18
Transfer/sec:      1.19MB
`

func TestWhatWrkPrintsIsRead(t *testing.T) {
	t.Parallel()
	r, err := parseWrk(printed)
	require.NoError(t, err)
	assert.Equal(t, wrkResult{requests: 93268, perSecond: 9309.18, p50: 0.85, p99: 14.02}, r)
	_, err = parseWrk(printed + "  Non-2xx or 3xx responses: 5\n")
	require.Error(t, err, "refusals are fast, and no measurement")
	_, err = parseWrk("unable to connect")
	require.Error(t, err)
}

func TestMedian(t *testing.T) {
	t.Parallel()
	assert.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	assert.InDelta(t, 1.5, median([]float64{2, 1}), 0)
}
