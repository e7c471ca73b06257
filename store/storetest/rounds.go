package storetest

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Rounds is how often a race is run: $ROUNDS, or usual.
func Rounds(t testing.TB, usual int) int {
	t.Helper()
	text := os.Getenv("ROUNDS")
	if text == "" {
		return usual
	}
	rounds, err := strconv.Atoi(text)
	require.NoError(t, err, "ROUNDS")
	return rounds
}

// What is ended while it is touched stays ended, whichever comes first.
func touchRacesWithDelete(t *testing.T, s store.Store, _ func(time.Duration)) {
	for range Rounds(t, 100) {
		require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Hour, "list"))
		var both sync.WaitGroup
		both.Go(func() {
			if err := s.Touch(t.Context(), "a", 2*time.Hour); err != nil {
				assert.ErrorIs(t, err, store.ErrNotFound)
			}
		})
		both.Go(func() { assert.NoError(t, s.Delete(t.Context(), "a")) })
		both.Wait()
		gone(t, s, "a")
	}
	keys, err := s.List(t.Context(), "list")
	require.NoError(t, err)
	assert.Empty(t, keys)
}
