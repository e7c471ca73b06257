package records

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/passwords"
)

func TestL10L11UnknownUserCostsWhatTheFirstKnownOneDoes(t *testing.T) {
	t.Parallel()
	const costly = "$argon2id$v=19$m=65536,t=3,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA"
	cheap, err := passwords.Hash("wonderland")
	require.NoError(t, err)
	var users HashedUsers
	require.NoError(t, users.Add(HashedUser{"bob", costly}))
	require.NoError(t, users.Add(HashedUser{"alice", cheap}))
	require.Error(t, users.Add(HashedUser{"alice", cheap}), "twice")
	assert.Regexp(t, `^\$argon2id\$v=19\$m=65536,t=3,p=1\$`, users.dummy)

	require.NoError(t, users.LogIn(t.Context(), passwords.Shared(), "alice", "wonderland"))
	require.ErrorIs(t, users.LogIn(t.Context(), passwords.Shared(), "alice", "wrong"), ErrLogin)
	require.ErrorIs(t, users.LogIn(t.Context(), passwords.Shared(), "carol", "wonderland"), ErrUnknownUser)
	// An answer from memory would tell that carol's guess is alice's password.
	ok, err := passwords.Shared().Verify(t.Context(), "carol", "wonderland", users.dummy)
	require.NoError(t, err)
	assert.False(t, ok)
}
