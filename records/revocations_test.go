package records

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
)

func TestNamesOfJWTsAreTheirsAlone(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for what, name := range map[string]string{
		"a jti": NameByID("https://a", "1"), "another issuer": NameByID("https://b", "1"), "another jti": NameByID("https://a", "2"),
		"no issuer": NameByID("", "1"), "what the two make together": NameByID("https://a1", ""), "input": NameByInput("https://a\x001"),
	} {
		assert.Empty(t, seen[name], what)
		seen[name] = what
		assert.Len(t, name, 64)
	}
}

func TestRevokedJWTStaysSoForItsTime(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	now := time.Now()
	s.Now = func() time.Time { return now }
	name := NameByID("https://a", "1")
	require.NoError(t, RevokeJWT(t.Context(), s, name, time.Minute))
	for name, want := range map[string]bool{name: true, NameByID("https://b", "1"): false} {
		revoked, err := JWTRevoked(t.Context(), s, name)
		require.NoError(t, err)
		assert.Equal(t, want, revoked)
	}
	now = now.Add(time.Minute)
	revoked, err := JWTRevoked(t.Context(), s, name)
	require.NoError(t, err)
	assert.False(t, revoked, "the token has ended by itself")
	require.Error(t, RevokeJWT(t.Context(), s, name, 0))
}

func TestLoginsBeforeATimeAreRevoked(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	at := time.Unix(1_800_000_000, 700_000_000)
	require.NoError(t, RevokeBefore(t.Context(), s, "alice", at))
	for login, want := range map[time.Time]bool{
		{}: true, at.Add(-time.Hour): true, at.Truncate(time.Second): true, at: true,
		at.Truncate(time.Second).Add(time.Second): false, at.Add(time.Hour): false,
	} {
		revoked, err := LoginRevoked(t.Context(), s, "alice", login)
		require.NoError(t, err)
		assert.Equal(t, want, revoked, "%v", login)
	}
	revoked, err := LoginRevoked(t.Context(), s, "bob", time.Time{})
	require.NoError(t, err)
	assert.False(t, revoked)
	require.Error(t, RevokeBefore(t.Context(), s, "", at))
	s.Now = func() time.Time { return time.Now().AddDate(90, 0, 0) }
	revoked, err = LoginRevoked(t.Context(), s, "alice", at)
	require.NoError(t, err)
	assert.True(t, revoked, "for good: there are tokens that never end by themselves")
}

// A record that can't be read may be a revocation: that is never "no".
func TestUnreadableRevocationIsAnError(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "x", "[]", `{"v":1}`, `{"before":0}`, `{"before":"soon"}`} {
		s := memstore.New()
		require.NoError(t, s.Put(t.Context(), revokedUserKey+"alice", []byte(value), 0))
		_, err := LoginRevoked(t.Context(), s, "alice", time.Now())
		require.Error(t, err, value)
	}
	s := memstore.New()
	require.NoError(t, s.Put(t.Context(), revokedJWTKey+"a", []byte(`{"v":1}`), 0))
	_, err := JWTRevoked(t.Context(), s, "a")
	require.Error(t, err)
	s.Fail = errors.New("connection refused")
	_, err = JWTRevoked(t.Context(), s, "a")
	require.ErrorIs(t, err, s.Fail)
	_, err = LoginRevoked(t.Context(), s, "alice", time.Time{})
	require.ErrorIs(t, err, s.Fail)
	require.ErrorIs(t, RevokeBefore(t.Context(), s, "alice", time.Now()), s.Fail)
}
