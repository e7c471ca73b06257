package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// A finding may be kept for no longer than the session is known to live by its own
// clock, and no longer than until it must be touched.
func TestFindingEndsWithTheSessionsOwnClock(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	for name, c := range map[string]struct {
		config, key, value string
		ends               time.Duration // 0: with nothing of its own
	}{
		"express":                     {"session custom {\n cookie sid\n key s:{id}\n decode json\n user u\n}", "s:1", `{"u":"alice"}`, 0},
		"express, touched":            {"session custom {\n cookie sid\n key s:{id}\n decode json\n user u\n touch 5m\n}", "s:1", `{"u":"alice"}`, time.Minute},
		"koa-session that lives long": {"session koa-session {\n cookie sid\n secret x\n}", "koa:sess:1", `{"_expire":1800000031000,"passport":{"user":"alice"}}`, ahead},
		"koa-session that soon ends":  {"session koa-session {\n cookie sid\n secret x\n}", "koa:sess:1", `{"_expire":1800000029000,"passport":{"user":"alice"}}`, -1},
	} {
		host := guesttest.NewHost()
		host.Others.Now = func() time.Time { return now }
		a := &Authenticator{now: func() time.Time { return now }}
		require.NoError(t, guesttest.Load(t, host, a, c.config), name)
		require.NoError(t, host.Others.Put(t.Context(), c.key, []byte(c.value), 10*time.Minute))
		ctx, reads := store.Collecting(t.Context())
		a.app.open = nil
		credential := authenticators.Credential{In: authenticators.InCookie, Name: "sid", Value: "1"}
		if a.app.wholeKey {
			credential.Value = authenticators.Secret(c.key)
		}
		who, err := a.Verify(ctx, credential)
		require.NoError(t, err, name)
		assert.Equal(t, "alice", who.ID)
		_, end, known := reads.Known()
		require.True(t, known)
		switch {
		case c.ends == 0:
			assert.True(t, end.IsZero(), name)
		case c.ends < 0:
			assert.False(t, end.After(now), name)
		default:
			assert.Equal(t, now.Add(c.ends), end, name)
		}
		assert.True(t, a.Holds(who.Basis), name)
	}
}

func TestFindingEndsWithTheSecretsThatOpenedIt(t *testing.T) {
	t.Parallel()
	one, two := basisOf([]string{"a", "b"}), basisOf([]string{"a"})
	assert.NotEqual(t, one, two)
	assert.Equal(t, one, basisOf([]string{"a", "b"}))
	a := &Authenticator{Preset: "express", app: &application{basis: one}}
	assert.True(t, a.Holds(one))
	assert.False(t, a.Holds(two))
}
