package records

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestUserRecordComesBackAsItWasPut(t *testing.T) {
	t.Parallel()
	no := false
	for name, user := range map[string]User{
		"empty":     {ID: "alice"},
		"full":      {ID: "alice", Active: &no, Name: "Alice", Email: "a@example.com", Groups: []string{"staff", "a,b"}, NotBefore: time.UnixMilli(1_700_000_000_123), AuthHash: "h"},
		"no groups": {ID: "alice", Groups: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New()
			require.NoError(t, PutUser(t.Context(), s, user))
			got, err := GetUser(t.Context(), s, "alice")
			require.NoError(t, err)
			assert.Equal(t, user, got)
			all, err := ListUsers(t.Context(), s)
			require.NoError(t, err)
			assert.Equal(t, []User{user}, all)
		})
	}
}

func TestUserRecordOfAnotherLanguage(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, c := range map[string]struct {
		record string
		want   User
	}{
		"nothing":         {`{}`, User{}},
		"nulls":           {`{"active":null,"groups":null,"not_before":null,"name":null}`, User{}},
		"disabled":        {`{"active": false}`, User{Active: &no}},
		"active":          {` {"active":true} `, User{Active: &yes}},
		"unknown members": {`{"active":false,"locale":"de","prefs":{"a":[1]}}`, User{Active: &no}},
		"other spelling":  {`{"Active":true,"ACTIVE":true,"active":false}`, User{Active: &no}},
		"seconds":         {`{"not_before":1700000000}`, User{NotBefore: time.Unix(1700000000, 0)}},
		"fraction":        {`{"not_before":1.7000000001239e9}`, User{NotBefore: time.UnixMilli(1700000000124)}},
		"epoch":           {`{"not_before":0}`, User{NotBefore: time.Unix(0, 0)}},
		"no groups":       {`{"groups":[]}`, User{Groups: []string{}}},
		"Django":          {`{"name":"Zoë","groups":["a","b"],"auth_hash":"5e8f"}`, User{Name: "Zoë", Groups: []string{"a", "b"}, AuthHash: "5e8f"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New()
			require.NoError(t, s.Put(t.Context(), "user:42", []byte(c.record), 0))
			got, err := GetUser(t.Context(), s, "42")
			require.NoError(t, err)
			c.want.ID = "42"
			assert.Equal(t, c.want, got)
		})
	}
}

func TestD46UserRecordIsNeverMisread(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]string{
		"empty":              ``,
		"null":               `null`,
		"list":               `[]`,
		"cut":                `{"active":fal`,
		"two":                `{"active":true}{"active":false}`,
		"twice":              `{"active":false,"active":true}`,
		"active is text":     `{"active":"false"}`,
		"active is number":   `{"active":0}`,
		"groups is text":     `{"groups":"staff"}`,
		"group is null":      `{"groups":["a",null]}`,
		"group is number":    `{"groups":[1]}`,
		"name is number":     `{"name":1}`,
		"hash is list":       `{"auth_hash":[]}`,
		"not_before is text": `{"not_before":"2026-01-01T00:00:00Z"}`,
		"milliseconds":       `{"not_before":1700000000000}`,
		"beyond all numbers": `{"not_before":1e999}`,
		"far past":           `{"not_before":-1e300}`,
		"not UTF-8":          "{\"name\":\"\xff\"}",
		"later form":         `{"v":2,"active":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New()
			require.NoError(t, s.Put(t.Context(), "user:alice", []byte(record), 0))
			_, err := GetUser(t.Context(), s, "alice")
			require.Error(t, err)
			require.NotErrorIs(t, err, store.ErrNotFound)
			assert.ErrorContains(t, err, "user:alice", "the log says which record")
		})
	}
}

func TestOutageIsNeverNotFound(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	s.Fail = errors.New("connection refused")
	for name, call := range map[string]func() error{
		"user":     func() error { _, err := GetUser(t.Context(), s, "alice"); return err },
		"password": func() error { _, err := PasswordHash(t.Context(), s, "alice"); return err },
		"token":    func() error { _, err := FindToken(t.Context(), s, newTestToken()); return err },
		"session":  func() error { _, err := FindSession(t.Context(), s, strings.Repeat("A", 43)); return err },
		"touch":    func() error { return TouchSession(t.Context(), s, strings.Repeat("A", 43), time.Minute) },
		"end":      func() error { return EndSession(t.Context(), s, strings.Repeat("A", 43)) },
		"end all":  func() error { return EndAllSessions(t.Context(), s, "alice") },
		"revoke":   func() error { return RevokeToken(t.Context(), s, strings.Repeat("a", 16)) },
		"remove":   func() error { return RemoveUser(t.Context(), s, "alice", time.Now()) },
		"users":    func() error { _, err := ListUsers(t.Context(), s); return err },
		"sessions": func() error { _, err := ListSessions(t.Context(), s, "alice"); return err },
	} {
		err := call()
		require.ErrorIs(t, err, s.Fail, name)
		require.NotErrorIs(t, err, store.ErrNotFound, name)
	}
}

func TestRemovedUserLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for _, id := range []string{"alice", "bob"} {
		require.NoError(t, PutUser(t.Context(), s, User{ID: id}))
		require.NoError(t, SetPassword(t.Context(), s, id, "hash of "+id))
	}
	token, _, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	session, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	bobs, _, err := NewToken(t.Context(), s, Token{User: "bob"}, 0)
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
	require.NoError(t, RemoveUser(t.Context(), s, "alice", time.Now()), "once more is no error")

	_, err = FindToken(t.Context(), s, bobs)
	require.NoError(t, err, "another user's stays")
	hash, err := PasswordHash(t.Context(), s, "bob")
	require.NoError(t, err)
	assert.Equal(t, "hash of bob", hash)
}

func TestUnfitUserIDsAreRefused(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for _, id := range []string{"", " a", "a\n", "a\x00", "\xff", strings.Repeat("a", 256)} {
		require.Error(t, PutUser(t.Context(), s, User{ID: id}), "%q", id)
		require.Error(t, SetPassword(t.Context(), s, id, "hash"), "%q", id)
		_, _, err := NewToken(t.Context(), s, Token{User: id}, 0)
		require.Error(t, err, "%q", id)
		_, err = NewSession(t.Context(), s, Session{User: id}, time.Hour)
		require.Error(t, err, "%q", id)
		_, err = GetUser(t.Context(), s, id)
		require.ErrorIs(t, err, store.ErrNotFound, "%q", id)
		_, err = PasswordHash(t.Context(), s, id)
		require.ErrorIs(t, err, store.ErrNotFound, "%q", id)
	}
	assert.Zero(t, s.Reads)
}

func TestLoginNameIsNoOtherSystemsKey(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"alice", "Alice", "alice@example.com", "a", "o'neil", "42a", "zoë", "a.b", "first last", "dead-beef", strings.Repeat("ä", 127),
	} {
		require.NoError(t, CheckLoginName(name), name)
	}
	for name, c := range map[string]struct{ login, wanted string }{
		"empty":             {"", "1 to 150"},
		"too long":          {strings.Repeat("a", 151), "1 to 150"},
		"too many bytes":    {strings.Repeat("ä", 150), "255 bytes"},
		"blank at the end":  {"alice ", "without blanks"},
		"control character": {"ali\tce", "without control characters"},
		"not UTF-8":         {"ali\xff", "1 to 150"},
		"colon":             {"a:b", "leave out :"},
		"slash":             {"a/b", "leave out : /"},
		"dots":              {"..", "than a dot"},
		"dot first":         {".alice", "than a dot"},
		"dot last":          {"alice.", "than a dot"},
		"primary key":       {"42", "add a letter"},
		"other digits":      {"٤٢", "add a letter"},
		"UUID":              {"6F9619FF-8b86-d011-b42d-00c04fc964ff", "add a letter"},
		"UUID in braces":    {"{6f9619ff-8b86-d011-b42d-00c04fc964ff}", "add a letter"},
		"bare UUID":         {"6f9619ff8b86d011b42d00c04fc964ff", "add a letter"},
	} {
		assert.ErrorContains(t, CheckLoginName(c.login), c.wanted, name)
	}
}

// What is read means the same when it is written and read again.
func FuzzUserRecord(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"active":false,"name":"a","groups":["x"],"not_before":1700000000.5,"auth_hash":"h"}`, `{"groups":[]}`,
		`{"active":false,"active":true}`, `{"not_before":-1}`, `{"not_before":99999999999.9999}`, `{"v":1}`, "{\"name\":\"\xed\xa0\x80\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var user, again User
		if json.Unmarshal(data, &user) != nil {
			return
		}
		written, err := json.Marshal(user)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(written, &again), "%s", written)
		assert.Equal(t, user, again)
	})
}
