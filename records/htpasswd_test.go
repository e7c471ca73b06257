package records

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// E45: a file that takes the place of another while it is read is read whole, or
// the other is.
func TestE45FileThatIsReplacedWhileItIsReadIsNeverReadHalf(t *testing.T) {
	t.Parallel()
	const count = 200
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	lines := func(kind string) string {
		var text strings.Builder
		for i := range count {
			fmt.Fprintf(&text, "%s%d:$2y$04$abcdefghijklmnopqrstuuLHrX7YzMBD8G7fkGcdNxXAG1T0T0u6e\n", kind, i)
		}
		return text.String()
	}
	put := func(kind string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(lines(kind)), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	put("old")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				put([]string{"new", "old"}[i%2])
			}
		}
	}()
	for range 200 {
		var users HashedUsers
		require.NoError(t, users.ReadHtpasswd(path))
		for _, kind := range []string{"old", "new"} {
			if users.Has(kind + "0") {
				require.True(t, users.Has(fmt.Sprint(kind, count-1)))
			}
		}
		require.NotEqual(t, users.Has("old0"), users.Has("new0"))
	}
	close(stop)
	<-stopped
}
