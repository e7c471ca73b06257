package session

import (
	"bytes"
	"compress/zlib"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestS30DjangoSessionWithoutALoginIsNobody(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "session django"))
	id := strings.Repeat("a", 32)
	for name, value := range map[string]string{
		"anonymous":  `{"cart":[1]}`,
		"no hash":    `{"_auth_user_id":"1","_auth_user_backend":"b"}`,
		"no backend": `{"_auth_user_id":"1","_auth_user_hash":"h"}`,
		"no id":      `{"_auth_user_backend":"b","_auth_user_hash":"h"}`,
		"id is list": `{"_auth_user_id":["1"],"_auth_user_backend":"b","_auth_user_hash":"h"}`,
		"id is true": `{"_auth_user_id":true,"_auth_user_backend":"b","_auth_user_hash":"h"}`,
		"id empty":   `{"_auth_user_id":"","_auth_user_backend":"b","_auth_user_hash":"h"}`,
		"id control": `{"_auth_user_id":"1\n","_auth_user_backend":"b","_auth_user_hash":"h"}`,
		"hash empty": `{"_auth_user_id":"1","_auth_user_backend":"b","_auth_user_hash":""}`,
	} {
		require.NoError(t, host.Others.Put(t.Context(), ":1:django.contrib.sessions.cache"+id, []byte(value), 0))
		_, err := guesttest.Ask(t, a, "Cookie: sessionid="+id)
		require.ErrorIs(t, err, authenticators.ErrNoCredential, name)
	}
}

func TestS03OnlyIdsThatDjangoMakesAreLookedUp(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "session django"))
	id := strings.Repeat("a", 32)
	for _, value := range []string{
		id[1:], id + "a", strings.ToUpper(id), id[:31] + "*", id[:31] + ":", id[:31] + "\x00", id[:30] + "\r\n", "{id}", `"` + id, strings.Repeat("a", 5000),
	} {
		_, err := guesttest.Ask(t, a, "Cookie: sessionid="+value)
		require.ErrorIs(t, err, authenticators.ErrNoCredential, "%q", value)
	}
	assert.Zero(t, host.Others.Reads)
}

func TestS06S45UnreadableSessionsAreRejected(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "session django"))
	id := strings.Repeat("a", 32)
	var bomb bytes.Buffer
	w := zlib.NewWriter(&bomb)
	_, err := w.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for name, value := range map[string]string{
		"empty": "", "a number": "5", "rubbish": "\x80\x05rubbish", "cut JSON": `{"a":`, "bomb": bomb.String(), "cut zlib": bomb.String()[:20],
	} {
		require.NoError(t, host.Others.Put(t.Context(), ":1:django.contrib.sessions.cache"+id, []byte(value), 0))
		_, err := guesttest.Ask(t, a, "Cookie: sessionid="+id)
		var rejected *authenticators.RejectedError
		require.ErrorAs(t, err, &rejected, name)
	}
	for _, fail := range []error{store.ErrTooLarge, store.ErrWrongType} {
		host.Others.Fail = fail
		_, err := guesttest.Ask(t, a, "Cookie: sessionid="+id)
		var rejected *authenticators.RejectedError
		require.ErrorAs(t, err, &rejected)
	}
	host.Others.Fail = errors.New("connection refused")
	_, err = guesttest.Ask(t, a, "Cookie: sessionid="+id)
	var rejected *authenticators.RejectedError
	require.Error(t, err)
	require.NotErrorIs(t, err, authenticators.ErrNoCredential)
	require.NotErrorAs(t, err, &rejected, "an outage is no verdict")
}

func TestCustomSessions(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "session custom {\n cookie sid\n key app:{id}:s\n decode json\n user user.id\n claim groups user.roles\n claim tenant org\n id_prefix app:\n}"))
	require.NoError(t, host.Others.Put(t.Context(), "app:a-1:s", []byte(`{"user":{"id":7,"roles":["x","y"]},"org":"o1"}`), 0))
	who, err := guesttest.Ask(t, a, "Cookie: sid=a-1")
	require.NoError(t, err)
	assert.Equal(t, "app:7", who.ID)
	assert.Equal(t, []string{"x", "y"}, who.Groups)
	assert.Equal(t, "o1", identity.Placeholder(who, "claims.tenant"))
	reads := host.Others.Reads
	for _, id := range []string{"*", "a:b", "a%3Ab", "a b", "{id}", strings.Repeat("a", 300)} {
		_, err := guesttest.Ask(t, a, "Cookie: sid="+id)
		require.ErrorIs(t, err, authenticators.ErrNoCredential, id)
	}
	assert.Equal(t, reads, host.Others.Reads)
}

func TestS01OwnSessions(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "session"))
	id, err := records.NewSession(t.Context(), host.Records, records.Session{User: "alice", Groups: []string{"staff"}, AuthTime: time.Now()}, time.Hour)
	require.NoError(t, err)
	who, err := guesttest.Ask(t, a, "Cookie: __Host-edge_auth="+id)
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
	assert.Equal(t, []string{"staff"}, who.Groups)

	reads := host.Records.Reads
	for _, bad := range []string{id[1:], id + "A", id[:42] + "=", id[:42] + "*", "x"} {
		_, err := guesttest.Ask(t, a, "Cookie: __Host-edge_auth="+bad)
		require.ErrorIs(t, err, authenticators.ErrNoCredential)
	}
	assert.Equal(t, reads, host.Records.Reads)
	other := "A" + id[1:]
	if other == id {
		other = "B" + id[1:]
	}
	_, err = guesttest.Ask(t, a, "Cookie: __Host-edge_auth="+other)
	require.ErrorIs(t, err, authenticators.ErrNoCredential)

	require.NoError(t, records.EndSession(t.Context(), host.Records, id))
	_, err = guesttest.Ask(t, a, "Cookie: __Host-edge_auth="+id)
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
}

func TestS51UseOfASessionExtendsItAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	now := time.Now()
	host.Records.Now = func() time.Time { return now }
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "session {\n touch 30m\n}"))
	a.now = host.Records.Now
	id, err := records.NewSession(t.Context(), host.Records, records.Session{User: "alice"}, 8*time.Hour)
	require.NoError(t, err)
	left := func() time.Duration {
		session, err := records.FindSession(t.Context(), host.Records, id)
		require.NoError(t, err)
		return session.Remaining
	}
	use := func() {
		_, err := guesttest.Ask(t, a, "Cookie: __Host-edge_auth="+id)
		require.NoError(t, err)
	}
	use()
	assert.Equal(t, 30*time.Minute, left(), "the first use cuts it down to the idle time")
	now = now.Add(30 * time.Second)
	use()
	assert.Equal(t, 30*time.Minute-30*time.Second, left(), "not written yet")
	now = now.Add(time.Minute)
	use()
	assert.Equal(t, 30*time.Minute, left())
	now = now.Add(30 * time.Minute)
	_, err = guesttest.Ask(t, a, "Cookie: __Host-edge_auth="+id)
	require.ErrorIs(t, err, authenticators.ErrNoCredential, "idle for too long")
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	noRedis := guesttest.NewHost()
	noRedis.Others = nil
	require.ErrorContains(t, guesttest.Load(t, noRedis, new(Authenticator), "session django"), "no Redis")
	for config, want := range map[string]string{
		"session djago":                                      "did you mean 'django'?",
		"session a b":                                        "wrong argument count",
		"session {\n key a:{id}\n}":                          "for the sessions of an application",
		"session {\n touch 10s\n}":                           "at least 2m0s",
		"session django {\n touch 1m\n}":                     "at least 2m0s",
		"session php {\n secret x\n}":                        "remove 'secret'",
		"session laravel {\n secret x\n}":                    "an APP_KEY has 1 bytes",
		"session express {\n secret {env.NOT_SET_AT_ALL}\n}": "NOT_SET_AT_ALL",
		"session django {\n key {id}\n}":                     "lets clients name any key",
		"session django {\n decode yaml\n}":                  "unknown format",
		"session custom {\n cookie a\n}":                     "are all needed",
		"session django {\n user a..b\n}":                    "a name is empty",
		"session django {\n claim name\n}":                   "wrong argument count",
		"session django {\n cokie a\n}":                      "did you mean 'cookie'?",
		"session django {\n csrf on\n}":                      "wrong argument count",
		"session custom {\n key a:{id}{id}}":                 "",
	} {
		require.ErrorContains(t, guesttest.Load(t, guesttest.NewHost(), new(Authenticator), config), want, config)
	}
}
