package integration

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

func TestD35WhatIsUnderWayAtSIGTERMEndsWell(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "metrics\ngrace_period 20s\nedge_auth {\n store redis "+redis.URL()+" {\n timeout 15s\n cache off\n}\n}",
		"http://127.0.0.1:$PORT {\n edge_auth_issuer\n edge_auth {\n token\n}\n reverse_proxy UPSTREAM\n}", "UPSTREAM", up.Addr)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	token := "Authorization: Token " + g.EdgeAuth("", "token", "create", "alice")
	require.Equal(t, http.StatusOK, g.Get("/", token).Status)

	// All wait for the store, which must not be closed before the last is done.
	redis.Stop()
	defer redis.Continue()
	const callers, logins = 200, 2
	answers := make(chan harness.Answer, callers+logins)
	for n := range callers + logins {
		go func() {
			var a harness.Answer
			var err error
			if n < logins {
				a, err = g.Try(t.Context(), http.MethodPost, "/api/token/", wonderland, asJSON)
			} else {
				a, err = g.Try(t.Context(), http.MethodGet, "/", "", token)
			}
			assert.NoError(t, err)
			answers <- a
		}()
	}
	underWay := regexp.MustCompile(fmt.Sprintf(`(?m)^caddy_http_requests_in_flight{.*} %d$`, callers+logins))
	harness.Eventually(t, 10*time.Second, func() bool { return underWay.MatchString(g.Metrics()) }, "they do not wait for Redis")
	began := time.Now()
	require.NoError(t, g.Cmd.Process.Signal(syscall.SIGTERM))
	harness.Eventually(t, 10*time.Second, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, "it still takes connections")
	redis.Continue()
	for range callers + logins {
		a := <-answers
		assert.Equal(t, http.StatusOK, a.Status, a.Body)
	}
	harness.Eventually(t, 20*time.Second, func() bool { return len(g.Log.Lines("shutdown complete")) > 0 }, "it does not end")
	t.Logf("ended %s after SIGTERM", time.Since(began).Round(time.Millisecond))
	assert.Less(t, time.Since(began), 20*time.Second, "grace_period")
	assert.Empty(t, g.Log.Lines("store is closed"))
}
