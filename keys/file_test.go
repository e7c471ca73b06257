package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestK37ChangedKeyFileIsReadAnew(t *testing.T) {
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

// fileOf opens a key file that is in the test's hands, with its clock.
func fileOf(t *testing.T, text string, mode os.FileMode, parse func([]byte) (Loaded, error)) (file *File, replace func(text string), logs *observer.ObservedLogs) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	now := time.Now()
	replace = func(text string) {
		// As an editor does, or what mounts secrets: another file takes its place.
		require.NoError(t, os.WriteFile(path+".new", []byte(text), mode))
		now = now.Add(time.Minute)
		require.NoError(t, os.Chmod(path+".new", mode)) // whatever the umask
		require.NoError(t, os.Chtimes(path+".new", now, now))
		require.NoError(t, os.Rename(path+".new", path))
	}
	replace(text)
	link := path + ".link"
	require.NoError(t, os.Symlink(path, link))
	core, logs := observer.New(zapcore.InfoLevel)
	file, err := OpenFile(link, parse, zap.New(core))
	require.NoError(t, err)
	file.now = func() time.Time { return now }
	return file, replace, logs
}

func TestKeyOfAFileHoldsWhileItStandsThere(t *testing.T) {
	t.Parallel()
	a, b := asJWK(&p256().PublicKey, `"kid":"a"`), asJWK(&p384().PublicKey, `"kid":"b"`)
	file, replace, _ := fileOf(t, asSet(a), 0o600, func(data []byte) (Loaded, error) { return Read(data, "") })
	key := file.Keys()[0]
	require.True(t, file.Holds(key.Serial()))
	replace(asSet(b, a))
	require.True(t, file.Holds(key.Serial()), "read anew, and still there")
	require.Len(t, file.Keys(), 2)
	replace("rubbish")
	require.True(t, file.Holds(key.Serial()))
	replace(asSet(b))
	require.False(t, file.Holds(key.Serial()))
	replace(asSet(a))
	require.False(t, file.Holds(key.Serial()), "what it verified has ended")
	require.True(t, file.Holds(file.Keys()[0].Serial()))
}

func TestKeyFileThatLooksUnchangedIsReadAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	a, b := asSet(asJWK(&p256().PublicKey, `"kid":"a"`)), asSet(asJWK(&p256().PublicKey, `"kid":"b"`))
	write := func(text string) { // in place, of the same size and time
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	}
	write(a)
	core, logs := observer.New(zapcore.InfoLevel)
	file, err := OpenFile(path, func(data []byte) (Loaded, error) { return Read(data, "") }, zap.New(core))
	require.NoError(t, err)
	now := time.Now()
	file.now = func() time.Time { return now }
	key := file.Keys()[0]
	now = now.Add(readEvery)
	require.True(t, file.Holds(key.Serial()), "read again, and the same")
	require.Empty(t, logs.All())
	write(b)
	now = now.Add(readEvery)
	require.False(t, file.Holds(key.Serial()))
}

func TestKeyFileThatCouldNotBeReadIsTriedAgain(t *testing.T) {
	t.Parallel()
	failing := true
	parse := func(data []byte) (Loaded, error) {
		if failing && strings.Contains(string(data), `"b"`) {
			return Loaded{}, errSignature
		}
		return Read(data, "")
	}
	file, replace, logs := fileOf(t, asSet(asJWK(&p256().PublicKey, `"kid":"a"`)), 0o600, parse)
	key := file.Keys()[0]
	replace(asSet(asJWK(&p256().PublicKey, `"kid":"b"`)))
	require.True(t, file.Holds(key.Serial()))
	failing = false // as after chown: the file itself is as it was
	later := file.now().Add(checkEvery)
	file.now = func() time.Time { return later }
	require.False(t, file.Holds(key.Serial()))
	require.Equal(t, 1, logs.FilterLevelExact(zapcore.ErrorLevel).Len())
}

func TestK37SecretThatEverybodyCanReadIsWarnedAbout(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	secret := strings.Repeat("s", 32)
	readSecret := func(data []byte) (Loaded, error) { return ReadSecret(data, "HS256") }
	readPublic := func(data []byte) (Loaded, error) { return Read(data, "") }
	for name, c := range map[string]struct {
		text  string
		mode  os.FileMode
		parse func([]byte) (Loaded, error)
		lines int
	}{
		"secret of the owner":     {secret, 0o600, readSecret, 0},
		"secret of a group":       {secret, 0o640, readSecret, 0},
		"secret of everybody":     {secret, 0o644, readSecret, 1},
		"public key of everybody": {asJWK(&p256().PublicKey, ""), 0o644, readPublic, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, logs := fileOf(t, c.text, c.mode, c.parse)
			assert.Equal(t, c.lines, logs.FilterMessageSnippet("can be read by everybody").Len())
			for _, entry := range logs.All() {
				assert.NotContains(t, fmt.Sprint(entry), secret)
			}
		})
	}
}

// What counts is what the file is that a link leads to, and what it holds now: also that
// everybody can read it, since a change.
func TestK37ChangedFileIsJudgedAnew(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	now := time.Now()
	write := func(name, secret string, mode os.FileMode) {
		now = now.Add(time.Minute)
		require.NoError(t, os.WriteFile(path(name), []byte(strings.Repeat(secret, 32)), 0o600))
		require.NoError(t, os.Chmod(path(name), mode))
		require.NoError(t, os.Chtimes(path(name), now, now))
	}
	lead := func(to string) {
		require.NoError(t, os.Symlink(to, path("link.new")))
		require.NoError(t, os.Rename(path("link.new"), path("link")))
	}
	write("a", "a", 0o600)
	write("b", "b", 0o644)
	lead("a")
	core, logs := observer.New(zapcore.InfoLevel)
	file, err := OpenFile(path("link"), func(data []byte) (Loaded, error) { return ReadSecret(data, "HS256") }, zap.New(core))
	require.NoError(t, err)
	clock := time.Now()
	file.now = func() time.Time { return clock }
	step := func() (serial uint64, warned int) {
		clock = clock.Add(checkEvery)
		logs.TakeAll()
		keys := file.Keys()
		require.Len(t, keys, 1)
		return keys[0].Serial(), logs.FilterMessageSnippet("can be read by everybody").Len()
	}
	first, warned := step()
	assert.Zero(t, warned)

	lead("b")
	second, warned := step()
	assert.NotEqual(t, first, second, "the link leads elsewhere")
	assert.False(t, file.Holds(first))
	assert.Equal(t, 1, warned)

	write("b", "c", 0o600)
	third, warned := step()
	assert.NotEqual(t, second, third, "the file it leads to has changed")
	assert.Zero(t, warned)

	require.NoError(t, os.Chmod(path("b"), 0o644))
	same, warned := step()
	assert.Equal(t, third, same, "the same key")
	assert.Equal(t, 1, warned, "opened since")
	_, warned = step()
	assert.Zero(t, warned, "told once")

	require.NoError(t, os.Remove(path("b")))
	same, _ = step()
	assert.Equal(t, third, same, "a link that leads nowhere changes nothing")
	_, err = OpenFile(path("link"), file.parse, zap.NewNop())
	require.EqualError(t, err, "key file "+path("link")+": no such file or directory")
	require.NoError(t, os.Remove(path("link")))
	lead("link")
	_, err = OpenFile(path("link"), file.parse, zap.NewNop())
	require.Error(t, err, "a link that leads to itself")
	_, err = OpenFile(folder, file.parse, zap.NewNop())
	require.Error(t, err, "a folder")
}

// A file of somebody else is a key file like any other, if it can be read; root can read
// and give away all.
func TestK37FileOfAnotherOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("s", 32)), 0o644)) //nolint:gosec // it is the case
	require.NoError(t, os.Chown(path, 65534, 65534))
	core, logs := observer.New(zapcore.InfoLevel)
	file, err := OpenFile(path, func(data []byte) (Loaded, error) { return ReadSecret(data, "HS256") }, zap.New(core))
	require.NoError(t, err)
	assert.Len(t, file.Keys(), 1)
	assert.Equal(t, 1, logs.FilterMessageSnippet("can be read by everybody").Len())
}

func TestMissingKeyFileFailsAtLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.pem")
	_, err := OpenFile(path, func(data []byte) (Loaded, error) { return Read(data, "") }, zap.NewNop())
	require.EqualError(t, err, "key file "+path+": no such file or directory")
}
