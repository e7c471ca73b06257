package passwords

import (
	"context"
	"encoding/base64"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
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

func TestHashesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	own := bcryptOf(t, "wonderland")
	for name, hash := range map[string]string{
		"bcrypt of PHP":    "$2y$" + own[4:],
		"bcrypt of Python": "$2b$" + own[4:],
		"argon2id":         "$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHRzb21lc2FsdA$" + argonSum(t, "wonderland", "somesaltsomesalt"),
	} {
		require.NoError(t, Check(hash), name)
		assert.True(t, match(hash, "wonderland"), name)
		assert.False(t, match(hash, "Wonderland"), name)
	}
}

func argonSum(t testing.TB, password, salt string) string {
	t.Helper()
	return base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(password), []byte(salt), 1, 64, 2, 16))
}

func TestL10DummyCostsWhatTheOtherCostsAndNeverMatches(t *testing.T) {
	t.Parallel()
	argon, err := Hash("wonderland")
	require.NoError(t, err)
	for name, c := range map[string]struct{ like, start string }{
		"bcrypt":   {bcryptOf(t, "wonderland"), "$2a$04$"},
		"argon2id": {"$argon2id$v=19$m=64,t=3,p=2$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA", "$argon2id$v=19$m=64,t=3,p=2$"},
		"ours":     {argon, "$argon2id$v=19$m=19456,t=2,p=1$"},
		"nothing":  {"", "$argon2id$v=19$m=19456,t=2,p=1$"},
	} {
		dummy := Dummy(c.like)
		require.NoError(t, Check(dummy), name)
		assert.True(t, strings.HasPrefix(dummy, c.start), "%s: %s", name, dummy)
		if c.like != "" {
			assert.NotContains(t, dummy, c.like[len(c.like)-22:], "%s: nothing of the sum", name)
		}
		for _, password := range []string{"", "wonderland"} {
			assert.False(t, match(dummy, password), name)
		}
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

func TestC51BcryptNeverCutsAPassword(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 72)
	hash := bcryptOf(t, long)
	assert.True(t, match(hash, long))
	assert.False(t, match(hash, long+"b"))
}

func TestC50UnfitHashesAreRefused(t *testing.T) {
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
		"no cost":         "$2a$03$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA2K",
		"not of bcrypt":   "$2a$10$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA!!",
		"old bcrypt":      "$2x$10$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA2K",
		"line end":        "$2a$10$6Vp2Qy7t3YwqEHhUoKAEKu4UGGDiG6tZE5z0h6EwNxKxoUoV5MA2K\n",
	} {
		assert.Error(t, Check(hash), name)
	}
}

// fill takes all cores, so that nothing can be hashed.
func fill(t *testing.T, v *Verifier) {
	t.Helper()
	for range runtime.GOMAXPROCS(0) {
		require.NoError(t, v.slots.Enter(t.Context()))
	}
}

func TestX22SuccessIsRememberedForThatUserPasswordAndHashOnly(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	now := time.Now()
	v.now = func() time.Time { return now }
	hash := bcryptOf(t, "wonderland")
	ok, err := v.Verify(t.Context(), "alice", "wonderland", hash)
	require.NoError(t, err)
	require.True(t, ok)

	// A verifier that can't hash any more answers from memory, or not at all.
	fill(t, v)
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
	v := newVerifier()
	ok, err := v.Verify(t.Context(), "alice", "wrong", bcryptOf(t, "right"))
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Empty(t, v.known)
	assert.Empty(t, v.running)
}

func TestX20CallersThatShareACheckEachGetItsVerdict(t *testing.T) {
	t.Parallel()
	v := newVerifier()
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

func TestCheckThatFindsNoFreeCoreIsNoVerdict(t *testing.T) {
	t.Parallel()
	hash := bcryptOf(t, "right")
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		fill(t, v)
		began := time.Now()
		ok, err := v.Verify(t.Context(), "alice", "right", hash)
		require.ErrorIs(t, err, ErrBusy)
		assert.False(t, ok)
		assert.Equal(t, maxWait, time.Since(began))

		v.slots.Leave()
		ok, err = v.Verify(t.Context(), "alice", "right", hash)
		require.NoError(t, err)
		assert.True(t, ok)
	})
}

func TestX23CheckThatNobodyWaitsForGivesItsPlaceUp(t *testing.T) {
	t.Parallel()
	hash := bcryptOf(t, "right")
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		fill(t, v)
		began := time.Now()
		first, leaveFirst := context.WithCancel(t.Context())
		second, leaveSecond := context.WithCancel(t.Context())
		defer leaveSecond()
		var left sync.WaitGroup
		for _, ctx := range []context.Context{first, second} {
			left.Go(func() {
				if _, err := v.Verify(ctx, "alice", "right", hash); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		require.Len(t, v.running, 1, "they share one check")
		leaveFirst()
		synctest.Wait()
		require.Len(t, v.running, 1, "the other one still waits")
		leaveSecond()
		left.Wait()
		synctest.Wait()
		assert.Empty(t, v.running)
		assert.Empty(t, v.known, "nothing was hashed")
		assert.Zero(t, time.Since(began), "at once, not after its wait")
	})
}

func TestL15HugePasswordCostsNothing(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	fill(t, v)
	ok, err := v.Verify(t.Context(), "alice", strings.Repeat("a", MaxLength+1), bcryptOf(t, "right"))
	require.NoError(t, err)
	assert.False(t, ok)
	_, err = Hash(strings.Repeat("a", MaxLength+1))
	require.Error(t, err)
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	for i := range 2*maxRemembered + 1 {
		v.remember(v.name(strconv.Itoa(i)))
		require.LessOrEqual(t, len(v.known), maxRemembered)
	}
	assert.NotEmpty(t, v.known)
}

// What passes for a hash can be checked against, and has a dummy that can.
func FuzzHash(f *testing.F) {
	for _, seed := range []string{
		"", "$2a$04$......................" + strings.Repeat(".", 31), "$argon2id$v=19$m=8,t=1,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"$argon2id$v=19$m=8,t=1,p=255$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA", "$argon2id$v=19$m=8,m=9,t=1$$", "$2y$99$", "{SHA}x",
	} {
		f.Add(seed)
	}
	for _, c := range djangoHashes {
		f.Add(c.hash)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		if Check(hash) != nil {
			return
		}
		require.NoError(t, Check(Dummy(hash)))
		switch k, _ := parse(hash); h := k.(type) {
		case argonHash:
			if h.memory > 1<<10 || h.time > 2 {
				return // right, and slow
			}
		case bcryptHash:
			if h[4:6] > "05" {
				return
			}
		default:
			return
		}
		require.False(t, match(hash, "no password of anybody"))
	})
}
