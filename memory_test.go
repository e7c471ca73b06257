package edgeauth

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/records"
)

// flipped is a text as no search finds it; flipping it again gives it back.
func flipped(text []byte) []byte {
	other := bytes.Clone(text)
	for i := range other {
		other[i] ^= 0xff
	}
	return other
}

// X26: once requests are done, memory holds digests of what they carried, and
// nothing else of it.
func TestX26KeptFindingsHoldNoCredential(t *testing.T) {
	t.Parallel()
	s := newSite(t, new(Policy), `{"authenticator":"token"}`, `{"authenticator":"session"}`)
	const count = 50
	var hidden [][]byte
	require.NoError(t, records.PutUser(t.Context(), s.app.store, records.User{ID: "alice"}))
	use := func() {
		token, _, err := records.NewToken(t.Context(), s.app.store, records.Token{User: "alice"}, 0)
		require.NoError(t, err)
		session, err := records.NewSession(t.Context(), s.app.store, records.Session{User: "alice"}, time.Hour)
		require.NoError(t, err)
		for range 2 {
			s.ask("Authorization: Token " + token)
			require.True(t, s.passed)
			s.ask("Cookie: __Host-edge_auth=" + session)
			require.True(t, s.passed)
		}
		wrong := []byte(token)
		wrong[20] ^= 1 // a checksum that is wrong: refused
		s.ask("Authorization: Token " + string(wrong))
		require.False(t, s.passed)
		hidden = append(hidden, flipped([]byte(token)), flipped([]byte(session)), flipped(wrong))
	}
	done := make(chan struct{})
	go func() { // whose stack ends with it
		defer close(done)
		for range count {
			use()
		}
	}()
	<-done
	s.ask("X-Any: thing") // takes the place of the last request in what is reused
	require.Equal(t, 2*count, s.app.cache.Stats().Entries, "baseline: they are kept")

	path := filepath.Join(t.TempDir(), "heap")
	dump := func() []byte {
		file, err := os.Create(path)
		require.NoError(t, err)
		defer file.Close()
		for range 3 {
			runtime.GC() // twice empties what pools hold
		}
		debug.WriteHeapDump(file.Fd())
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return data
	}
	canary := flipped(flipped([]byte("a text that is in memory " + t.Name())))
	data := dump()
	require.True(t, bytes.Contains(data, canary), "baseline: what is alive is in the dump")
	runtime.KeepAlive(canary)
	found := 0
	for _, secret := range hidden {
		if bytes.Contains(data, flipped(secret)) {
			found++
		}
	}
	assert.Zero(t, found, "of %d credentials", len(hidden))
	runtime.KeepAlive(s)
}
