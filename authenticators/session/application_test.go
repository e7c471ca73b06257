package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// loaded is an authenticator with sessions in memory.
func loaded(t *testing.T, config string) (*Authenticator, *guesttest.Host) {
	t.Helper()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, config))
	return a, host
}

// signed is a value as Express signs it.
func signed(id, secret string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(id))
	return "s:" + id + "." + base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

func TestS10S11ForgedCookieCostsNoLookUp(t *testing.T) {
	t.Parallel()
	for _, c := range captures(t) {
		if c.Kind != "tampered" || !strings.Contains(c.Caddyfile, "secret") || strings.HasPrefix(c.ID, "django32-redis_sessions") || c.lenient() {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			a := &Authenticator{now: func() time.Time { return c.CapturedAt }}
			require.NoError(t, guesttest.Load(t, host, a, c.Caddyfile))
			_, err := guesttest.Ask(t, a, c.cookies())
			require.ErrorIs(t, err, authenticators.ErrNoCredential)
			assert.Zero(t, host.Others.Reads)
		})
	}
}

func TestC20C35S03OnlyWhatAFrameworkMakesIsLookedUp(t *testing.T) {
	t.Parallel()
	const secret = "a secret"
	for preset, good := range map[string]string{
		"aiohttp": "AIOHTTP_SESSION=" + strings.Repeat("a", 32),
		"fiber":   "session_id=3fa0a5b4-aa67-44ed-a1a5-d4c61baeb590",
		"flask":   "session=9b25aca4-4ea9-4ad3-9a76-64d0973014e6",
		"php":     "PHPSESSID=odtdq5hfJbhXX41i6wfV5YT7EhlLq%2CPqhw",
		"symfony": "PHPSESSID=" + strings.Repeat("a", 26),
		"rack":    "rack.session=" + strings.Repeat("0", 64),
		"sinatra": "rack.session=" + strings.Repeat("0", 64),
		"rails":   "_session_id=" + strings.Repeat("0", 32),
		"scs":     "session=" + strings.Repeat("A", 43),
		"spring":  "SESSION=" + base64.StdEncoding.EncodeToString([]byte("3fa0a5b4-aa67-44ed-a1a5-d4c61baeb590")),
		"express": "connect.sid=" + strings.NewReplacer("+", "%2B", "/", "%2F").Replace(signed("abc-_9", secret)),
	} {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			config := "session " + preset
			if preset == "express" {
				config += " {\n secret `" + secret + "`\n}"
			}
			a, host := loaded(t, config)
			_, err := guesttest.Ask(t, a, "Cookie: "+good)
			require.ErrorIs(t, err, authenticators.ErrNoCredential)
			require.Equal(t, 1, host.Others.Reads, "this one is asked for")
			name, value, _ := strings.Cut(good, "=")
			for _, bad := range []string{
				"*", "?", "[a-z]", "..", "/", "%", "%zz", "%00", "%2A", "%0a", "a:b", "{id}", "{" + value + "}", value + "*", value + ":x", value + "\x00", value + "\r\n",
				value + "%0A", "x:" + value, "é" + value, value + "é", strings.Repeat("a", 16<<10), `"` + value, "",
			} {
				_, err := guesttest.Ask(t, a, "Cookie: "+name+"="+bad)
				require.ErrorIs(t, err, authenticators.ErrNoCredential, "%q", bad)
			}
			_, err = guesttest.Ask(t, a, "Cookie: "+good+"; "+name+"=other")
			require.ErrorIs(t, err, authenticators.ErrNoCredential, "two of one name")
			assert.Equal(t, 1, host.Others.Reads)
		})
	}
}

func TestC34C35CookiesAreReadAsTheFrameworkReadsThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value  cookieValue
		cookie string
		want   string
		ok     bool
	}{
		{cookieValue{}, `"a%41"`, `"a%41"`, true},
		{cookieValue{quoted: true}, `"a%41"`, "a%41", true},
		{cookieValue{quoted: true}, `"a`, `"a`, true},
		{cookieValue{escaped: true}, "a%2Cb+c", "a,b+c", true},
		{cookieValue{escaped: true}, "a%2", "", false},
		{cookieValue{quoted: true, escaped: true}, `"%22a%22"`, `"a"`, true},
	} {
		got, ok := c.value.read(c.cookie)
		assert.Equal(t, c.ok, ok, c.cookie)
		assert.Equal(t, c.want, got, c.cookie)
	}
}

func TestS33UserIDsOfAllKindsArriveAsText(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session custom {\n cookie sid\n key app:{id}\n decode json\n user `user.\"the.id\".0`\n}")
	for value, want := range map[string]string{
		`"alice"`: "alice", `42`: "42", `0`: "0", `-77`: "-77", `9007199254740993`: "9007199254740993", `18446744073709551615`: "18446744073709551615",
		`"6f9619ff-8b86-d011-b42d-00c04fc964ff"`: "6f9619ff-8b86-d011-b42d-00c04fc964ff",
		`true`:                                   "", `null`: "", `1.5`: "", `1e3`: "", `{}`: "", `[]`: "", `""`: "", `"a\u0000"`: "", `"` + strings.Repeat("x", 300) + `"`: "",
	} {
		require.NoError(t, host.Others.Put(t.Context(), "app:1", []byte(`{"user":{"the.id":[`+value+`]}}`), 0))
		who, err := guesttest.Ask(t, a, "Cookie: sid=1")
		if want == "" {
			require.ErrorIs(t, err, authenticators.ErrNoCredential, value)
			continue
		}
		require.NoError(t, err, value)
		assert.Equal(t, want, who.ID)
	}
}

func TestS10CustomSessionsTakeASignatureAndAFormat(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session custom {\n cookie sid\n secret new old\n signature express\n key app:{id}\n decode msgpack\n user uid\n claim groups roles\n}")
	require.NoError(t, host.Others.Put(t.Context(), "app:abc", []byte("\x82\xa3uid\x07\xa5roles\x92\xa1x\xa1y"), 0))
	for _, secret := range []string{"new", "old"} {
		who, err := guesttest.Ask(t, a, "Cookie: sid="+signed("abc", secret))
		require.NoError(t, err)
		assert.Equal(t, "7", who.ID)
		assert.Equal(t, []string{"x", "y"}, who.Groups)
	}
	reads := host.Others.Reads
	for _, value := range []string{signed("abc", "other"), "abc", "s:abc", signed("*", "new")} {
		_, err := guesttest.Ask(t, a, "Cookie: sid="+value)
		require.ErrorIs(t, err, authenticators.ErrNoCredential)
	}
	assert.Equal(t, reads, host.Others.Reads)
}

func TestEachFormatHasAName(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"json": `{"u":7}`, "pickle": "\x80\x04}\x8c\x01uK\x07s.", "msgpack": "\x81\xa1u\x07", "php": "u|i:7;", "php_text": "u|i:7;", "php_binary": "\x01ui:7;",
		"php_serialize": `a:1:{s:1:"u";i:7;}`, "igbinary": "\x00\x00\x00\x02\x14\x01\x11\x01u\x06\x07", "marshal": "\x04\x08{\x06:\x06ui\x0c", "rails": "\x04\x08{\x06:\x06ui\x0c",
		"django": `{"u":7}`, "flask": `{"u":7}`, "symfony": "u|i:7;", "gob": "\r\x7f\x04\x01\x02\xff\x80\x00\x01\x0c\x01\x10\x00\x00\x0e\xff\x80\x00\x01\x01u\x03int\x04\x02\x00\x0e",
	} {
		a, host := loaded(t, "session custom {\n cookie sid\n key app:{id}\n decode "+name+"\n user u\n}")
		require.NoError(t, host.Others.Put(t.Context(), "app:1", []byte(value), 0))
		who, err := guesttest.Ask(t, a, "Cookie: sid=1")
		require.NoError(t, err, name)
		assert.Equal(t, "7", who.ID, name)
	}
	assert.Len(t, decoders, 14)
}

func TestPassportsUserMayBeAnIDOrAnObject(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session express {\n secret x\n}")
	for value, want := range map[string]string{
		`{"passport":{"user":7}}`: "7", `{"passport":{"user":{"id":"u-1","name":"x"}}}`: "u-1", `{"passport":{}}`: "", `{"cookie":{}}`: "",
	} {
		require.NoError(t, host.Others.Put(t.Context(), "sess:abc", []byte(value), 0))
		who, err := guesttest.Ask(t, a, "Cookie: connect.sid="+signed("abc", "x"))
		if want == "" {
			require.ErrorIs(t, err, authenticators.ErrNoCredential)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, want, who.ID)
	}
}

func TestS04CookieOfKoaSessionNamesNoOtherKey(t *testing.T) {
	t.Parallel()
	for _, c := range captures(t) {
		if c.ID != "koa-session-redis/login-alice" {
			continue
		}
		a := &Authenticator{now: func() time.Time { return c.CapturedAt }}
		host := guesttest.NewHost()
		require.NoError(t, guesttest.Load(t, host, a, strings.Replace(c.Caddyfile, "{\n", "{\n\tkey other:sess:{id}\n", 1)))
		_, err := guesttest.Ask(t, a, c.cookies())
		require.ErrorIs(t, err, authenticators.ErrNoCredential, "signed, but of another prefix")
		assert.Zero(t, host.Others.Reads)
		return
	}
	require.Fail(t, "no capture")
}

func TestS32SessionsEndByTheirOwnClock(t *testing.T) {
	t.Parallel()
	for id, lifetime := range map[string]time.Duration{
		"koa-session-redis/login-alice":       24 * time.Hour,
		"hapi-yar-catbox_redis/login-zoe":     24 * time.Hour,
		"go-scs-goredisstore/login-alice":     24 * time.Hour,
		"rails61-cache_store/login-alice":     2 * time.Hour,
		"rails72-cache_store-fmt71/login-big": 2 * time.Hour,
	} {
		found := false
		for _, c := range captures(t) {
			if c.ID != id {
				continue
			}
			found = true
			for _, after := range []time.Duration{0, lifetime - time.Hour, lifetime + time.Hour} {
				host := guesttest.NewHost()
				require.NoError(t, host.Others.Put(t.Context(), c.Key, c.Value, 0))
				a := &Authenticator{now: func() time.Time { return c.CapturedAt.Add(after) }}
				require.NoError(t, guesttest.Load(t, host, a, c.Caddyfile))
				_, err := guesttest.Ask(t, a, c.cookies())
				if after < lifetime {
					require.NoError(t, err, "%s after %s", id, after)
				} else {
					require.ErrorIs(t, err, authenticators.ErrNoCredential, "%s after %s", id, after)
				}
			}
		}
		assert.True(t, found, id)
	}
}

func TestDjangosSignedSessionsAreReadWithTheSecret(t *testing.T) {
	t.Parallel()
	for _, c := range captures(t) {
		if !strings.HasPrefix(c.ID, "django32-redis_sessions") || c.Kind != "login" {
			continue
		}
		for config, want := range map[string]bool{
			c.Caddyfile: true,
			strings.Replace(c.Caddyfile, "django-signed", "django", 1):                 true,
			strings.Replace(c.Caddyfile, "secret s3cr3t", "secret x-s3cr3t", 1):        false,
			strings.Replace(c.Caddyfile, "secret s3cr3t", "secret other s3cr3t", 1):    true,
			"session django {\n\tkey \"session:{id}\"\n}":                              false,
			"session django-signed {\n\tkey \"session:{id}\"\n\tsecret another-one\n}": false,
		} {
			a, host := loaded(t, config)
			require.NoError(t, host.Others.Put(t.Context(), c.Key, c.Value, 0))
			who, err := guesttest.Ask(t, a, c.cookies())
			if want {
				require.NoError(t, err, config)
				assert.Equal(t, c.User, who.ID)
				continue
			}
			var rejected *authenticators.RejectedError
			require.ErrorAs(t, err, &rejected, config)
		}
	}
}

func TestS32S43SpringSessions(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session spring {\n claim tenant sessionAttr:tenant\n}")
	now := time.UnixMilli(1_800_000_000_000)
	a.app.now = func() time.Time { return now }
	const id = "3fa0a5b4-aa67-44ed-a1a5-d4c61baeb590"
	context := `{"@class":"org.springframework.security.core.context.SecurityContextImpl","authentication":{"authenticated":%s,"principal":{"username":"alice"}}}`
	for _, c := range []struct {
		name string
		at   time.Time
		idle string
		auth string
		want bool
	}{
		{"logged in", now, "1800", "true", true},
		{"with classes", now, `["java.lang.Integer",1800]`, "true", true},
		{"not authenticated", now, "1800", "false", false},
		{"just not ended", now.Add(-1799 * time.Second), "1800", "true", true},
		{"ended, and kept for the index", now.Add(-1801 * time.Second), "1800", "true", false},
		{"never ends", now.Add(-1e6 * time.Second), "-1", "true", true},
		{"no clock", now, `"x"`, "true", false},
	} {
		host.Others.PutFields("spring:session:sessions:"+id, map[string][]byte{
			"creationTime": []byte("1"), "lastAccessedTime": fmt.Append(nil, c.at.UnixMilli()), "maxInactiveInterval": []byte(c.idle),
			springContext: fmt.Appendf(nil, context, c.auth), "sessionAttr:tenant": []byte(`"t1"`), "sessionAttr:other": []byte("\xac\xed\x00\x05"),
		})
		who, err := guesttest.Ask(t, a, "Cookie: SESSION="+base64.StdEncoding.EncodeToString([]byte(id+".node1")))
		if !c.want {
			require.ErrorIs(t, err, authenticators.ErrNoCredential, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		assert.Equal(t, "alice", who.ID)
		assert.Equal(t, "t1", identity.Placeholder(who, "claims.tenant"))
	}
	host.Others.PutFields("spring:session:sessions:"+id, map[string][]byte{"lastAccessedTime": []byte("\xac\xed\x00\x05sr")})
	_, err := guesttest.Ask(t, a, "Cookie: SESSION="+base64.StdEncoding.EncodeToString([]byte(id)))
	var rejected *authenticators.RejectedError
	require.ErrorAs(t, err, &rejected, "Java's own serialization is not read")
}

func TestS51TouchExtendsWhereAskedAndNeverShortens(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session custom {\n cookie sid\n key app:{id}\n decode json\n user u\n touch 30m\n}")
	now := time.Now()
	host.Others.Now = func() time.Time { return now }
	left := func(initial, ahead time.Duration) time.Duration {
		require.NoError(t, host.Others.Put(t.Context(), "app:1", []byte(`{"u":1}`), initial))
		now = now.Add(ahead)
		_, err := guesttest.Ask(t, a, "Cookie: sid=1")
		require.NoError(t, err)
		record, err := host.Others.Get(t.Context(), "app:1")
		require.NoError(t, err)
		return record.TTL
	}
	assert.Equal(t, 30*time.Minute, left(10*time.Minute, time.Second))
	assert.Equal(t, 2*time.Hour, left(2*time.Hour, 0))
	assert.Zero(t, left(0, 0), "what has no end gets none")
	assert.Equal(t, 29*time.Minute+30*time.Second, left(30*time.Minute, 30*time.Second), "at most once a minute")

	readOnly, host := loaded(t, "session custom {\n cookie sid\n key app:{id}\n decode json\n user u\n}")
	now = time.Now()
	host.Others.Now = func() time.Time { return now }
	require.NoError(t, host.Others.Put(t.Context(), "app:1", []byte(`{"u":1}`), time.Minute))
	_, err := guesttest.Ask(t, readOnly, "Cookie: sid=1")
	require.NoError(t, err)
	record, err := host.Others.Get(t.Context(), "app:1")
	require.NoError(t, err)
	assert.Equal(t, time.Minute, record.TTL)
}

func TestUnreadableSessionsAreToldOnceAMinute(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session php")
	core, logs := observer.New(zapcore.InfoLevel)
	now := time.Now()
	a.app.logger, a.app.now = zap.New(core), func() time.Time { return now }
	id := strings.Repeat("a", 26)
	require.NoError(t, host.Others.Put(t.Context(), "PHPREDIS_SESSION:"+id, []byte("secret|Z:1;"), 0))
	for range 5 {
		_, err := guesttest.Ask(t, a, "Cookie: PHPSESSID="+id)
		var rejected *authenticators.RejectedError
		require.ErrorAs(t, err, &rejected)
	}
	require.Len(t, logs.All(), 1)
	text := fmt.Sprint(logs.All()[0])
	assert.Contains(t, text, "not what serialize() writes")
	assert.NotContains(t, text, id)
	assert.NotContains(t, text, "secret|")
	now = now.Add(time.Minute)
	_, err := guesttest.Ask(t, a, "Cookie: PHPSESSID="+id)
	require.Error(t, err)
	assert.Len(t, logs.All(), 2)
}

func TestS06S07OutageOfHashesIsNoVerdict(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session spring")
	host.Others.Fail = errors.New("connection refused")
	_, err := guesttest.Ask(t, a, "Cookie: SESSION="+base64.StdEncoding.EncodeToString([]byte("3fa0a5b4-aa67-44ed-a1a5-d4c61baeb590")))
	var rejected *authenticators.RejectedError
	require.Error(t, err)
	require.NotErrorIs(t, err, authenticators.ErrNoCredential)
	require.NotErrorAs(t, err, &rejected)
	for _, fail := range []error{store.ErrTooLarge, store.ErrWrongType} {
		host.Others.Fail = fail
		_, err := guesttest.Ask(t, a, "Cookie: SESSION="+base64.StdEncoding.EncodeToString([]byte("3fa0a5b4-aa67-44ed-a1a5-d4c61baeb590")))
		require.ErrorAs(t, err, &rejected)
	}
}
