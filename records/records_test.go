package records

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestTokenText(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 2000 {
		text := newTestToken()
		require.Len(t, text, 52)
		require.NoError(t, checkTokenText(text))
		require.False(t, seen[text])
		seen[text] = true
		for i := range text {
			other := byte('x')
			if text[i] == other {
				other = 'y'
			}
			typo := text[:i] + string(other) + text[i+1:]
			if strings.HasPrefix(typo, tokenPrefix) {
				require.ErrorIs(t, checkTokenText(typo), ErrMalformed, "a typo at %d", i)
			}
		}
	}
	for _, text := range []string{"", "ea_", "ea_" + strings.Repeat("a", 48), strings.Repeat("a", 513)} {
		require.ErrorIs(t, checkTokenText(text), ErrMalformed)
	}
	require.NoError(t, checkTokenText("0123456789abcdef0123456789abcdef01234567"), "DRF's")
}

func TestSecretsAreNotKept(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	token, _, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	session, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	keys, err := s.List(t.Context(), ownerList+"alice")
	require.NoError(t, err)
	require.Len(t, keys, 2)
	for _, key := range keys {
		record, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		for _, secret := range []string{token, session} {
			assert.NotContains(t, key+string(record.Value), secret)
		}
	}
}

func TestUserTakesEverythingWithThem(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for _, id := range []string{"alice", "alicia"} {
		require.NoError(t, PutUser(t.Context(), s, User{ID: id}))
		require.NoError(t, SetPassword(t.Context(), s, id, "h"))
	}
	token, _, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	session, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	kept, _, err := NewToken(t.Context(), s, Token{User: "alicia"}, 0)
	require.NoError(t, err)

	require.NoError(t, RemoveUser(t.Context(), s, "alice", time.Now()))
	_, err = GetUser(t.Context(), s, "alice")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = PasswordHash(t.Context(), s, "alice")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = FindToken(t.Context(), s, token)
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = FindSession(t.Context(), s, session)
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = FindToken(t.Context(), s, kept)
	require.NoError(t, err)
	for id, ended := range map[string]bool{"alice": true, "alicia": false} {
		revoked, err := LoginRevoked(t.Context(), s, id, time.Now().Add(-time.Second))
		require.NoError(t, err)
		require.Equal(t, ended, revoked, id)
	}
	users, err := ListUsers(t.Context(), s)
	require.NoError(t, err)
	require.Len(t, users, 1)
}

func TestUserRecordOfAnotherApplicationIsRead(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	read := func(text string) (User, error) {
		require.NoError(t, s.Put(t.Context(), userKey+"7", []byte(text), 0))
		return GetUser(t.Context(), s, "7")
	}
	u, err := read(`{"active":false,"name":"A","groups":["x"],"not_before":1795440019.5,"auth_hash":"h","app_field":{"deep":1},"email":null,"Active":true}`)
	require.NoError(t, err)
	require.NotNil(t, u.Active)
	assert.False(t, *u.Active, "names are exact")
	assert.Equal(t, int64(1795440019500), u.NotBefore.UnixMilli())
	assert.Equal(t, "h", u.AuthHash)
	assert.Equal(t, []string{"x"}, u.Groups)

	u, err = read(`{}`)
	require.NoError(t, err)
	assert.Nil(t, u.Active)
	for _, text := range []string{``, `[]`, `{"active":"false"}`, `{"active":0}`, `{"active":true,"active":false}`, `{"not_before":"2026"}`, `{"groups":"x"}`} {
		_, err := read(text)
		require.Error(t, err, text)
		require.NotErrorIs(t, err, store.ErrNotFound, "what can't be read says nothing")
	}

	no := false
	written := User{ID: "8", Active: &no, Groups: []string{"a"}, NotBefore: time.UnixMilli(1795440019500), AuthHash: "h"}
	require.NoError(t, PutUser(t.Context(), s, written))
	again, err := GetUser(t.Context(), s, "8")
	require.NoError(t, err)
	assert.True(t, written.NotBefore.Equal(again.NotBefore))
	again.NotBefore = written.NotBefore
	assert.Equal(t, written, again)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	now := time.Now()
	s.Now = func() time.Time { return now }
	id, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	require.True(t, ValidSessionID(id))
	for _, bad := range []string{"", id[1:], id + "A", id[:42] + "+", id[:42] + "B" + "=", id + "\n"} {
		assert.False(t, ValidSessionID(bad), "%q", bad)
	}
	found, err := FindSession(t.Context(), s, id)
	require.NoError(t, err)
	assert.Equal(t, "alice", found.User)

	require.NoError(t, TouchSession(t.Context(), s, id, 2*time.Hour))
	found, err = FindSession(t.Context(), s, id)
	require.NoError(t, err)
	assert.LessOrEqual(t, found.Remaining, time.Hour, "never beyond its end")

	other, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	require.ErrorIs(t, EndSessionByID(t.Context(), s, "bob", found.ID), store.ErrNotFound, "not another's")
	require.NoError(t, EndSessionByID(t.Context(), s, "alice", found.ID))
	require.ErrorIs(t, TouchSession(t.Context(), s, id, time.Hour), store.ErrNotFound)
	_, err = FindSession(t.Context(), s, other)
	require.NoError(t, err)
	_, _, err = NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	require.NoError(t, EndAllSessions(t.Context(), s, "alice"))
	left, err := ListSessions(t.Context(), s, "alice")
	require.NoError(t, err)
	assert.Empty(t, left)
	tokens, err := ListTokens(t.Context(), s, TokenFilter{User: "alice"})
	require.NoError(t, err)
	assert.Len(t, tokens, 1)

	s.Fail = errors.New("down")
	_, err = FindSession(t.Context(), s, other)
	require.NotErrorIs(t, err, store.ErrNotFound)
}

func TestLoginNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"alice", "a", "42nd", "alice@example.com", "zoë", "a b"} {
		require.NoError(t, CheckLoginName(name), name)
	}
	for _, name := range []string{
		"", "42", "a:b", "a/b", "..", " a", "a\n", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3F2504E04F8911D39A0C0305E82C3301", strings.Repeat("a", 151),
	} {
		require.Error(t, CheckLoginName(name), name)
	}
}
