package integration

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// Over HTTP and a real Redis: whatever stands under a session's key, nobody gets in, and the gateway goes on.
func TestS03S06S07S40S41S42S43HostileSessionsEndAsNobody(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session php
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	id := strings.Repeat("a", 26)
	key, cookie := "PHPREDIS_SESSION:"+id, "Cookie: PHPSESSID="+id
	set := func(value string) func() { return func() { redis.Do(t, "SET", key, value) } }
	for name, prepare := range map[string]func(){
		"a list":               func() { redis.Do(t, "RPUSH", key, "user_id|i:1;") },
		"a hash":               func() { redis.Do(t, "HSET", key, "user_id", "1") },
		"a stream":             func() { redis.Do(t, "XADD", key, "*", "user_id", "1") },
		"512 MB":               func() { redis.Do(t, "SETRANGE", key, strconv.Itoa(512<<20-1), "x") },
		"nothing":              set(""),
		"10,000 levels":        set(strings.Repeat("a:1:{i:0;", 7000)),
		"a claim of 4 GB":      set("\xdd\xff\xff\xff\xff"),
		"2^31 entries":         set("a:2147483647:{}"),
		"an unknown type":      set("user_id|Z:1;"),
		"Java's serialization": set("\xac\xed\x00\x05sr"),
		"a pickle":             set("\x80\x04}\x8c\x07user_idK\x01s."),
		"Marshal":              set("\x04\x08{\x06:\x0cuser_idi\x06"),
		"a truth value":        set("user_id|b:1;"),
		"a list of ids":        set("user_id|a:1:{i:0;i:1;}"),
		"an id with CR LF":     set("user_id|s:15:\"1\r\nX-Admin: yes\";"),
		"an id of 300 bytes":   set(`user_id|s:300:"` + strings.Repeat("1", 300) + `";`),
	} {
		redis.Do(t, "DEL", key)
		prepare()
		assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie).Status, name)
		assert.Empty(t, up.Taken(), name)
		redis.Do(t, "SET", key, "user_id|i:7;")
		require.Equal(t, http.StatusOK, g.Get("/", cookie).Status, "the gateway goes on")
		assert.Equal(t, []string{"7"}, harness.HeaderOf(up.One(t), "Remote-User"))
	}
	before := redis.Do(t, "INFO", "commandstats")
	for _, bad := range []string{"*", "a*" + id, id + ":x", "{" + id + "}", id + "%0a", id + "%00", "../" + id, id + "\xff", strings.Repeat("a", 5000), `"` + id + `"`, "%"} {
		assert.Equal(t, http.StatusUnauthorized, g.Get("/", "Cookie: PHPSESSID="+bad).Status, bad)
	}
	assert.Equal(t, calls(before, "getrange"), calls(redis.Do(t, "INFO", "commandstats"), "getrange"), "none of them is asked for")
	assert.Len(t, g.Log.Lines("can't be read"), 1, "told once a minute at most")
}

// calls is how often Redis has been given a command.
func calls(stats, command string) string {
	_, after, _ := strings.Cut(stats, "cmdstat_"+command+":calls=")
	count, _, _ := strings.Cut(after, ",")
	return count
}

// A Redis hash of Spring's, and one that is too large to read.
func TestSpringSessionsAreReadFromAHash(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session spring {
			claim groups sessionAttr:roles
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	const id = "3fa0a5b4-aa67-44ed-a1a5-d4c61baeb590"
	key := "spring:session:sessions:" + id
	cookie := "Cookie: SESSION=" + base64.StdEncoding.EncodeToString([]byte(id))
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie).Status)
	redis.Do(t, "HSET", key, "lastAccessedTime", strconv.FormatInt(time.Now().UnixMilli(), 10), "maxInactiveInterval", "1800",
		"sessionAttr:SPRING_SECURITY_CONTEXT", `{"authentication":{"authenticated":true,"principal":{"username":"alice"}}}`,
		"sessionAttr:roles", `["staff"]`, "sessionAttr:unused", strings.Repeat("x", 1<<20))
	require.Equal(t, http.StatusOK, g.Get("/", cookie).Status)
	got := up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
	assert.Equal(t, []string{"staff"}, harness.HeaderOf(got, "Remote-Groups"))
	redis.Do(t, "HSET", key, "sessionAttr:roles", strings.Repeat("x", 1<<20))
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie).Status)
	redis.Do(t, "DEL", key)
	redis.Do(t, "SET", key, "x")
	assert.Equal(t, http.StatusUnauthorized, g.Get("/", cookie).Status, "not a hash")
	assert.Empty(t, up.Taken())
}

// touch lets the key of an application live on, and never cuts a life short.
func TestS51TouchExtendsTheKeyOfAnApplication(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	up := harness.StartUpstream(t)
	g := harness.Start(t, "edge_auth {\n store redis "+redis.URL()+uncached+"\n}", `http://127.0.0.1:$PORT {
	edge_auth {
		session flask {
			touch 30m
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr)
	const id = "9b25aca4-4ea9-4ad3-9a76-64d0973014e6"
	for life, want := range map[string]int{"100": 1800, "7200": 7200} {
		redis.Do(t, "SET", "session:"+id, `{"_user_id":"7"}`, "EX", life)
		require.Equal(t, http.StatusOK, g.Get("/", "Cookie: session="+id).Status)
		left, err := strconv.Atoi(redis.Do(t, "TTL", "session:"+id))
		require.NoError(t, err)
		assert.InDelta(t, want, left, 2)
	}
	redis.Do(t, "SET", "session:"+id, `{"_user_id":"7"}`)
	require.Equal(t, http.StatusOK, g.Get("/", "Cookie: session="+id).Status)
	assert.Equal(t, "-1", redis.Do(t, "TTL", "session:"+id), "what has no end gets none")
}
