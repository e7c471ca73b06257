package session

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/redis"
)

// capture is a request with a session cookie of a real framework, what that kept
// in Redis then, and whom it took the request for.
type capture struct {
	ID           string            `json:"id"`
	Kind         string            `json:"kind"`
	Caddyfile    string            `json:"caddyfile"`
	CapturedAt   time.Time         `json:"captured_at"`
	CookieName   string            `json:"cookie_name"`
	CookieValue  string            `json:"cookie_value"`
	ExtraCookies map[string]string `json:"extra_cookies"`
	Key          string            `json:"redis_key"`
	TTL          int               `json:"ttl_s"`
	Value        []byte            `json:"value_base64"`
	User         string            `json:"user"`
	Username     string            `json:"username"`
	UsernamePath []any             `json:"username_path"`
}

func captures(t testing.TB) []capture {
	t.Helper()
	file, err := os.ReadFile("testdata/captures.jsonl")
	require.NoError(t, err)
	var all []capture
	for line := range strings.Lines(string(file)) {
		var c capture
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		all = append(all, c)
	}
	return all
}

// lenient are captures in which PHP overlooks that base64 has been tampered
// with. Here they are nobody's.
func (c capture) lenient() bool {
	return c.Kind == "tampered" && c.User != "" && strings.HasPrefix(c.ID, "laravel")
}

// inRedis lends a guest a real Redis.
type inRedis struct {
	*guesttest.Host
	others store.Foreign
}

func (h inRedis) Foreign(string, string) (store.Foreign, error) { return h.others, nil }

// TestSessionsOfRealFrameworksAreTheirUsers asks for one capture after the other,
// since many share a key.
func TestSessionsOfRealFrameworksAreTheirUsers(t *testing.T) { //nolint:paralleltest // see above
	server := redistest.Start(t)
	config, err := redis.At(server.URL(), 10*time.Second)
	require.NoError(t, err)
	handle, err := config.New()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handle.Destruct()) })
	host := inRedis{guesttest.NewHost(), handle.(store.ForeignReader).Foreign()} //nolint:errcheck,forcetypeassert // Redis is one

	all := captures(t)
	require.Len(t, all, 575)
	for _, c := range all {
		t.Run(c.ID, func(t *testing.T) { //nolint:paralleltest // see above
			server.Do(t, "FLUSHALL")
			if c.Value != nil {
				server.Do(t, "SET", c.Key, string(c.Value))
			}
			if c.Value != nil && c.TTL > 0 {
				server.Do(t, "EXPIRE", c.Key, strconv.Itoa(c.TTL))
			}
			a := &Authenticator{now: func() time.Time { return c.CapturedAt }}
			require.NoError(t, guesttest.Load(t, host, a, c.config()))
			who, err := guesttest.Ask(t, a, c.cookies())
			if c.User == "" || c.lenient() {
				require.ErrorIs(t, err, authenticators.ErrNoCredential)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.User, who.ID)
			assert.Equal(t, c.Username, who.Name)
			assert.Equal(t, "session", who.Method)
			assert.Equal(t, c.TTL <= 0, who.Expires.IsZero())
		})
	}
}

// config is the capture's block with a claim for the name to show.
func (c capture) config() string {
	if c.UsernamePath == nil {
		return c.Caddyfile
	}
	var steps []string
	for i, step := range c.UsernamePath {
		text := fmt.Sprint(step)
		if i == 0 && (text == "session" || text == "item") || c.isSCS() && text == "Values" {
			continue // presets look inside
		}
		steps = append(steps, `"`+text+`"`)
	}
	block, ok := strings.CutSuffix(c.Caddyfile, "\n}")
	if !ok {
		block += " {"
	}
	return block + "\n\tclaim name `" + strings.Join(steps, ".") + "`\n}"
}

func (c capture) isSCS() bool { return strings.HasPrefix(c.ID, "go-scs") }

// cookies is the header with the cookie and those that go along.
func (c capture) cookies() string {
	header := "Cookie: " + c.CookieName + "=" + c.CookieValue
	for name, value := range c.ExtraCookies {
		header += "; " + name + "=" + value
	}
	return header
}
