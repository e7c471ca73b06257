package attacks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// Cookies of own sessions, in each form that somebody might take for one.
func TestCookiesOfOwnSessions(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	s := newCredentialSite(t, "metrics", "session", "")
	s.own("alice", "bob")
	const name = "__Host-edge_auth="
	cookie := func(values ...string) []string {
		lines := make([]string, len(values))
		for i, value := range values {
			lines[i] = "Cookie: " + value
		}
		return lines
	}
	rows := []credentialRow{ //nolint:prealloc // a table
		{name: "C20 baseline", headers: cookie(name + "{alice.session}"), want: "alice"},
		{name: "C19 separators", headers: cookie(";", "=", ";;", "=;=", "a", strings.Repeat(";", 4096)), want: isAbsent},
		{name: "C24 C42 another cookie's name", headers: cookie("sid={alice.session}; edge_auth={alice.session}"), want: isAbsent, travels: true},
		{name: "C30 C37 two users, one line", headers: cookie(name + "{alice.session}; " + name + "{bob.session}"), want: isAbsent},
		{name: "C30 two users, reversed", headers: cookie(name + "{bob.session}; " + name + "{alice.session}"), want: isAbsent},
		{name: "C30 two users, two lines", headers: cookie(name+"{alice.session}", name+"{bob.session}"), want: isAbsent},
		{name: "C30 good and empty", headers: cookie(name + "{alice.session}; " + name), want: isAbsent},
		{name: "C30 good and rubbish", headers: cookie(name+"{alice.session}", name+"x"), want: isAbsent},
		{name: "C31 the same twice", headers: cookie(name + "{alice.session}; a=b; " + name + "{alice.session}"), want: "alice"},
		{name: "C31 the same on two lines", headers: cookie(name+"{alice.session}", name+"{alice.session}"), want: "alice"},
		{name: "C33 nameless", headers: cookie("=" + name + "{alice.session}"), want: isAbsent, travels: true},
		{name: "C33 no equals sign", headers: cookie("__Host-edge_auth"), want: isAbsent},
		{name: "C33 without the prefix", headers: cookie("edge_auth={bob.session}; " + name + "{alice.session}"), want: "alice", travels: true},
		{name: "C34 in quotes", headers: cookie(name + `"{alice.session}"`), want: isAbsent},
		{name: "C34 open quotes", headers: cookie(name + `"{alice.session}`), want: isAbsent},
		{name: "C34 inside another's quotes", headers: cookie(`x="1; ` + name + `{alice.session}"`), want: isAbsent},
		{name: "C35 percent-encoded", headers: cookie(name + "%41{alice.session}"), want: isAbsent, travels: true},
		{name: "C36 another case", headers: cookie("__host-edge_auth={alice.session}"), want: isAbsent, travels: true},
		{name: "C36 comma", headers: cookie("a=1, " + name + "{alice.session}"), want: isAbsent, travels: true},
		{name: "C36 Unicode's blank before the name", headers: cookie("\u2000" + name + "{alice.session}"), want: isAbsent, travels: true},
		{name: "C36 no-break space after the name", headers: cookie("__Host-edge_auth\u00a0={alice.session}"), want: isAbsent, travels: true},
		{name: "C36 version", headers: cookie("$Version=1; " + name + "{alice.session}"), want: "alice"},
		{name: "C40 in pieces", headers: cookie("__Host-edge_auth.0={alice.session}; __Host-edge_auth.99999999=x; __Host-edge_auth=99999999"), want: isAbsent, travels: true},
		{name: "C43 backslashes", headers: cookie(name + strings.Repeat(`\`, 16<<10)), want: isAbsent, doors: []string{"h1", "h2"}},
		{name: "C43 quotes", headers: cookie(name + strings.Repeat(`"`, 16<<10)), want: isAbsent, doors: []string{"h1", "h2"}},
		{name: "C44 a comma inside", headers: cookie(name + "{alice.session},x"), want: isAbsent},
		{name: "C44 an equals sign inside", headers: cookie(name + "={alice.session}"), want: isAbsent},
	}
	for what, value := range map[string]string{
		"empty": "", "percent": "%", "half a percent": "%zz", "one byte": "x", "4 KB": strings.Repeat("A", 4096), "not ASCII": "é", "high bytes": "\x8b\xff",
		"base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=", "cut": unknownSession[1:], "longer": unknownSession + "A",
	} {
		rows = append(rows, credentialRow{name: "C20 C21 " + what, headers: cookie(name + value), want: isAbsent})
	}
	rows = append(rows,
		credentialRow{name: "C20 NUL", headers: cookie(name + "{alice.session}\x00"), want: isMalformed},
		credentialRow{name: "C20 gzip", headers: cookie(name + "\x1f\x8b"), want: isMalformed})
	s.run(t, rows)
	assert.NotEmpty(t, s.g.Log.Lines("two cookies of one name with different values"), "C30 is told")
	assert.Positive(t, s.g.Metric(`caddy_edge_auth_requests_total{authenticator="",outcome="absent",policy="inline"}`), "C21 is counted")
}

// The good cookie stands behind thousands of others: what the upstream gets says the
// same as what we read.
func TestC41ThousandsOfCookies(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	s := newCredentialSite(t, "", "session", "")
	s.own("alice", "bob")
	s.run(t, []credentialRow{
		{name: "C41 the good one last", headers: []string{"Cookie: " + strings.Repeat("a=1; ", 3100) + "__Host-edge_auth={alice.session}"}, want: "alice"},
		{name: "C41 another's first", headers: []string{"Cookie: __Host-edge_auth={bob.session}; " + strings.Repeat("a=1; ", 3100) + "__Host-edge_auth={alice.session}"}, want: isAbsent},
	})
}

// Cookies of applications, read as each of their frameworks does, or not at all.
func TestCookiesOfApplications(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	redis := redistest.Start(t)
	const a, b = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	for id, user := range map[string]string{a: "1", b: "2"} {
		redis.Do(t, "SET", ":1:django.contrib.sessions.cache"+id, `{"_auth_user_id":"`+user+`","_auth_user_backend":"b","_auth_user_hash":"h"}`)
	}
	for id, user := range map[string]string{"abc": "alice", "a+b": "plus", "a=b": "equals"} {
		redis.Do(t, "SET", "sess:"+id, `{"id":"`+user+`","passport":{"user":"`+user+`"}}`)
	}
	redis.Do(t, "SET", "tenant2:sess:xyz", `{"id":"mallory"}`)
	redis.Do(t, "SET", "sess:a b", `{"id":"mallory"}`)
	s := newCredentialSite(t, "edge_auth {\n store redis "+redis.URL()+"\n}", `session custom {
		cookie sid
		key sess:{id}
		decode json
		user id
	}
	session django
	session express {
		secret keyboard-cat
	}`, "")
	mac := hmac.New(sha256.New, []byte("keyboard-cat"))
	mac.Write([]byte("abc"))
	signed := "s:abc." + base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
	once := url.QueryEscape(signed)
	cookie := func(text string) []string { return []string{"Cookie: " + text} }
	rows := []credentialRow{ //nolint:prealloc // a table
		{name: "C30 baseline", headers: cookie("sid=abc"), want: "alice"},
		{name: "C30 two values", headers: cookie("sid=abc; sid=a+b"), want: isAbsent},
		{name: "C30 two values, reversed", headers: cookie("sid=a+b; sid=abc"), want: isAbsent},
		{name: "C30 two lines", headers: []string{"Cookie: sid=abc", "Cookie: sid=a+b"}, want: isAbsent},
		{name: "C31 the same twice", headers: cookie("sid=abc; sid=abc"), want: "alice"},
		{name: "C32 Django reads the last, we neither", headers: cookie("sessionid=" + a + "; sessionid=" + b), want: isAbsent},
		{name: "C32 Django, reversed", headers: cookie("sessionid=" + b + "; sessionid=" + a), want: isAbsent},
		{name: "C34 Django takes quotes off", headers: cookie(`sessionid="` + a + `"`), want: "1"},
		{name: "C34 open quotes", headers: cookie(`sessionid="` + a), want: isAbsent},
		{name: "C34 quotes that nobody takes off", headers: cookie(`sid="abc"`), want: isAbsent},
		{name: "C34 escaped quotes", headers: cookie(`sid="a\"bc"`), want: isAbsent},
		{name: "C34 inside another's quotes", headers: cookie(`x="1; sid=abc"`), want: isAbsent},
		{name: "C35 percent-encoded where nobody decodes", headers: cookie("sid=%61bc"), want: isAbsent},
		{name: "C35 encoded NUL", headers: cookie("sid=abc%00"), want: isAbsent},
		{name: "C35 plus is no blank", headers: cookie("sid=a+b"), want: "plus"},
		{name: "C35 Express decodes once", headers: cookie("connect.sid=" + once), want: "alice"},
		{name: "C35 Express decodes no second time", headers: cookie("connect.sid=" + url.QueryEscape(once)), want: isAbsent},
		{name: "C36 another case", headers: cookie("SID=abc"), want: isAbsent},
		{name: "C36 blanks, which frameworks trim", headers: cookie("a=1;  sid = abc "), want: "alice"},
		{name: "C36 comma", headers: cookie("a=1, sid=abc"), want: isAbsent},
		{name: "C36 version", headers: cookie("$Version=1; sid=abc; $Path=/"), want: "alice"},
		{name: "C42 S04 of another tenant's key", headers: cookie("sid=xyz"), want: isAbsent},
		{name: "C42 S04 path to another tenant's key", headers: cookie("sid=../tenant2:sess:xyz"), want: isAbsent},
		{name: "C44 equals sign inside", headers: cookie("sid=a=b"), want: "equals"},
		{name: "C44 comma inside", headers: cookie("sid=abc,x"), want: isAbsent},
		{name: "S10 Express, signature removed", headers: cookie("connect.sid=s%3Aabc"), want: isAbsent},
		{name: "S10 Express, not signed", headers: cookie("connect.sid=abc"), want: isAbsent},
		{name: "S10 Express, signature of another id", headers: cookie("connect.sid=" + strings.Replace(once, "abc", "abd", 1)), want: isAbsent},
	}
	for _, id := range []string{"*", "?", "[a-z]", "..", "/", "{tag}", ":", "a:b", "KEYS", strings.Repeat("a", 16<<10)} {
		rows = append(rows, credentialRow{name: "S03 " + id[:min(len(id), 8)], headers: cookie("sid=" + id), want: isAbsent, doors: []string{"h1"}})
	}
	s.run(t, rows)
	stats := redis.Do(t, "INFO", "commandstats")
	assert.NotContains(t, stats, "cmdstat_keys", "S03")
	assert.NotContains(t, stats, "cmdstat_scan", "S03")
}

// A flood of cookies that were never seen makes nothing and writes nothing.
func TestS50UnknownSessionsWriteNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := newCredentialSite(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "session {\n touch 30m\n }\n session custom {\n cookie sid\n key sess:{id}\n decode json\n user id\n touch 30m\n }", "")
	before := redis.Do(t, "DBSIZE")
	for n := range 300 {
		id := []byte(unknownSession)
		id[n%40], id[(n/40)%40] = 'B'+byte(n%20), 'a'+byte(n%26)
		_, err := harness.Doors[n%2].Ask(t, s.g, harness.Request{Path: "/optional/x", Headers: []string{"Cookie: sid=" + string(id) + "; __Host-edge_auth=" + string(id)}})
		require.NoError(t, err)
	}
	assert.Equal(t, before, redis.Do(t, "DBSIZE"))
	for _, command := range []string{"set", "expire", "pexpire", "del", "sadd", "zadd", "eval"} {
		assert.NotContains(t, redis.Do(t, "INFO", "commandstats"), "cmdstat_"+command+":")
	}
	assert.Len(t, s.up.Taken(), 300)
}

// Who is signed in by a session, and what the upstream's own cookie says.
func TestS66OwnSessionAndTheUpstreamsCookie(t *testing.T) {
	t.Parallel()
	s := newCredentialSite(t, "", "session", "")
	s.own("alice")
	a, err := harness.Doors[1].Ask(t, s.g, harness.Request{Path: "/guarded/x", Headers: []string{"Cookie: sessionid=of-bob; __Host-edge_auth=" + s.known["alice.session"]}})
	require.NoError(t, err)
	assert.Equal(t, 200, a.Status)
	got := s.up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
	assert.Equal(t, []string{"sessionid=of-bob"}, harness.HeaderOf(got, "Cookie"), "the application must go by the header")
}
