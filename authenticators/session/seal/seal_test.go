package seal

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sealed is a cookie of a real framework.
type sealed struct {
	name          string
	open          Signature
	cookie        string
	value, beside string
	secret, id    string
	capturedAt    time.Time
	boundToName   bool
}

const secret = "s3cr3t-key-for-research-only-0123456789abcdef"

// capture is one of ../testdata.
type capture struct {
	ID         string            `json:"id"`
	CookieName string            `json:"cookie_name"`
	Value      string            `json:"cookie_value"`
	Extra      map[string]string `json:"extra_cookies"`
	CapturedAt time.Time         `json:"captured_at"`
	Key        string            `json:"redis_key"`
}

// captured returns the capture with an id.
func captured(t testing.TB, id string) capture {
	t.Helper()
	text, err := os.ReadFile("../testdata/captures.jsonl")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var c capture
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		if c.ID == id {
			c.Value, err = url.PathUnescape(c.Value)
			require.NoError(t, err)
			return c
		}
	}
	require.Fail(t, "no capture "+id)
	return capture{}
}

func allSealed(t testing.TB) []sealed {
	t.Helper()
	var all []sealed
	add := func(id, prefix, secret string, open Signature, bound bool) {
		c := captured(t, id)
		all = append(all, sealed{
			name: id, open: open, cookie: c.CookieName, value: c.Value, beside: c.Extra[c.CookieName+".sig"],
			secret: secret, id: strings.TrimPrefix(c.Key, prefix), capturedAt: c.CapturedAt, boundToName: bound,
		})
	}
	laravelKey, err := LaravelKeys([]string{"base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
	require.NoError(t, err)
	add("express5-connect_redis10/login-alice", "sess:", secret, Express, false)
	add("fastify-session-connect_redis10/login-alice", "sess:", secret, Fastify, false)
	add("fastify-session-express-compat/login-alice", "sess:", secret, Fastify, false)
	add("koa-generic-session-koa_redis/login-alice", "koa:sess:", secret, Keygrip, true)
	add("flask31-flask_session08-msgpack-signed/login-nested", "session:", secret, Itsdangerous, false)
	add("hapi-yar-catbox_redis/login-zoe", "app:!%40hapi%2Fyar:", secret, Iron, false)
	add("go-gorilla-boj_redistore-gob/login-nested", "session_", secret, Gorilla, true)
	add("laravel8-redis/login-zoe", "laravel_database_laravel_cache:", laravelKey[0], Laravel, true)
	add("laravel8-redis-gcm-appname/login-zoe", "my_shop_database_my_shop_cache:", laravelKey[0], Laravel, true)
	for _, r := range railsCookies(t) {
		if r.ID != "" {
			all = append(all, sealed{name: "rails " + r.Name, open: Rails, cookie: r.Cookie, value: r.Value, secret: r.Secret, id: r.ID, boundToName: true})
		}
	}
	return all
}

type railsCookie struct{ Name, Secret, Cookie, Value, ID string }

func railsCookies(t testing.TB) (all []railsCookie) {
	t.Helper()
	text, err := os.ReadFile("testdata/rails.jsonl")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var r railsCookie
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		all = append(all, r)
	}
	require.Len(t, all, 8)
	return all
}

func (s sealed) clock() time.Time { return s.capturedAt }

func TestS10SealsOfRealFrameworksAreOpened(t *testing.T) {
	t.Parallel()
	for _, s := range allSealed(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			other := strings.Repeat("x", len(s.secret))
			for _, secrets := range [][]string{{s.secret}, {other, s.secret}, {s.secret, other}} {
				id, err := s.open(secrets, s.clock)(s.cookie, s.value, s.beside)
				require.NoError(t, err)
				assert.Equal(t, s.id, id)
			}
			for _, secrets := range [][]string{nil, {other}, {""}, {s.secret[1:] + "x"}} {
				_, err := s.open(secrets, s.clock)(s.cookie, s.value, s.beside)
				require.ErrorIs(t, err, ErrForged)
			}
			if s.boundToName {
				_, err := s.open([]string{s.secret}, s.clock)("other", s.value, s.beside)
				require.ErrorIs(t, err, ErrForged, "a cookie of another name")
			}
		})
	}
}

// A change either breaks the seal or is none: it never leads to another id.
func TestS10S11ChangedSealsAreForged(t *testing.T) {
	t.Parallel()
	for _, s := range allSealed(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			open := s.open([]string{s.secret}, s.clock)
			broken, tried := 0, 0
			try := func(value, beside string) {
				tried++
				id, err := open(s.cookie, value, beside)
				if err != nil {
					broken++
					require.Equal(t, ErrForged, err, "all failures look alike")
					return
				}
				require.Equal(t, s.id, id)
			}
			for i := range s.value {
				for _, c := range []string{"A", "9", "=", ".", "", "%", "\x00"} {
					if c != s.value[i:i+1] {
						try(s.value[:i]+c+s.value[i+1:], s.beside)
					}
				}
				try(s.value[:i], s.beside)
				try(s.value+s.value[:i], s.beside)
			}
			for i := range s.beside {
				try(s.value, s.beside[:i])
				try(s.value, s.beside[:i]+"_"+s.beside[i+1:])
			}
			try("", "")
			try(strings.Repeat("A", 100_000), s.beside)
			assert.Greater(t, broken, tried*9/10)
		})
	}
}

func TestExpressDemandsItsPrefixAndFastifyDoesNot(t *testing.T) {
	t.Parallel()
	c := captured(t, "express5-connect_redis10/login-alice")
	value, ok := strings.CutPrefix(c.Value, "s:")
	require.True(t, ok)
	_, err := Express([]string{secret}, nil)(c.CookieName, value, "")
	require.ErrorIs(t, err, ErrForged)
	for _, value := range []string{value, c.Value} {
		_, err := Fastify([]string{secret}, nil)(c.CookieName, value, "")
		require.NoError(t, err)
	}
}

func TestS32SealsEndByTheClock(t *testing.T) {
	t.Parallel()
	gorilla := captured(t, "go-gorilla-boj_redistore-gob/login-nested")
	open := func(after time.Duration) error {
		_, err := Gorilla([]string{secret}, func() time.Time { return gorilla.CapturedAt.Add(after) })(gorilla.CookieName, gorilla.Value, "")
		return err
	}
	require.NoError(t, open(29*24*time.Hour))
	require.ErrorIs(t, open(31*24*time.Hour), ErrForged)
	assert.True(t, ended("999", time.UnixMilli(1000)))
	assert.True(t, ended("1000", time.UnixMilli(1000)))
	assert.True(t, ended("1e9", time.UnixMilli(1000)), "no number")
	assert.False(t, ended("1001", time.UnixMilli(1000)))
	assert.False(t, ended("", time.UnixMilli(1000)))
}

func TestS10RailsCookiesAreBoundToTheirName(t *testing.T) {
	t.Parallel()
	for _, r := range railsCookies(t) {
		id, err := Rails([]string{r.Secret}, nil)(r.Cookie, r.Value, "")
		assert.Equal(t, r.ID, id, r.Name)
		assert.Equal(t, r.ID == "", err != nil, r.Name)
	}
}

// The text and signature are Django's own.
func TestS10DjangosSignatureIsChecked(t *testing.T) {
	t.Parallel()
	const key = "oracle-secret-key-0123456789abcdefghijklmnopqrstuvwxyz"
	const signed = "e30:1xVTsi:rs4fyIfWYhyq0sO4LE2WeFv6ewb-mY_PzF3okNih4ZU"
	payload, err := Django([]string{"x", key})([]byte(signed))
	require.NoError(t, err)
	assert.Equal(t, "{}", string(payload))
	for i := range signed {
		_, err := Django([]string{key})([]byte(signed[:i] + "A" + signed[i+1:]))
		require.Error(t, err, i)
		_, err = Django([]string{key})([]byte(signed[:i]))
		require.Error(t, err, i)
	}
	_, err = Django([]string{"x"})([]byte(signed))
	require.ErrorIs(t, err, ErrForged)
}

func TestLaravelKeysAreChecked(t *testing.T) {
	t.Parallel()
	keys, err := LaravelKeys([]string{"0123456789abcdef", "base64:" + base64.StdEncoding.EncodeToString(make([]byte, 32))})
	require.NoError(t, err)
	assert.Len(t, keys[1], 32)
	for _, bad := range []string{"short", "base64:", "base64:!", "base64:AAAA"} {
		_, err := LaravelKeys([]string{bad})
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), bad+" ", "a secret is not shown")
	}
}

func TestWhatIsOnlyEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	text, err := Base64("YWJj")
	require.NoError(t, err)
	assert.Equal(t, "abc", text)
	for _, bad := range []string{"YWJ", "*", strings.Repeat("AAAA", 5000)} {
		_, err := Base64(bad)
		require.ErrorIs(t, err, ErrForged)
	}
}

func FuzzOpen(f *testing.F) {
	all := allSealed(f)
	sealed := make(map[string]bool) // several frameworks share a secret here
	for i, s := range all {
		f.Add(uint8(i), s.value, s.beside) //nolint:gosec // few
		sealed[s.id] = true
	}
	f.Fuzz(func(t *testing.T, which uint8, value, beside string) {
		s := all[int(which)%len(all)]
		id, err := s.open([]string{s.secret}, s.clock)(s.cookie, value, beside)
		if err == nil && !sealed[id] {
			t.Fatalf("opened to %q", id)
		}
		if err != nil && err != ErrForged { //nolint:errorlint // all failures look alike
			t.Fatal(err)
		}
	})
}
