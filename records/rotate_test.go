package records

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestRotatedTokenIsLikeTheOld(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	old, made, err := NewToken(t.Context(), s, Token{User: "alice", Label: "ci", Groups: []string{"g"}, Scopes: []string{"read"}, CreatedBy: "alice"}, 24*time.Hour)
	require.NoError(t, err)
	secret, next, err := RotateToken(t.Context(), s, made.ID, "bob", time.Hour, 0)
	require.NoError(t, err)
	found, err := FindToken(t.Context(), s, secret)
	require.NoError(t, err)
	assert.Equal(t, next, found)
	for _, of := range []Token{made, next} {
		assert.Equal(t, "alice", of.User)
		assert.Equal(t, "ci", of.Label)
		assert.Equal(t, []string{"g"}, of.Groups)
		assert.Equal(t, []string{"read"}, of.Scopes)
		assert.Equal(t, of.Created.Add(24*time.Hour), of.Expires)
	}
	assert.Equal(t, "bob", next.CreatedBy)
	found, err = FindToken(t.Context(), s, old)
	require.NoError(t, err, "it lives on for a while")
	assert.Equal(t, next.ID, found.ReplacedBy)
	assert.WithinDuration(t, time.Now().Add(time.Hour), found.Expires, 3*time.Second)
	_, _, err = RotateToken(t.Context(), s, made.ID, "", time.Hour, 0)
	require.ErrorIs(t, err, ErrReplaced)

	// An overlap prolongs no life.
	secret, _, err = RotateToken(t.Context(), s, next.ID, "", 400*24*time.Hour, time.Minute)
	require.NoError(t, err)
	shown, err := ShowToken(t.Context(), s, next.ID)
	require.NoError(t, err)
	assert.Equal(t, next.Expires, shown.Expires)
	found, err = FindToken(t.Context(), s, secret)
	require.NoError(t, err)
	_, _, err = RotateToken(t.Context(), s, found.ID, "", 0, 0)
	require.NoError(t, err)
	_, err = FindToken(t.Context(), s, secret)
	require.ErrorIs(t, err, store.ErrNotFound, "without an overlap it ends at once")
	_, _, err = RotateToken(t.Context(), s, found.ID, "", 0, 0)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestOfManyRotationsAtOnceOneSucceeds(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	_, made, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	var all sync.WaitGroup
	var done atomic.Int64
	for range 20 {
		all.Go(func() {
			_, _, err := RotateToken(t.Context(), s, made.ID, "", time.Hour, 0)
			if err == nil {
				done.Add(1)
				return
			}
			assert.ErrorIs(t, err, ErrReplaced)
		})
	}
	all.Wait()
	assert.Equal(t, int64(1), done.Load())
	tokens, err := ListTokens(t.Context(), s, TokenFilter{})
	require.NoError(t, err)
	assert.Len(t, tokens, 2, "those that came second have left none behind")
}

// changing is a store whose records have always changed since they were read.
type changing struct{ *memstore.Store }

func (changing) Swap(context.Context, string, []byte, []byte, time.Duration, ...string) error {
	return store.ErrChanged
}

func TestRotationThatComesSecondLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := changing{memstore.New()}
	_, made, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	_, _, err = RotateToken(t.Context(), s, made.ID, "", time.Hour, 0)
	require.ErrorIs(t, err, ErrReplaced)
	tokens, err := ListTokens(t.Context(), s, TokenFilter{})
	require.NoError(t, err)
	require.Len(t, tokens, 1)

	ended := storedToken{Token: Token{User: "alice", Expires: time.Now().Add(-time.Second)}}
	require.NoError(t, put(t.Context(), s, tokenKey+digest("x"), ended, 0, tokensList))
	tokens, err = ListTokens(t.Context(), s, TokenFilter{})
	require.NoError(t, err)
	assert.Len(t, tokens, 1, "one that has ended is not shown, though its record is there")
}

func TestTokensAreListedByWhatTheyAre(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	_, a, err := NewToken(t.Context(), s, Token{User: "alice", Label: "ci"}, 0)
	require.NoError(t, err)
	_, b, err := NewToken(t.Context(), s, Token{User: "alice", Label: "laptop"}, 0)
	require.NoError(t, err)
	_, c, err := NewToken(t.Context(), s, Token{User: "bob", Label: "ci"}, 0)
	require.NoError(t, err)
	require.NoError(t, NoteTokenUse(t.Context(), s, c))
	ids := func(filter TokenFilter) []string {
		tokens, err := ListTokens(t.Context(), s, filter)
		require.NoError(t, err)
		ids := make([]string, 0, len(tokens))
		for _, token := range tokens {
			ids = append(ids, token.ID)
			assert.Equal(t, token.ID == c.ID, !token.LastUsed.IsZero())
		}
		return ids
	}
	assert.ElementsMatch(t, []string{a.ID, b.ID, c.ID}, ids(TokenFilter{}))
	assert.ElementsMatch(t, []string{a.ID, c.ID}, ids(TokenFilter{Label: "ci"}))
	assert.Equal(t, []string{a.ID}, ids(TokenFilter{User: "alice", Label: "ci"}))
	assert.Equal(t, []string{b.ID}, ids(TokenFilter{Prefix: b.ID[:12]}))
	assert.Empty(t, ids(TokenFilter{User: "bob", Label: "laptop"}))

	revoked, err := RevokeTokens(t.Context(), s, TokenFilter{Label: "ci"})
	require.NoError(t, err)
	assert.Len(t, revoked, 2)
	assert.Equal(t, []string{b.ID}, ids(TokenFilter{}))
	_, err = s.Get(t.Context(), useKey+c.digest)
	require.ErrorIs(t, err, store.ErrNotFound, "its last use is gone with it")

	require.NoError(t, PutUser(t.Context(), s, User{ID: "alice"}))
	require.NoError(t, NoteTokenUse(t.Context(), s, b))
	require.NoError(t, RemoveUser(t.Context(), s, "alice", time.Now()))
	_, err = s.Get(t.Context(), useKey+b.digest)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestSetActiveLeavesTheRestOfTheRecord(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	require.NoError(t, s.Put(t.Context(), userKey+"7", []byte(`{"name":"Seven","groups":["a"],"theirs":{"x":1},"not_before":12.5}`), 0))
	require.NoError(t, SetActive(t.Context(), s, "7", false))
	record, err := s.Get(t.Context(), userKey+"7")
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"Seven","groups":["a"],"theirs":{"x":1},"not_before":12.5,"active":false}`, string(record.Value))
	require.NoError(t, SetActive(t.Context(), s, "8", false))
	user, err := GetUser(t.Context(), s, "8")
	require.NoError(t, err)
	assert.False(t, user.Enabled(), "who has no record gets one")
	require.NoError(t, s.Put(t.Context(), userKey+"9", []byte(`{"active":"no"}`), 0))
	require.Error(t, SetActive(t.Context(), s, "9", true), "what can't be read is not written over")
	require.Error(t, SetActive(t.Context(), s, "a\n", true))
}
