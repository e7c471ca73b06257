package token

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/records"
)

func TestT03OwnTokens(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice", Name: "Alice", Email: "alice@example.com", Groups: []string{"sales"}}))
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token"))
	good, _, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice", Label: "ci", Groups: []string{"staff"}, Scopes: []string{"read"}}, time.Hour)
	require.NoError(t, err)

	who, err := guesttest.Ask(t, a, "Authorization: token "+good)
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
	assert.Equal(t, []string{"staff"}, who.Groups)
	assert.Equal(t, []string{"read"}, who.Scopes)
	assert.Equal(t, "token", who.Method)
	assert.Equal(t, "Alice", who.Name)
	assert.Equal(t, "alice@example.com", who.Email)
	assert.Equal(t, "ci", who.Claims["token_name"])

	for name, c := range map[string]struct{ header, detail string }{
		"alone":          {"Token", "Invalid token header. No credentials provided."},
		"two values":     {"Token a b", "Invalid token header. Token string should not contain spaces."},
		"not ASCII":      {"Token \xff", "Invalid token header. Token string should not contain invalid characters."},
		"unknown":        {"Token 0123456789012345678901234567890123456789", "Invalid token."},
		"wrong checksum": {"Token " + good[:len(good)-1] + "~", "Invalid token."},
		"cut":            {"Token " + good[:len(good)-2], "Invalid token."},
		"long":           {"Token " + strings.Repeat("a", 600), "Invalid token."},
	} {
		_, err := guesttest.Ask(t, a, "Authorization: "+c.header)
		var rejected *authenticators.RejectedError
		if assert.ErrorAs(t, err, &rejected, name) {
			assert.Equal(t, c.detail, rejected.Detail, name)
			assert.NotContains(t, rejected.Error(), good, name)
		}
	}
	_, err = guesttest.Ask(t, a, "Authorization: Bearer "+good)
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
}

func TestT21TypoCostsNoLookUp(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token"))
	_, err := guesttest.Ask(t, a, "Authorization: Token ea_"+strings.Repeat("a", 49))
	require.Error(t, err)
	assert.Zero(t, host.Records.Reads)
}

func TestT33T34RevokedAndExpiredTokensAreRejected(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	now := time.Now()
	host.Records.Now = func() time.Time { return now }
	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice"}))
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token"))
	short, _, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice"}, time.Minute)
	require.NoError(t, err)
	long, token, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice"}, 0)
	require.NoError(t, err)
	now = now.Add(time.Minute)
	var rejected *authenticators.RejectedError
	_, err = guesttest.Ask(t, a, "Authorization: Token "+short)
	require.ErrorAs(t, err, &rejected)

	_, err = guesttest.Ask(t, a, "Authorization: Token "+long)
	require.NoError(t, err)
	require.NoError(t, records.RevokeToken(t.Context(), host.Records, token.ID))
	_, err = guesttest.Ask(t, a, "Authorization: Token "+long)
	require.ErrorAs(t, err, &rejected)
}

func TestStoreThatDoesNotAnswerIsNoVerdict(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	host.Records.Fail = errors.New("connection refused")
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token {\n cookie tok\n scheme Token\n}"))
	for _, header := range []string{"Authorization: Token 0123456789012345678901234567890123456789", "Cookie: tok=0123456789012345678901234567890123456789"} {
		_, err := guesttest.Ask(t, a, header)
		var rejected *authenticators.RejectedError
		require.Error(t, err)
		require.NotErrorIs(t, err, authenticators.ErrNoCredential)
		require.NotErrorAs(t, err, &rejected)
	}
}

func TestT04T05ForeignLayouts(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	put := func(key, value string) {
		require.NoError(t, host.Others.Put(t.Context(), key, []byte(value), 0))
	}
	put("tok:abc", `{"owner":{"id":7},"roles":["x"]}`)
	put("bare:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "bob")
	put("tok:bad", `{"owner":`)
	object, bare := new(Authenticator), new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, object, "token {\n key tok:{token}\n user owner.id\n claim groups roles\n id_prefix app:\n}"))
	require.NoError(t, guesttest.Load(t, host, bare, "token {\n header X-API-Key\n key bare:{sha256}\n}"))

	who, err := guesttest.Ask(t, object, "Authorization: Token abc")
	require.NoError(t, err)
	assert.Equal(t, "app:7", who.ID)
	assert.Equal(t, []string{"x"}, who.Groups)
	who, err = guesttest.Ask(t, bare, "X-Api-Key: abc")
	require.NoError(t, err)
	assert.Equal(t, "bob", who.ID)

	reads := host.Others.Reads
	for _, token := range []string{"*", "a:b", "a?c", "[a]bc", "a%c", "{abc}"} {
		_, err := guesttest.Ask(t, object, "Authorization: Token "+token)
		var rejected *authenticators.RejectedError
		require.ErrorAs(t, err, &rejected, token)
	}
	assert.Equal(t, reads, host.Others.Reads, "nothing that could leave the pattern is asked for")
	_, err = guesttest.Ask(t, object, "Authorization: Token bad")
	var rejected *authenticators.RejectedError
	require.ErrorAs(t, err, &rejected)
}

func TestBearerIsSharedByShape(t *testing.T) {
	t.Parallel()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "token {\n scheme Bearer Token\n}"))
	assert.Equal(t, []string{"authorization bearer", "authorization token"}, a.SharedSchemes())
	assert.Equal(t, `Bearer realm="api"`, a.Challenge())
	var rejected *authenticators.RejectedError
	_, err := guesttest.Ask(t, a, "Authorization: Bearer eyJh.eyJz.c2ln")
	require.ErrorAs(t, err, &rejected, "alone it takes all")
	require.NoError(t, a.ShareScheme("authorization bearer", authenticators.Sharing{a, takesJWTs{}}))
	_, err = guesttest.Ask(t, a, "Authorization: Bearer eyJh.eyJz.c2ln")
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
	_, err = guesttest.Ask(t, a, "Authorization: Token eyJh.eyJz.c2ln")
	require.ErrorAs(t, err, &rejected, "nobody else reads that scheme")
	_, err = guesttest.Ask(t, a, "Authorization: Bearer ya29.opaque")
	require.ErrorAs(t, err, &rejected)
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"token {\n key tok\n}":                        "exactly one {token} or {sha256}",
		"token {\n key {token}\n}":                    "lets clients name any key",
		"token {\n key a:{token}:{token}\n}":          "exactly one",
		"token {\n user id\n}":                        "name their 'key' too",
		"token {\n header Authorization\n}":           "set 'scheme'",
		"token {\n scheme\n}":                         "wrong argument count",
		"token {\n hedaer X-Key\n}":                   "did you mean 'header'?",
		"token x":                                     "wrong argument count",
		"token {\n cookie a\n cookie b\n}":            "stands twice",
		"token {\n csrf {\n trusted_origins x\n }\n}": "scheme and host",
	} {
		require.ErrorContains(t, guesttest.Load(t, guesttest.NewHost(), new(Authenticator), config), want, config)
	}
}
