package passwords

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

func bcryptOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	return string(hash)
}

func TestPasswordMatchesOnlyItsOwnHash(t *testing.T) {
	t.Parallel()
	argon, err := Hash("wonderland")
	require.NoError(t, err)
	for name, hash := range map[string]string{"argon2id": argon, "bcrypt": bcryptOf(t, "wonderland")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, Check(hash))
			assert.True(t, match(hash, "wonderland"))
			for _, wrong := range []string{"", "Wonderland", "wonderland ", "wonderland\x00", hash, strings.Repeat("a", MaxLength+1)} {
				assert.False(t, match(hash, wrong), "%q", wrong)
			}
		})
	}
}

func TestTwoHashesOfOnePasswordDiffer(t *testing.T) {
	t.Parallel()
	a, err := Hash("same")
	require.NoError(t, err)
	b, err := Hash("same")
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
}

func TestBcryptNeverCutsAPassword(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 72)
	hash := bcryptOf(t, long)
	assert.True(t, match(hash, long))
	assert.False(t, match(hash, long+"b"))
}

func TestUnfitHashesAreRefused(t *testing.T) {
	t.Parallel()
	for name, hash := range map[string]string{
		"empty":           "",
		"plain":           "wonderland",
		"apr1":            "$apr1$x$y",
		"sha1":            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
		"argon2i":         "$argon2i$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"argon2id no sum": "$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$",
		"huge memory":     "$argon2id$v=19$m=4294967295,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"huge time":       "$argon2id$v=19$m=19456,t=4294967295,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"no threads":      "$argon2id$v=19$m=19456,t=2,p=0$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"bcrypt cut":      "$2a$10$short",
		"huge cost":       "$2a$31$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA2K",
	} {
		assert.Error(t, Check(hash), name)
	}
}

func TestSuccessIsRememberedForThatUserPasswordAndHashOnly(t *testing.T) {
	t.Parallel()
	v := NewVerifier()
	now := time.Now()
	v.now = func() time.Time { return now }
	hash := bcryptOf(t, "wonderland")
	ok, err := v.Verify(t.Context(), "alice", "wonderland", hash)
	require.NoError(t, err)
	require.True(t, ok)

	// A verifier that can't hash any more answers from memory, or not at all.
	for range cap(v.slots) {
		v.slots <- struct{}{}
	}
	ok, err = v.Verify(t.Context(), "alice", "wonderland", hash)
	require.NoError(t, err)
	assert.True(t, ok)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, other := range [][3]string{
		{"bob", "wonderland", hash}, {"alice", hash, hash}, {"alic", "ewonderland", hash}, {"alice", "wonderland", hash + "x"},
	} {
		ok, err := v.Verify(ctx, other[0], other[1], other[2])
		assert.False(t, ok, "%q", other)
		require.ErrorIs(t, err, context.Canceled)
	}
	now = now.Add(remembered)
	_, err = v.Verify(ctx, "alice", "wonderland", hash)
	require.ErrorIs(t, err, context.Canceled, "forgotten after a minute")
}

func TestFailureIsNeverRemembered(t *testing.T) {
	t.Parallel()
	v := NewVerifier()
	ok, err := v.Verify(t.Context(), "alice", "wrong", bcryptOf(t, "right"))
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Empty(t, v.known)
	assert.Empty(t, v.running)
}

func TestCallersThatShareACheckEachGetItsVerdict(t *testing.T) {
	t.Parallel()
	v := NewVerifier()
	hash := bcryptOf(t, "right")
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			password := []string{"right", "wrong"}[i%2]
			ok, err := v.Verify(context.Background(), "alice", password, hash)
			if err != nil || ok != (password == "right") {
				t.Errorf("%s: %v, %v", password, ok, err)
			}
		})
	}
	all.Wait()
}
