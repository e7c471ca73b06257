package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

func parse(text string) (*Authenticator, error) {
	a := new(Authenticator)
	return a, a.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
}

func TestCaddyfileOptionsAreRead(t *testing.T) {
	t.Parallel()
	a, err := parse("session")
	require.NoError(t, err)
	assert.Equal(t, &Authenticator{}, a)

	a, err = parse("session {\n cookie sid\n touch 1h\n id_prefix own-\n csrf {\n  trusted_origins https://a.example https://b.example\n }\n}")
	require.NoError(t, err)
	assert.Equal(t, &Authenticator{
		Cookie: "sid", Touch: caddy.Duration(time.Hour), IDPrefix: "own-",
		CSRF: &authenticators.CSRF{TrustedOrigins: []string{"https://a.example", "https://b.example"}},
	}, a)

	a, err = parse("session custom {\n cookie app\n key app:{id}\n decode pickle\n user user.id\n claim groups user.roles\n claim email user.mail\n redis redis://127.0.0.1:6380/1\n csrf off\n}")
	require.NoError(t, err)
	assert.Equal(t, &Authenticator{
		Preset: "custom", Cookie: "app", Key: "app:{id}", Decode: "pickle", User: "user.id", Redis: "redis://127.0.0.1:6380/1",
		Claims: []identity.ClaimPath{{Name: "groups", Path: "user.roles"}, {Name: "email", Path: "user.mail"}},
		CSRF:   &authenticators.CSRF{Off: true},
	}, a)
	require.NoError(t, a.Validate())
}

func TestCaddyfileMistakesAreToldAtLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"unknown preset", "session djago", "unknown session preset 'djago'; did you mean 'django'?"},
		{"unknown preset, nothing near", "session perl", "custom, django, django-signed, express"},
		{"two presets", "session django custom", "wrong argument count"},
		{"unknown option", "session {\n coookie a\n}", "did you mean 'cookie'?"},
		{"option twice", "session {\n cookie a\n cookie b\n}", "cookie stands twice"},
		{"csrf twice", "session {\n csrf off\n csrf off\n}", "stands twice"},
		{"no value", "session {\n cookie\n}", "wrong argument count"},
		{"two values", "session {\n cookie a b\n}", "wrong argument count"},
		{"secret", "session php {\n secret x\n}", "remove 'secret'"},
		{"no secret", "session express", "'secret' is needed"},
		{"empty secret", "session express {\n secret \"\"\n}", "an empty secret"},
		{"signature of a preset", "session php {\n signature express\n secret x\n}", "is for 'session custom'"},
		{"unknown signature", "session custom {\n cookie a\n signature expres\n}", "did you mean 'express'?"},
		{"decode of hashes", "session spring {\n decode json\n}", "remove 'decode'"},
		{"secret of our own", "session {\n secret a\n}", "for the sessions of an application"},
		{"touch of nothing", "session {\n touch soon\n}", "a duration such as"},
		{"touch too short", "session {\n touch 1m\n}", "at least 2m"},
		{"touch too short of others' sessions", "session django {\n touch 1m\n}", "at least 2m"},
		{"key of our own", "session {\n key a:{id}\n}", "for the sessions of an application"},
		{"decode of our own", "session {\n decode json\n}", "for the sessions of an application"},
		{"user of our own", "session {\n user a\n}", "for the sessions of an application"},
		{"claim of our own", "session {\n claim a b\n}", "for the sessions of an application"},
		{"redis of our own", "session {\n redis redis://127.0.0.1\n}", "for the sessions of an application"},
		{"key without {id}", "session django {\n key sess:\n}", "exactly one {id}"},
		{"key with two {id}", "session django {\n key {id}:{id}\n}", "exactly one {id}"},
		{"key of nothing but {id}", "session django {\n key {id}\n}", "lets clients name any key"},
		{"unknown format", "session django {\n decode jsn\n}", "did you mean 'json'?"},
		{"custom without a cookie", "session custom {\n key a:{id}\n decode json\n user id\n}", "all needed"},
		{"custom without a format", "session custom {\n cookie a\n key a:{id}\n user id\n}", "all needed"},
		{"custom without a user", "session custom {\n cookie a\n key a:{id}\n decode json\n}", "all needed"},
		{"custom without a key", "session custom {\n cookie a\n decode json\n user id\n}", "all needed"},
		{"path with an empty name", "session django {\n user a..b\n}", "a name is empty"},
		{"claim mapped twice", "session django {\n claim a b\n claim a c\n}", "mapped twice"},
		{"csrf off beside origins", "session {\n csrf off {\n  trusted_origins https://a.example\n }\n}", "leave its other options out"},
		{"origin without a scheme", "session {\n csrf {\n  trusted_origins a.example\n }\n}", "scheme and host are needed"},
		{"cookie that no browser can send", "session {\n cookie a;b\n}", "cookie 'a;b'"},
		{"cookie with an equals sign", "session django {\n cookie a=b\n}", "cookie 'a=b'"},
		{"prefix that no id can have", "session {\n id_prefix \" x\"\n}", "id_prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(c.text)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A config may come as JSON, past the Caddyfile.
func TestJSONMistakesAreToldAtLoad(t *testing.T) {
	t.Parallel()
	for _, a := range []*Authenticator{
		{Preset: "djago"}, {Key: "a:{id}"}, {Preset: "django", Touch: caddy.Duration(time.Second)}, {Preset: "custom"}, {Cookie: "a b"},
	} {
		require.Error(t, a.Validate())
		assert.Error(t, a.check())
	}
}
