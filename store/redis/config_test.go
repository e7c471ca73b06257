package redis

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestE23ConfigIsRefusedWithoutShowingSecrets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config Config
		want   string
	}{
		{"nothing", Config{}, "one of a URL"},
		{"two ways", Config{URL: "redis://a", Cluster: []string{"b:1"}}, "one of a URL"},
		{"no address", Config{URL: "http://user:hunter2@host"}, "'http://xxxxx@host' is no address of Redis"},
		{"a user name may be a password too", Config{URL: "http://hunter2@host"}, "'http://xxxxx@host'"},
		{"not even a URL", Config{URL: "redis://:hunter2@host:bad port"}, "no address of Redis"},
		{"password with a question mark", Config{URL: "redis://user:1?hunter2@host"}, "percent-encoded"},
		{"password with a slash", Config{URL: "redis://:1234/hunter2@host"}, "percent-encoded"},
		{"password with a hash", Config{URL: "redis://:1234#hunter2@host"}, "percent-encoded"},
		{"password with an at and a slash", Config{URL: "redis://user:x@y/hunter2@host"}, "percent-encoded"},
		{"certificates unchecked", Config{URL: "rediss://:hunter2@host/0?skip_verify=true"}, "only db="},
		{"options of go-redis", Config{URL: "redis://:hunter2@host/0?read_timeout=1m"}, "only db="},
		{"database", Config{URL: "redis://a", Database: 3}, "names its database itself"},
		{"timeout", Config{URL: "redis://a", Timeout: caddy.Duration(time.Hour)}, "1ms to 1m"},
		{"half a key pair", Config{URL: "rediss://a", TLS: &TLS{Certificate: "x"}}, "both files"},
		{"sentinel nameless", Config{Sentinel: &Sentinel{Addresses: []string{"a:1"}}}, "master's name"},
		{"cache of nothing", Config{URL: "redis://a", Cache: &Cache{MaxAge: 1}}, "1 to 100000000"},
		{"cache with a negative age", Config{URL: "redis://a", Cache: &Cache{Entries: 1, MaxAge: -1}}, "up to 1h"},
		{"cache for a day", Config{URL: "redis://a", Cache: &Cache{Entries: 1, MaxAge: caddy.Duration(24 * time.Hour)}}, "up to 1h"},
		{"staleness of nothing", Config{URL: "redis://a", Cache: &Cache{Entries: 1, MaxStaleness: 1}}, "100ms to 1m"},
		{"staleness of an hour", Config{URL: "redis://a", Cache: &Cache{Entries: 1, MaxStaleness: caddy.Duration(time.Hour)}}, "100ms to 1m"},
		{"cache of more than there is", Config{URL: "redis://a", Cache: &Cache{Entries: 1e9}}, "1 to 100000000"},
		{"cache off and on", Config{URL: "redis://a", Cache: &Cache{Off: true, Entries: 1}}, "cache off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.config.check()
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestCaddyfileGivesTheSameAsJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, caddyfile, json string }{
		{"a URL", `redis redis://h:6379/3`, `{"url": "redis://h:6379/3"}`},
		{"a socket", `redis unix:///run/redis.sock?db=2`, `{"url": "unix:///run/redis.sock?db=2"}`},
		{"all options of a server", `redis {env.REDIS_URL} {
			username {env.REDIS_USER}
			password {env.REDIS_PASSWORD}
			prefix auth:
			timeout 1s
			pool_size 20
			tls {
				ca ca.pem
				certificate cert.pem key.pem
				server_name redis
			}
			cache 1000 {
				max_age 60s
				max_staleness 2s
			}
		}`, `{"url": "{env.REDIS_URL}", "username": "{env.REDIS_USER}", "password": "{env.REDIS_PASSWORD}", "prefix": "auth:",
			"timeout": 1000000000, "pool_size": 20, "tls": {"ca": "ca.pem", "certificate": "cert.pem", "key": "key.pem", "server_name": "redis"},
			"cache": {"entries": 1000, "max_age": 60000000000, "max_staleness": 2000000000}}`},
		{"sentinel", `redis {
			sentinel_password {env.WATCH}
			sentinel mymaster a:1 b:2
			sentinel_username watch
			database 3
		}`, `{"sentinel": {"master": "mymaster", "addresses": ["a:1", "b:2"], "username": "watch", "password": "{env.WATCH}"}, "database": 3}`},
		{"cluster", "redis {\n cluster a:1\n cluster b:2 c:3\n cache off\n}", `{"cluster": ["a:1", "b:2", "c:3"], "cache": {"off": true}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got, want Config
			require.NoError(t, got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.caddyfile)))
			require.NoError(t, json.Unmarshal([]byte(test.json), &want))
			assert.Equal(t, want, got)
			assert.NoError(t, want.Validate())
		})
	}
}

func TestCaddyfileMistakesAreTold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, caddyfile, want string }{
		{"nowhere", `redis`, "one of a URL"},
		{"two URLs", `redis redis://a redis://b`, "argument"},
		{"unknown option", "redis redis://a {\n timeuot 1s\n}", "unknown redis option 'timeuot'; did you mean 'timeout'?"},
		{"no insecure", "redis rediss://a {\n tls {\n insecure\n}\n}", "unknown tls option 'insecure'"},
		{"tls with an argument", "redis rediss://a {\n tls ca.pem\n}", "argument"},
		{"unknown cache option", "redis redis://a {\n cache 10 {\n age 1s\n}\n}", "unknown cache option"},
		{"options of no cache", "redis redis://a {\n cache off {\n max_age 1s\n}\n}", "takes no options"},
		{"no cache size", "redis redis://a {\n cache many\n}", "number of entries"},
		{"negative age", "redis redis://a {\n cache 10 {\n max_age -1s\n}\n}", "max_age -1s"},
		{"timeout twice", "redis redis://a {\n timeout 1s\n timeout 2s\n}", "timeout stands twice"},
		{"database twice", "redis {\n sentinel m a:1\n database 0\n database 2\n}", "database stands twice"},
		{"sentinel twice", "redis {\n sentinel m a:1\n sentinel n a:1\n}", "sentinel stands twice"},
		{"tls twice", "redis rediss://a {\n tls {\n}\n tls {\n}\n}", "tls stands twice"},
		{"cache twice", "redis redis://a {\n cache 1\n cache off\n}", "cache stands twice"},
		{"certificate twice", "redis rediss://a {\n tls {\n certificate a b\n certificate c d\n}\n}", "certificate stands twice"},
		{"half a certificate", "redis rediss://a {\n tls {\n certificate a\n}\n}", "argument"},
		{"no pool", "redis redis://a {\n pool_size 0\n}", "at least 1"},
		{"database of a URL", "redis redis://a {\n database 2\n}", "names its database itself"},
		{"sentinel's name alone", "redis {\n sentinel mymaster\n}", "argument"},
		{"password of no sentinel", "redis redis://a {\n sentinel_password x\n}", "go with 'sentinel'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, new(Config).UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.caddyfile)), test.want)
		})
	}
}

func TestKeyTellsStoresApartAndShowsNoSecret(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	base := func() Config { return Config{URL: "redis://h:1/0", Password: "{env.EDGE_AUTH_TEST_SECRET}"} }
	key := func(c Config) string {
		t.Helper()
		require.NoError(t, c.prepare())
		return c.Key()
	}
	t.Setenv("EDGE_AUTH_TEST_SECRET", "hunter2")
	first := key(base())
	assert.Equal(t, first, key(base()))
	assert.NotContains(t, first, "hunter2")
	cached := base()
	cached.Cache = &Cache{Entries: 5, MaxAge: 7}
	assert.Equal(t, first, key(cached), "how much is kept is none of the connection's business")
	cached.Cache = &Cache{Off: true}
	assert.NotEqual(t, first, key(cached), "whether changes are heard is")

	watched := Config{Sentinel: &Sentinel{Master: "m", Addresses: []string{"a:1"}, Password: "{env.EDGE_AUTH_TEST_SECRET}"}}
	firstWatched := key(watched)
	t.Setenv("EDGE_AUTH_TEST_SECRET", "changed")
	assert.NotEqual(t, first, key(base()), "a password that has changed")
	assert.NotEqual(t, firstWatched, key(watched), "a sentinel's password that has changed")

	require.NoError(t, os.WriteFile(ca, []byte("no certificate"), 0o600))
	withCA := base()
	withCA.TLS = &TLS{CA: ca}
	require.ErrorContains(t, withCA.prepare(), "no certificate in PEM")
	encrypted, prefixed := base(), base()
	encrypted.URL, prefixed.Prefix = "rediss://h:1/0", "other:"
	seen := map[string]bool{key(base()): true}
	for _, c := range []Config{encrypted, prefixed, {URL: "redis://h:1/1"}, {Cluster: []string{"h:1"}}} {
		k := key(c)
		assert.False(t, seen[k])
		seen[k] = true
	}
}

func TestPlaceholderThatIsUnknownIsToldAtLoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"url":      {URL: "{env.EDGE_AUTH_TEST_NEVER_SET}"},
		"password": {URL: "redis://h", Password: "{env.EDGE_AUTH_TEST_NEVER_SET}"},
		"sentinel": {Sentinel: &Sentinel{Master: "m", Addresses: []string{"a:1"}, Password: "{env.EDGE_AUTH_TEST_NEVER_SET}"}},
	} {
		require.ErrorContains(t, c.prepare(), "EDGE_AUTH_TEST_NEVER_SET", name)
	}
}

func TestCacheIsOnUnlessItIsOff(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cache     *Cache
		staleness time.Duration
		want      store.Cache
	}{
		"unset": {nil, 2 * time.Second, store.Cache{Entries: 100_000, MaxAge: time.Minute}},
		"off":   {&Cache{Off: true}, 0, store.Cache{Entries: 1, MaxAge: time.Minute}},
		"size":  {&Cache{Entries: 10}, 2 * time.Second, store.Cache{Entries: 10, MaxAge: time.Minute}},
		"all": {
			&Cache{Entries: 10, MaxAge: caddy.Duration(time.Second), MaxStaleness: caddy.Duration(time.Second / 2)},
			time.Second / 2,
			store.Cache{Entries: 10, MaxAge: time.Second},
		},
	} {
		c := &Config{URL: "redis://127.0.0.1:1", Cache: test.cache}
		require.NoError(t, c.check(), name)
		assert.Equal(t, test.staleness, c.staleness(), name)
		assert.Equal(t, test.want, c.Caching(), name)
	}
}

func TestNothingIsDialledBeforeTheFirstUse(t *testing.T) {
	t.Parallel()
	c := &Config{URL: "redis://127.0.0.1:1"}
	require.NoError(t, c.prepare())
	handle, err := c.New()
	require.NoError(t, err)
	assert.Nil(t, handle.(*Store).client)
	require.NoError(t, handle.Destruct())
	require.ErrorIs(t, handle.Ping(t.Context()), errClosed, "what was given back stays closed")
}
