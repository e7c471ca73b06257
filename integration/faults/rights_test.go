package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// A password that is rotated is no fault for the connections that there are. New ones
// are refused, until the config has the new password: a reload is enough for that.
func TestD15RotatedPasswordIsTakenOverByAReload(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	asGateway(t, redis)
	g := harness.New(t)
	up := harness.StartUpstream(t)
	password := g.Write("password", "old")
	sites := fmt.Sprintf("http://127.0.0.1:$PORT {\n edge_auth {\n%s\n}\n reverse_proxy %s\n}\n", sessions, up.Addr)
	g.Serve("edge_auth {\n store redis "+redis.URL()+" {\n"+uncached+"\n username gateway\n password {file."+password+"}\n}\n}", sites)
	through(t, g, up)
	redis.Do(t, "ACL", "SETUSER", "gateway", "resetpass", ">new")
	for range 20 { // one after the other: one connection does
		require.Equal(t, http.StatusOK, g.Get("/user-0", sessionOf(0).header).Status)
	}
	up.Taken()

	redis.Do(t, "CLIENT", "KILL", "USER", "gateway")
	c := startCrowd(t, g, up, members()...)
	c.awaitsOnly(http.StatusServiceUnavailable, 5*time.Second)
	require.NoError(t, os.WriteFile(password, []byte("new"), 0o600))
	_, err := g.Command("", "reload", "--config", g.Dir+"/Caddyfile", "--adapter", "caddyfile", "--address", g.Admin, "--force")
	require.NoError(t, err)
	c.recovers(2*time.Second + slow)
	c.stop()
	told(t, g, 1)
	lines := g.Log.Lines("store does not answer")
	require.NotEmpty(t, lines)
	assert.Contains(t, lines[0], "WRONGPASS")
	assert.NotContains(t, g.Log.String(), `"old"`)
}

// A Redis that lets everybody in, until it wants a password.
func TestD15RedisThatWantsAPasswordFromNowOn(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), uncached)
	through(t, g, up)
	operator, err := net.Dial("tcp", redis.Addr)
	require.NoError(t, err)
	defer operator.Close()
	_, err = io.WriteString(operator, "CONFIG SET requirepass secret\r\nCLIENT KILL TYPE normal SKIPME yes\r\n")
	require.NoError(t, err)
	harness.Eventually(t, 5*time.Second, func() bool { return redis.Try("PING") != nil }, "it wants no password")
	c := startCrowd(t, g, up, members()...)
	c.awaitsOnly(http.StatusServiceUnavailable, 5*time.Second)
	_, err = io.WriteString(operator, "CONFIG SET requirepass \"\"\r\n")
	require.NoError(t, err)
	c.recovers(2*time.Second + slow)
	c.end(1)
	lines := g.Log.Lines("store does not answer")
	require.NotEmpty(t, lines)
	assert.Contains(t, lines[0], "NOAUTH")
}

// Redis tells of the changes of all keys that a prefix has, whichever of them the user
// may see: rights that are taken while identities are kept leave nothing of before that
// changes unheard. The news comes on a connection of the user that reads, so what the
// one may not hear of, the other may not read.
func TestD16KeysThatAreHiddenWhileTheyAreKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ takes, gives []string }{
		"D16 the keys":                {[]string{"resetkeys", "~other:*"}, []string{"~*"}},
		"D16 the keys but for others": {[]string{"resetkeys", "~sess:s7"}, []string{"~*"}},
		"D16 the right to tracking":   {[]string{"-client|tracking"}, []string{"+@all"}},
		"D16 the right to ping":       {[]string{"-ping"}, []string{"+@all"}},
		"D15 the user":                {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := startFilled(t)
			_, crowd := keeper(t, redis, cached+asGateway(t, redis))
			if c.takes == nil {
				redis.Do(t, "ACL", "DELUSER", "gateway")
			} else {
				redis.Do(t, append([]string{"ACL", "SETUSER", "gateway"}, c.takes...)...)
			}
			for n := range 4 {
				crowd.mayEnd(fmt.Sprintf("user-%d", n))
				redis.Do(t, "DEL", fmt.Sprintf("sess:s%d", n))
				revoked := time.Now()
				for {
					asked := time.Now()
					if crowd.get(n) != http.StatusOK {
						break
					}
					require.Less(t, asked.Sub(revoked), staleness+slow, "revoked and served")
				}
			}
			if c.gives == nil {
				asGateway(t, redis)
			} else {
				redis.Do(t, append([]string{"ACL", "SETUSER", "gateway"}, c.gives...)...)
			}
			for n := range size {
				want := http.StatusOK
				if n < 4 {
					want = http.StatusUnauthorized
				}
				harness.Eventually(t, 2*time.Second+slow, func() bool { return crowd.get(n) == want }, "does not recover")
			}
			crowd.end(2)
		})
	}
}

// Who may not be told of changes has nothing kept from the start, and is warned.
func TestD16NoRightToTrackingAtTheStart(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	options := asGateway(t, redis)
	redis.Do(t, "ACL", "SETUSER", "gateway", "-client|tracking")
	g, up := start(t, redis.URL(), cached+options)
	through(t, g, up)
	for range 20 {
		before := reads(t, redis)
		require.Equal(t, http.StatusOK, g.Get("/user-0", sessionOf(0).header).Status)
		require.NotEqual(t, before, reads(t, redis), "it is kept")
	}
	redis.Do(t, "DEL", "sess:s0")
	assert.Equal(t, http.StatusUnauthorized, g.Get("/user-0", sessionOf(0).header).Status)
	lines := g.Log.Lines("does not tell of changes")
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0], "NOPERM")
}
