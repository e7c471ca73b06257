package faults

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// loginSite logs in and out, and guards what is behind.
const loginSite = `http://127.0.0.1:$PORT {
	edge_auth_issuer {
		jwt
		token
		session
		login_rate 10000 1m
	}
	edge_auth
	reverse_proxy UPSTREAM
}`

// logins is a gateway that issues what it accepts.
type logins struct {
	*harness.Gateway

	up    *harness.Upstream
	token string // a good one, as a header
}

const alicesLogin = `{"username":"alice","password":"correct horse"}`

func startLogins(t testing.TB, store string) *logins {
	t.Helper()
	up := harness.StartUpstream(t)
	l := &logins{Gateway: harness.Start(t, "edge_auth {\n"+store+"\n}", loginSite, "UPSTREAM", up.Addr), up: up}
	l.EdgeAuth("correct horse\n", "user", "add", "alice")
	l.token = "Authorization: Token " + l.EdgeAuth("", "token", "create", "alice")
	return l
}

// obtain logs in, for a pair of tokens.
func (l *logins) obtain() harness.Answer { return l.PostJSON("/api/token/", alicesLogin) }

// reads wants alice's token to let her through.
func (l *logins) reads(t testing.TB) {
	t.Helper()
	l.up.Taken()
	assert.Equal(t, http.StatusOK, l.Get("/alice", l.token).Status, "reads go on")
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(l.up.One(t), "Remote-User"))
}

// asGateway is a user that the tests take rights from.
func asGateway(t testing.TB, redis *redistest.Server) (options string) {
	t.Helper()
	redis.Do(t, "ACL", "SETUSER", "gateway", "on", ">old", "~*", "&*", "+@all")
	return "\n username gateway\n password old"
}

// What writes and can't is 503, and promises nothing; who only reads goes on.
func TestRedisThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args          []string
		breaks, mends func(t *testing.T, redis *redistest.Server, dir string)
	}{
		"D14 out of memory": {
			breaks: func(t *testing.T, redis *redistest.Server, _ string) { redis.Do(t, "CONFIG", "SET", "maxmemory", "1") },
			mends:  func(t *testing.T, redis *redistest.Server, _ string) { redis.Do(t, "CONFIG", "SET", "maxmemory", "0") },
		},
		"D21 MISCONF, disk full": {
			args: []string{"--save", "3600 1"},
			breaks: func(t *testing.T, redis *redistest.Server, dir string) {
				require.NoError(t, os.Remove(dir))
				_ = redis.Try("SAVE")
				redis.Do(t, "SET", "x", "1")
				redis.Do(t, "BGSAVE")
				harness.Eventually(t, 10*time.Second, func() bool { return strings.Contains(redis.Do(t, "INFO", "persistence"), "bgsave_status:err") }, "it saves")
			},
			mends: func(t *testing.T, redis *redistest.Server, _ string) {
				redis.Do(t, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
			},
		},
		"D22 READONLY": {
			breaks: func(t *testing.T, redis *redistest.Server, _ string) {
				master := redistest.Start(t)
				// It has what the other has.
				redis.CopyTo(t, master)
				host, port, _ := strings.Cut(master.Addr, ":")
				redis.Do(t, "REPLICAOF", host, port)
				harness.Eventually(t, 10*time.Second, func() bool {
					return strings.Contains(redis.Do(t, "INFO", "replication"), "master_link_status:up")
				}, "it does not follow")
			},
			mends: func(t *testing.T, redis *redistest.Server, _ string) { redis.Do(t, "REPLICAOF", "NO", "ONE") },
		},
		"D15 no right to": {
			breaks: func(t *testing.T, redis *redistest.Server, _ string) {
				redis.Do(t, "ACL", "SETUSER", "gateway", "-@write")
			},
			mends: func(t *testing.T, redis *redistest.Server, _ string) {
				redis.Do(t, "ACL", "SETUSER", "gateway", "+@all")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "redis")
			require.NoError(t, os.Mkdir(dir, 0o700))
			redis := redistest.Start(t, append(c.args, "--dir", dir)...)
			g := startLogins(t, "store redis "+redis.URL()+" {\n timeout 1s"+asGateway(t, redis)+"\n}")
			require.Equal(t, http.StatusOK, g.obtain().Status)
			c.breaks(t, redis, dir)
			harness.Eventually(t, 10*time.Second, func() bool { return g.Get("/alice", g.token).Status == http.StatusOK }, "reads do not go on")
			g.reads(t)
			for range 3 {
				a := g.obtain()
				assert.Equal(t, http.StatusServiceUnavailable, a.Status, a.Body)
				assert.NotEmpty(t, a.Header.Get("Retry-After"))
				assert.NotContains(t, a.Body, "access")
			}
			g.reads(t)
			c.mends(t, redis, dir)
			harness.Eventually(t, 2*time.Second+slow, func() bool { return g.obtain().Status == http.StatusOK }, "does not recover")
			g.reads(t)
			assert.LessOrEqual(t, len(g.Log.Lines(`"level":"error"`)), 4, "one line a change")
			assert.Empty(t, g.Log.Lines("panic"))
		})
	}
}

// What Redis says instead of an answer is no verdict on anybody.
func TestRedisThatAnswersWithTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args          []string
		breaks, mends func(t *testing.T, redis *redistest.Server)
		says          string // what Redis says to its user, where it is the user's rights that change
	}{
		"D21 BUSY with a script": {
			args: []string{"--busy-reply-threshold", "50"},
			breaks: func(_ *testing.T, redis *redistest.Server) {
				go func() { _ = redis.Try("EVAL", "while true do end", "0") }()
			},
			mends: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "SCRIPT", "KILL") },
		},
		"D21 MASTERDOWN": {
			args:   []string{"--replica-serve-stale-data", "no"},
			breaks: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "REPLICAOF", "127.0.0.1", "1") },
			mends:  func(t *testing.T, redis *redistest.Server) { redis.Do(t, "REPLICAOF", "NO", "ONE") },
		},
		"D21 LOADING": {
			args: []string{"--appendonly", "yes", "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"},
			breaks: func(t *testing.T, redis *redistest.Server) {
				redis.Do(t, "EVAL", "for i = 1, 600 do redis.call('SET', 'filler:' .. i, string.rep('x', 100)) end", "0")
				redis.Do(t, "BGREWRITEAOF")
				harness.Eventually(t, 10*time.Second, func() bool {
					info := redis.Do(t, "INFO", "persistence")
					return strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
				}, "not rewritten")
				redis.Kill()
				redis.Restart(t) // it answers, that it loads
			},
			mends: func(*testing.T, *redistest.Server) {},
		},
		"D15 the password is another": {
			breaks: func(t *testing.T, redis *redistest.Server) {
				redis.Do(t, "ACL", "SETUSER", "gateway", "resetpass", ">new")
				redis.Do(t, "CLIENT", "KILL", "USER", "gateway")
			},
			mends: func(t *testing.T, redis *redistest.Server) {
				redis.Do(t, "ACL", "SETUSER", "gateway", "resetpass", ">old")
			},
			says: "WRONGPASS",
		},
		"D15 the user is gone": {
			breaks: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "DELUSER", "gateway") },
			mends:  func(t *testing.T, redis *redistest.Server) { asGateway(t, redis) },
			says:   "WRONGPASS",
		},
		"D15 the user is off": {
			breaks: func(t *testing.T, redis *redistest.Server) {
				redis.Do(t, "ACL", "SETUSER", "gateway", "off")
				redis.Do(t, "CLIENT", "KILL", "USER", "gateway")
			},
			mends: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "SETUSER", "gateway", "on") },
			says:  "WRONGPASS",
		},
		"D15 the rights are fewer": {
			breaks: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "SETUSER", "gateway", "-getrange") },
			mends:  func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "SETUSER", "gateway", "+getrange") },
			says:   "NOPERM",
		},
		"D15 there are no rights at all": {
			breaks: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "SETUSER", "gateway", "nocommands") },
			mends:  func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "SETUSER", "gateway", "allcommands") },
			says:   "NOPERM",
		},
		"D16 the keys are another's": {
			breaks: func(t *testing.T, redis *redistest.Server) {
				redis.Do(t, "ACL", "SETUSER", "gateway", "resetkeys", "~other:*")
			},
			mends: func(t *testing.T, redis *redistest.Server) { redis.Do(t, "ACL", "SETUSER", "gateway", "~*") },
			says:  "NOPERM",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := startFilled(t, c.args...)
			options := uncached
			if c.says != "" {
				options += asGateway(t, redis)
			}
			g, up := start(t, redis.URL(), options)
			through(t, g, up)
			before := footprintOf(t, g)
			crowd := startCrowd(t, g, up, members()...)
			crowd.awaitsOnly(http.StatusOK, 5*time.Second)
			c.breaks(t, redis)
			crowd.awaits(http.StatusServiceUnavailable, 5*time.Second)
			if !strings.Contains(name, "LOADING") { // which ends by itself
				crowd.awaitsOnly(http.StatusServiceUnavailable, 5*time.Second)
			}
			c.mends(t, redis)
			crowd.recovers(12 * time.Second)
			settles(t, g, before)
			crowd.end(1)
			lines := g.Log.Lines("store does not answer")
			require.NotEmpty(t, lines)
			assert.Regexp(t, c.says+"|EOF|reset", lines[0]) // the first to fail may be who was under way
		})
	}
}

// A gateway that can open no more files answers some 503, and goes on.
func TestD19GatewayWithoutFileDescriptors(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), uncached)
	through(t, g, up)
	pid := strconv.Itoa(g.Cmd.Process.Pid)
	limit := func(files int) {
		t.Helper()
		out, err := exec.Command("prlimit", "--pid", pid, "--nofile="+strconv.Itoa(files)+":").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	before := footprintOf(t, g)
	redis.Do(t, "CLIENT", "KILL", "TYPE", "normal")
	c := startCrowd(t, g, up, members()...)
	c.mayAnswer(http.StatusBadGateway) // the proxy can't reach the upstream either
	limit(before.files)
	time.Sleep(time.Second)
	limit(1024)
	c.awaits(http.StatusOK, 4*time.Second)
	c.recovers(4 * time.Second)
	settles(t, g, before)
	c.stop()
}

// A Redis that takes no more connections is an outage for who needs a new one.
func TestD19RedisWithTooManyClients(t *testing.T) {
	t.Parallel()
	redis := startFilled(t)
	g, up := start(t, redis.URL(), uncached)
	through(t, g, up)
	c := startCrowd(t, g, up, members()...)
	c.awaitsOnly(http.StatusOK, 5*time.Second)
	operator, err := net.Dial("tcp", redis.Addr)
	require.NoError(t, err)
	defer operator.Close()
	_, err = io.WriteString(operator, "CONFIG SET maxclients 1\r\nCLIENT KILL TYPE normal SKIPME yes\r\n")
	require.NoError(t, err)
	c.awaitsOnly(http.StatusServiceUnavailable, 5*time.Second)
	_, err = io.WriteString(operator, "CONFIG SET maxclients 1000\r\n")
	require.NoError(t, err)
	c.recovers(2*time.Second + slow)
	c.end(1)
}
