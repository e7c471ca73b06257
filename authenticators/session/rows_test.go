package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestS05S13SettingsThatWouldOpenMoreAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, says string }{
		"S05 nothing but the id":           {"session custom {\n cookie a\n key {id}\n decode json\n user u\n}", "lets clients name any key"},
		"S05 the id twice":                 {"session custom {\n cookie a\n key s:{id}:{id}\n decode json\n user u\n}", "exactly one {id}"},
		"S05 no id":                        {"session custom {\n cookie a\n key s:\n decode json\n user u\n}", "exactly one {id}"},
		"S05 another placeholder":          {"session custom {\n cookie a\n key s:{token}\n decode json\n user u\n}", "exactly one {id}"},
		"S05 of a preset":                  {"session django {\n key {id}\n}", "lets clients name any key"},
		"S13 Express without a secret":     {"session express", "'secret' is needed"},
		"S13 Fastify without a secret":     {"session fastify", "'secret' is needed"},
		"S13 Laravel without a secret":     {"session laravel", "'secret' is needed"},
		"S13 hapi without a secret":        {"session hapi", "'secret' is needed"},
		"S13 koa without a secret":         {"session koa", "'secret' is needed"},
		"S13 gorilla without a secret":     {"session gorilla", "'secret' is needed"},
		"S13 Django's signed, without":     {"session django-signed", "'secret' is needed"},
		"S13 an empty secret":              {"session express {\n secret \"\"\n}", "empty secret"},
		"S13 a signature without a secret": {"session custom {\n cookie a\n key s:{id}\n decode json\n user u\n signature express\n}", "'secret' is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, guesttest.Load(t, guesttest.NewHost(), new(Authenticator), c.config), c.says)
		})
	}
}

// untouchable is a store that can be read and not be written.
type untouchable struct {
	store.Store
	store.Foreign

	tried int
}

var errReadOnly = errors.New("READONLY You can't write against a read only replica")

func (u *untouchable) Get(ctx context.Context, key string) (store.Record, error) {
	if u.Store != nil {
		return u.Store.Get(ctx, key)
	}
	return u.Foreign.Get(ctx, key)
}

func (u *untouchable) Touch(context.Context, string, time.Duration) error {
	u.tried++
	return errReadOnly
}

func (u *untouchable) Extend(context.Context, string, time.Duration) error {
	u.tried++
	return errReadOnly
}

func TestS53SessionThatCannotBeTouchedIsGoodAllTheSame(t *testing.T) {
	t.Parallel()
	own, host := loaded(t, "session {\n touch 30m\n}")
	id, err := records.NewSession(t.Context(), host.Records, records.Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	readOnly := &untouchable{Store: host.Records}
	own.store = readOnly
	who, err := guesttest.Ask(t, own, "Cookie: __Host-edge_auth="+id)
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
	assert.Equal(t, 1, readOnly.tried)

	others, host := loaded(t, "session custom {\n cookie sid\n key app:{id}\n decode json\n user u\n touch 30m\n}")
	require.NoError(t, host.Others.Put(t.Context(), "app:1", []byte(`{"u":"bob"}`), time.Minute))
	readOnly = &untouchable{Foreign: host.Others}
	others.app.store = readOnly
	who, err = guesttest.Ask(t, others, "Cookie: sid=1")
	require.NoError(t, err)
	assert.Equal(t, "bob", who.ID)
	assert.Equal(t, 1, readOnly.tried)
}

// Bodies that are no session, whoever wrote them.
func TestS34S35HostileJSONIsNobodysSession(t *testing.T) {
	t.Parallel()
	a, host := loaded(t, "session custom {\n cookie sid\n key app:{id}\n decode json\n user owner\n}")
	for name, body := range map[string]string{
		"S34 a member twice":     `{"owner":"alice","owner":"root"}`,
		"S34 a name with a dot":  `{"own.er":"root"}`,
		"S34 a prototype":        `{"__proto__":{"owner":"root"}}`,
		"S35 lists in lists":     `{"owner":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`,
		"S35 objects in objects": strings.Repeat(`{"owner":`, 5000) + "1" + strings.Repeat("}", 5000),
		"S35 escapes":            `{"owner":"` + strings.Repeat(`\u0061`, 10_000) + `"}`,
		"S35 more behind":        `{"owner":"root"}{}`,
		"S35 a half escape":      `{"owner":"\ud800"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := strings.Map(func(c rune) rune {
				if c == ' ' {
					return '-'
				}
				return c
			}, name)
			require.NoError(t, host.Others.Put(t.Context(), "app:"+id, []byte(body), 0))
			who, err := guesttest.Ask(t, a, "Cookie: sid="+id)
			require.Error(t, err)
			assert.Nil(t, who)
		})
	}
}
