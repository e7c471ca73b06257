package issuer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// guarded is an issuer with the default rate, whose store has a clock of the
// test's.
func guarded(t *testing.T) (i *testIssuer, pass func(time.Duration)) {
	t.Helper()
	i = newTestIssuer(t, &Issuer{JWT: new(JWT)}, djangoKey)
	now := time.Now()
	i.host.Records.Now = func() time.Time { return now }
	start := now
	i.guard.over.now = func() time.Duration { return now.Sub(start) }
	return i, func(d time.Duration) { now = now.Add(d) }
}

// login tries to log in from an address.
func (i *testIssuer) login(address, user, password string) *httptest.ResponseRecorder {
	i.t.Helper()
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)
	r := httptest.NewRequestWithContext(i.t.Context(), http.MethodPost, "/api/token/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	vars := map[string]any{caddyhttp.ClientIPVarKey: address}
	return i.serve(r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars)))
}

func TestL20WrongPasswordsAreBounded(t *testing.T) {
	t.Parallel()
	i, pass := guarded(t)
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, i.login("192.0.2.1", "alice", "wrong").Code)
	}
	assert.Equal(t, http.StatusTooManyRequests, i.login("192.0.2.9", "ALICE", "wrong").Code, "in another spelling")
	w := i.login("192.0.2.1", "alice", "wonderland")
	require.Equal(t, http.StatusTooManyRequests, w.Code, "the right one too, or it would be told")
	assert.Equal(t, "60", w.Header().Get("Retry-After"))
	assert.JSONEq(t, `{"detail":"Request was throttled. Expected available in 60 seconds.","code":"throttled"}`, w.Body.String())
	assert.Equal(t, http.StatusTooManyRequests, i.login("192.0.2.2", "alice", "wonderland").Code, "the user, from wherever")
	assert.Equal(t, http.StatusTooManyRequests, i.login("192.0.2.1", "carol", "carolpass").Code, "the address, whoever it is")
	assert.Equal(t, http.StatusOK, i.login("192.0.2.3", "carol", "carolpass").Code)
	pass(59 * time.Second)
	w = i.login("192.0.2.2", "alice", "wonderland")
	assert.Contains(t, w.Body.String(), "in 1 second.")
	pass(time.Second)
	assert.Equal(t, http.StatusOK, i.login("192.0.2.1", "alice", "wonderland").Code, "a delay, no denial")
}

func TestL20StrangersLockNobodyOutWhereTheyAreKnown(t *testing.T) {
	t.Parallel()
	i, _ := guarded(t)
	require.Equal(t, http.StatusOK, i.login("192.0.2.1", "alice", "wonderland").Code)
	for n := range 9 {
		i.login(fmt.Sprintf("198.51.100.%d", n), "alice", "wrong")
	}
	assert.Equal(t, http.StatusTooManyRequests, i.login("198.51.100.99", "alice", "wonderland").Code)
	assert.Equal(t, http.StatusOK, i.login("192.0.2.1", "alice", "wonderland").Code)
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, i.login("192.0.2.1", "alice", "wrong").Code)
	}
	assert.Equal(t, http.StatusTooManyRequests, i.login("192.0.2.1", "alice", "wonderland").Code)
}

func TestL20RightPasswordsAreNotCounted(t *testing.T) {
	t.Parallel()
	i, _ := guarded(t)
	for range 12 {
		require.Equal(t, http.StatusOK, i.login("192.0.2.1", "alice", "wonderland").Code)
	}
}

func TestL20ManyGuessesAtOnceDoNotSlipBy(t *testing.T) {
	t.Parallel()
	i, _ := guarded(t)
	codes := make(chan int)
	for range 20 {
		go func() { codes <- i.login("192.0.2.1", "alice", "wrong").Code }()
	}
	looked := 0
	for range 20 {
		if <-codes == http.StatusUnauthorized {
			looked++
		}
	}
	assert.Equal(t, 5, looked)
}

func TestNetworkOfIPv6IsOneAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: text}))
		assert.Equal(t, want, addressOf(r))
	}
}

func TestR02EachLoginIsTold(t *testing.T) {
	t.Parallel()
	i, _ := guarded(t)
	i.login("192.0.2.1", "alice", "wonderland")
	i.login("192.0.2.1", "alice", "hunter2")
	i.login("192.0.2.1", "hunter2", "alice")
	i.login("192.0.2.1", "bob", "builder")
	type line struct{ message, user, reason any }
	var lines []line
	for _, entry := range i.logs.All() {
		if fields := entry.ContextMap(); fields["event"] != nil {
			lines = append(lines, line{entry.Message, fields["user"], fields["reason"]})
		}
		assert.NotContains(t, fmt.Sprint(entry), "hunter2")
	}
	assert.Equal(t, []line{
		{"login", "alice", nil},
		{"login failed", "alice", "no login: wrong password"},
		{"login failed", nil, "no login: unknown user"}, // what was typed may be a password
		{"login failed", "bob", "no login: user is disabled"},
	}, lines)
}
