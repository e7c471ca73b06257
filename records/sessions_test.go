package records

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestSessionIsFoundByItsID(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	login := time.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	id, err := NewSession(t.Context(), s, Session{
		User: "alice", Name: "Alice", Email: "a@example.com", Groups: []string{"g"}, Scopes: []string{"read"}, AuthTime: login,
	}, time.Hour)
	require.NoError(t, err)
	assert.True(t, ValidSessionID(id))
	found, err := FindSession(t.Context(), s, id)
	require.NoError(t, err)
	assert.InDelta(t, time.Hour.Seconds(), found.Remaining.Seconds(), 5)
	assert.WithinDuration(t, time.Now(), found.Created, 5*time.Second)
	assert.Equal(t, found.Created.Add(time.Hour), found.Expires)
	assert.Equal(t, Session{
		ID: digest(id)[:16], User: "alice", Name: "Alice", Email: "a@example.com", Groups: []string{"g"}, Scopes: []string{"read"},
		AuthTime: login, Created: found.Created, Expires: found.Expires, Remaining: found.Remaining,
	}, found)

	other, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	assert.NotEqual(t, id, other)
	for _, lifetime := range []time.Duration{0, -time.Second} {
		_, err := NewSession(t.Context(), s, Session{User: "alice"}, lifetime)
		require.Error(t, err)
	}
}

func TestS01S03OnlySessionIDsOfOursAreLookedUp(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	id, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"empty":              "",
		"short":              id[:42],
		"long":               id + "A",
		"padded":             id + "=",
		"standard alphabet":  strings.Repeat("+", 42) + "A",
		"line end inside":    id[:41] + "\n" + id[42:],
		"line end after":     id[:42] + "\n",
		"not canonical":      strings.Repeat("A", 42) + "B",
		"another's cookie":   "eyJhbGciOiJub25lIn0",
		"quoted":             `"` + id[:41] + `"`,
		"very long":          strings.Repeat("A", 1<<16),
		"not ASCII":          strings.Repeat("é", 43),
		"a key of the store": "session:" + digest(id)[:35],
	} {
		assert.False(t, ValidSessionID(text), name)
		_, err := FindSession(t.Context(), s, text)
		require.ErrorIs(t, err, store.ErrNotFound, name)
		require.ErrorIs(t, TouchSession(t.Context(), s, text, time.Minute), store.ErrNotFound, name)
		require.NoError(t, EndSession(t.Context(), s, text), name)
	}
	assert.Zero(t, s.Reads)
	_, err = FindSession(t.Context(), s, strings.Repeat("A", 43))
	require.ErrorIs(t, err, store.ErrNotFound)
	assert.Equal(t, 1, s.Reads)
}

func TestS51TouchedSessionLivesOnButNeverBeyondItsEnd(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	id, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	remaining := func() float64 {
		found, err := FindSession(t.Context(), s, id)
		require.NoError(t, err)
		return found.Remaining.Minutes()
	}
	require.NoError(t, TouchSession(t.Context(), s, id, 10*time.Minute))
	assert.InDelta(t, 10, remaining(), 0.2)
	require.NoError(t, TouchSession(t.Context(), s, id, 24*time.Hour))
	assert.InDelta(t, 60, remaining(), 0.2)

	require.NoError(t, EndSession(t.Context(), s, id))
	require.ErrorIs(t, TouchSession(t.Context(), s, id, time.Minute), store.ErrNotFound)
	_, err = FindSession(t.Context(), s, id)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestS32SessionEndsByItsFieldThoughTheRecordLives(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	id := strings.Repeat("A", 43)
	require.NoError(t, put(t.Context(), s, sessionKey+digest(id), Session{User: "alice", Expires: time.Now().Add(-time.Millisecond)}, time.Hour))
	_, err := FindSession(t.Context(), s, id)
	require.ErrorIs(t, err, store.ErrNotFound)
	require.ErrorIs(t, TouchSession(t.Context(), s, id, time.Hour), store.ErrNotFound)
}

func TestS63UsersSessionsAreEndedOneByOneOrAllAtOnce(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	ids := make([]string, 4)
	for i, user := range []string{"alice", "alice", "alice", "bob"} {
		var err error
		ids[i], err = NewSession(t.Context(), s, Session{User: user}, time.Hour)
		require.NoError(t, err)
	}
	token, _, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	live := func() (live []bool) {
		for _, id := range ids {
			_, err := FindSession(t.Context(), s, id)
			live = append(live, err == nil)
		}
		return live
	}
	listed, err := ListSessions(t.Context(), s, "alice")
	require.NoError(t, err)
	require.Len(t, listed, 3)
	for _, session := range listed {
		assert.Equal(t, "alice", session.User)
		assert.Len(t, session.ID, 16)
		assert.InDelta(t, time.Hour.Seconds(), session.Remaining.Seconds(), 5)
	}

	require.ErrorIs(t, EndSessionByID(t.Context(), s, "bob", digest(ids[0])[:16]), store.ErrNotFound, "not one of bob's")
	require.ErrorIs(t, EndSessionByID(t.Context(), s, "alice", digest(token)[:16]), store.ErrNotFound, "a token is no session")
	require.ErrorIs(t, EndSessionByID(t.Context(), s, "alice", digest(ids[0])[1:20]), store.ErrNotFound, "not the beginning")
	assert.Equal(t, []bool{true, true, true, true}, live())
	require.NoError(t, EndSessionByID(t.Context(), s, "alice", digest(ids[0])[:16]))
	assert.Equal(t, []bool{false, true, true, true}, live())
	require.NoError(t, EndAllSessions(t.Context(), s, "alice"))
	require.NoError(t, EndAllSessions(t.Context(), s, "alice"))
	assert.Equal(t, []bool{false, false, false, true}, live())
	_, err = FindToken(t.Context(), s, token)
	require.NoError(t, err, "a token is no session")
}

// A text that passes for a session id is the one spelling of its bytes.
func FuzzSessionID(f *testing.F) {
	for _, seed := range []string{"", strings.Repeat("A", 43), strings.Repeat("_", 42) + "8", strings.Repeat("A", 42) + "B", strings.Repeat("A", 42) + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if ValidSessionID(id) {
			require.Len(t, id, 43)
			require.Empty(t, strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
			require.Contains(t, "AEIMQUYcgkosw048", id[42:], "the last two bits are zero")
		}
	})
}

// Ids are made of 256 random bits, and the store knows none of them.
func TestS02IDsAreNeverAlike(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	seen := make(map[string]bool)
	var ones [43]map[byte]bool
	for range 20_000 {
		id, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
		require.NoError(t, err)
		require.True(t, ValidSessionID(id))
		require.False(t, seen[id])
		seen[id] = true
		for i := range ones {
			if ones[i] == nil {
				ones[i] = make(map[byte]bool)
			}
			ones[i][id[i]] = true
		}
	}
	for i, letters := range ones {
		want := 64
		if i == 42 { // the last four bits
			want = 16
		}
		assert.Len(t, letters, want, "character %d takes each value", i)
	}
	for key := range s.Dump() {
		_, id, _ := strings.Cut(key, ":")
		require.False(t, seen[id], "keys are digests")
	}
}
