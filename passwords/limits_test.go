package passwords

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// L15, D39: so many wrong passwords at once that they could not all be hashed in time.
func TestL15ChecksThatWouldWaitInVainAreTurnedAwayAtOnce(t *testing.T) {
	t.Parallel()
	hash := bcryptOf(t, "right")
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		fill(t, v)
		began, most := time.Now(), waitingPerCore*runtime.GOMAXPROCS(0)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		var busy atomic.Int32
		for i := range most + 500 {
			go func() {
				if _, err := v.Verify(ctx, strconv.Itoa(i), "wrong", hash); err == ErrBusy { //nolint:errorlint // as it is
					busy.Add(1)
				}
			}()
		}
		synctest.Wait()
		assert.EqualValues(t, 500, busy.Load())
		assert.Zero(t, time.Since(began), "at once")
		v.mu.Lock()
		assert.Len(t, v.running, most, "no goroutine is left of those who were turned away")
		v.mu.Unlock()
		time.Sleep(maxWait)
		synctest.Wait()
		assert.EqualValues(t, most+500, busy.Load())
		v.mu.Lock()
		defer v.mu.Unlock()
		assert.Empty(t, v.running)
	})
}

func TestWhoWasRightLatelyIsCheckedBeforeAnyFlood(t *testing.T) {
	t.Parallel()
	hash := bcryptOf(t, "right")
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		ok, err := v.Verify(t.Context(), "alice", "right", hash)
		require.NoError(t, err)
		require.True(t, ok)
		time.Sleep(remembered)
		fill(t, v)
		verdicts := make(chan bool, 1)
		go func() {
			ok, err := v.Verify(t.Context(), "alice", "right", hash)
			verdicts <- ok && err == nil
		}()
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		for i := range 10 * waitingPerCore * runtime.GOMAXPROCS(0) {
			go func() { _, _ = v.Verify(ctx, strconv.Itoa(i), "wrong", hash) }()
		}
		synctest.Wait()
		v.slots.Leave() // one core is free, once
		assert.True(t, <-verdicts)
		leave()
		synctest.Wait()
	})
}

func TestLargeHashesAreComputedOneAtATime(t *testing.T) {
	t.Parallel()
	large := argonHash{algorithm: argonID, memory: 512 << 10, time: 1, threads: 1, salt: make([]byte, 8), sum: make([]byte, 16)}.String()
	scrypted := "scrypt$" + strconv.Itoa(1<<17) + "$salt$16$1$MTIzNDU2NzgxMjM0NTY3OA=="
	require.Greater(t, memoryOf(large), largeHash)
	require.Greater(t, memoryOf("argon2"+large), largeHash)
	require.Greater(t, memoryOf(scrypted), largeHash)
	require.LessOrEqual(t, memoryOf(Dummy("")), largeHash)
	require.Zero(t, memoryOf("no hash"))
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		v.slots = nil // must not be asked for
		require.NoError(t, v.large.Enter(t.Context()))
		began := time.Now()
		_, err := v.Verify(t.Context(), "alice", "wrong", large)
		require.ErrorIs(t, err, ErrBusy)
		assert.Equal(t, maxWait, time.Since(began))
	})
}

// X24: what panics while others wait for it.
func TestX24CheckThatPanicsIsNoVerdictAndLeavesNothingTaken(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	err := v.hashing(t.Context(), "", func() { panic("over wonderland") })
	require.ErrorContains(t, err, "panic")
	assert.NotContains(t, err.Error(), "wonderland", "it may hold the password")
	fill(t, v) // all cores are free
}

func TestHashThatIsBeingRenewedIsNotRenewedTwice(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	fill(t, v)
	made := make(chan string, 1)
	go func() {
		hash, err := v.Renew(t.Context(), "alice", "right", "old")
		assert.NoError(t, err)
		made <- hash
	}()
	require.Eventually(t, func() bool { return v.slots.Waiting() == 1 }, 10*time.Second, time.Millisecond)
	_, err := v.Renew(t.Context(), "alice", "right", "old")
	require.ErrorIs(t, err, ErrBusy)
	v.slots.Leave()
	assert.True(t, match(<-made, "right"))
	assert.Empty(t, v.renewing)
}
