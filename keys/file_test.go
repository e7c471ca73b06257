package keys

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestChangedKeyFileIsReadAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.jwks")
	written := time.Now().Add(-time.Hour)
	write := func(text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		written = written.Add(time.Minute)
		require.NoError(t, os.Chtimes(path, written, written))
	}
	core, logs := observer.New(zapcore.InfoLevel)
	write(asSet(asJWK(&p256().PublicKey, `"kid":"a"`), `{"kty":"AKP"}`))
	file, err := OpenFile(path, func(data []byte) (Loaded, error) { return Read(data, "") }, zap.New(core))
	require.NoError(t, err)
	assert.Len(t, logs.TakeAll(), 1, "a warning of the key that is not used")
	now := time.Now()
	file.now = func() time.Time { return now }
	has := func(kid string) bool {
		found, err := file.Find(t.Context(), kid, "ES256")
		if err != nil {
			require.ErrorIs(t, err, ErrNoKey)
		}
		return len(found) > 0
	}
	later := func() { now = now.Add(checkEvery) }
	later()
	require.True(t, has("a"))

	write(asSet(asJWK(&p256().PublicKey, `"kid":"b"`)))
	assert.True(t, has("a"), "not looked at again within a second")
	later()
	assert.True(t, has("b"))
	assert.False(t, has("a"), "a key that was taken out verifies no more")
	assert.Equal(t, 1, logs.FilterMessage("key file read anew").Len())

	for _, spoil := range []func(){func() { write("rubbish") }, func() { write(asSet()) }, func() { require.NoError(t, os.Remove(path)) }} {
		logs.TakeAll()
		spoil()
		for range 3 {
			later()
			assert.True(t, has("b"), "what can't be read leaves the keys as they were")
		}
		assert.Len(t, logs.TakeAll(), 1, "told once")
	}
	write(asSet(asJWK(&p256().PublicKey, `"kid":"c"`)))
	later()
	assert.True(t, has("c"), "the file is back")
}

func TestMissingKeyFileFailsAtLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.pem")
	_, err := OpenFile(path, func(data []byte) (Loaded, error) { return Read(data, "") }, zap.NewNop())
	require.EqualError(t, err, "key file "+path+": no such file or directory")
}
