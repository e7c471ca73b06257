package records

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/store"
)

const (
	oldHash = "pbkdf2_sha256$1000$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI="
	newHash = "pbkdf2_sha256$2000$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI="
)

// importing imports into a store of its own.
type importing struct {
	t *testing.T
	s *memstore.Store
	Importing
}

func (i importing) user(user ImportedUser) (Change, string) {
	i.t.Helper()
	change, why, err := i.User(i.t.Context(), i.s, user)
	require.NoError(i.t, err)
	return change, why
}

func (i importing) token(token ImportedToken) (Change, string) {
	i.t.Helper()
	change, why, err := i.Token(i.t.Context(), i.s, token)
	require.NoError(i.t, err)
	return change, why
}

func TestSecondImportChangesOnlyWhatHasChangedAtTheSource(t *testing.T) {
	t.Parallel()
	i := importing{t: t, s: memstore.New()}
	ctx := t.Context()
	alice := ImportedUser{ID: "alice", Active: true, Groups: []string{"a", "b"}, PK: "7", Password: oldHash}
	change, why := i.user(alice)
	assert.Equal(t, Added, change, why)
	user, err := GetUser(ctx, i.s, "alice")
	require.NoError(t, err)
	assert.True(t, user.Enabled())
	assert.Equal(t, []string{"a", "b"}, user.Groups)
	assert.Equal(t, "7", user.PK)
	before := i.s.Dump()
	alice.Groups = []string{"b", "a"}
	change, _ = i.user(alice)
	assert.Equal(t, Unchanged, change)
	assert.Equal(t, before, i.s.Dump())

	// Here alice has logged in, and her hash is a better one; then her groups change there.
	better, err := passwords.Hash("correct horse")
	require.NoError(t, err)
	require.NoError(t, SetPassword(ctx, i.s, "alice", better))
	user.NotBefore = time.Unix(1000, 0)
	require.NoError(t, PutUser(ctx, i.s, user))
	alice.Groups = []string{"c"}
	change, _ = i.user(alice)
	assert.Equal(t, Changed, change)
	user, err = GetUser(ctx, i.s, "alice")
	require.NoError(t, err)
	assert.Equal(t, []string{"c"}, user.Groups)
	assert.Equal(t, int64(1000), user.NotBefore.Unix(), "what is ours stays")
	hash, err := PasswordHash(ctx, i.s, "alice")
	require.NoError(t, err)
	assert.Equal(t, better, hash, "the password has not changed there")
	alice.Password = newHash
	_, _ = i.user(alice)
	hash, err = PasswordHash(ctx, i.s, "alice")
	require.NoError(t, err)
	assert.Equal(t, newHash, hash)
	alice.Password = ""
	_, _ = i.user(alice)
	_, err = PasswordHash(ctx, i.s, "alice")
	require.ErrorIs(t, err, store.ErrNotFound, "unusable there, and so here")

	require.NoError(t, RemoveUser(ctx, i.s, "alice", time.Now()))
	_, why = i.user(alice)
	assert.Contains(t, why, "was removed here since")
	i.Overwrite = true
	change, _ = i.user(alice)
	assert.Equal(t, Added, change)
}

func TestUserWhoCannotBeImported(t *testing.T) {
	t.Parallel()
	i := importing{t: t, s: memstore.New()}
	require.NoError(t, PutUser(t.Context(), i.s, User{ID: "bob", PK: "8"}))
	for why, user := range map[string]ImportedUser{
		"exists here already":      {ID: "bob", Active: true},
		"has the primary key 8":    {ID: "robert", PK: "8"},
		"looks like the primary":   {ID: "1234"},
		"that is known here":       {ID: "carol", Password: "md5$a$b"},
		"1 to 10000000 would do":   {ID: "carol", Password: "pbkdf2_sha256$0$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI="},
		"login name of 0 characte": {},
	} {
		before := i.s.Dump()
		_, said := i.user(user)
		assert.Contains(t, said, why)
		assert.Equal(t, before, i.s.Dump())
	}
	i.Overwrite = true
	change, _ := i.user(ImportedUser{ID: "bob", Name: "Bob", PK: "8"})
	assert.Equal(t, Changed, change)
	user, err := GetUser(t.Context(), i.s, "bob")
	require.NoError(t, err)
	assert.Equal(t, "Bob", user.Name)
	assert.False(t, user.Enabled())
}

func TestImportThatWasInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	i := importing{t: t, s: memstore.New()}
	alice := ImportedUser{ID: "alice", Active: true, Password: oldHash}
	require.NoError(t, put(t.Context(), i.s, importedUserKey+"alice", imported{Pending: true}, 0))
	require.NoError(t, SetPassword(t.Context(), i.s, "alice", oldHash))
	change, why := i.user(alice)
	assert.Equal(t, Added, change, why)
	require.NoError(t, put(t.Context(), i.s, importedUserKey+"alice", imported{Pending: true}, 0))
	change, why = i.user(alice)
	assert.Equal(t, Changed, change, why)
	change, _ = i.user(alice)
	assert.Equal(t, Unchanged, change)

	i.s.Fail = errors.New("down")
	_, _, err := i.User(t.Context(), i.s, alice)
	require.ErrorIs(t, err, i.s.Fail)
	_, _, err = i.Token(t.Context(), i.s, ImportedToken{Digest: digest("x"), User: "alice"})
	require.ErrorIs(t, err, i.s.Fail)
}

func TestImportedTokenIsNotBroughtBack(t *testing.T) {
	t.Parallel()
	const text = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
	i := importing{t: t, s: memstore.New()}
	created := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	token := ImportedToken{Digest: digest(text), User: "alice", Created: created, Label: "django"}
	_, why := i.token(token)
	assert.Contains(t, why, "no user 'alice'")
	require.NoError(t, PutUser(t.Context(), i.s, User{ID: "alice"}))
	i.DryRun = true
	change, _ := i.token(token)
	assert.Equal(t, Added, change)
	_, err := FindToken(t.Context(), i.s, text)
	require.ErrorIs(t, err, store.ErrNotFound)
	i.DryRun = false
	change, _ = i.token(token)
	assert.Equal(t, Added, change)
	found, err := FindToken(t.Context(), i.s, text)
	require.NoError(t, err)
	assert.Equal(t, "alice", found.User)
	assert.Equal(t, created, found.Created)
	assert.Zero(t, found.Expires)
	change, _ = i.token(token)
	assert.Equal(t, Unchanged, change)
	bobs := token
	bobs.User = "bob"
	require.NoError(t, PutUser(t.Context(), i.s, User{ID: "bob"}))
	_, why = i.token(bobs)
	assert.Contains(t, why, "a token of user 'alice'")

	require.NoError(t, RevokeToken(t.Context(), i.s, found.ID))
	_, why = i.token(token)
	assert.Contains(t, why, "was revoked here since")
	_, err = FindToken(t.Context(), i.s, text)
	require.ErrorIs(t, err, store.ErrNotFound)
	i.Overwrite = true
	change, _ = i.token(token)
	assert.Equal(t, Added, change)
	for _, bad := range []string{"", "abc", digest("x")[1:] + "G", digest("x") + "0"} {
		_, why = i.token(ImportedToken{Digest: bad, User: "alice"})
		assert.Contains(t, why, "no SHA-256")
	}
}

// A name that nobody has takes as long as one that somebody has may take.
func TestL11UnknownUserIsOfTheKindsThatThereAre(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	kindsOf := func() map[string]int {
		seen := make(map[string]int)
		for n := range 200 {
			hash, err := unknownUser(t.Context(), s, string(rune('a'+n)))
			require.NoError(t, err)
			again, err := unknownUser(t.Context(), s, string(rune('a'+n)))
			require.NoError(t, err)
			require.Equal(t, hash, again, "for one name always the same")
			seen[hash]++
		}
		return seen
	}
	assert.Len(t, kindsOf(), 1)
	for range 3 {
		require.NoError(t, noteKind(t.Context(), s, oldHash))
		require.NoError(t, noteKind(t.Context(), s, newHash))
	}
	seen := kindsOf()
	assert.Len(t, seen, 3)
	for hash, times := range seen {
		assert.Greater(t, times, 20, hash)
		require.NoError(t, passwords.Check(hash))
	}
}
