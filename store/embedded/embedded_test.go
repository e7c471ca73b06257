package embedded

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/storetest"
)

func TestStoreContract(t *testing.T) {
	t.Parallel()
	// One clock for all: it only ever goes forward, and by less than any
	// lifetime that a test expects to last.
	var passed atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		s := newStore(filepath.Join(t.TempDir(), "edge_auth.db"))
		s.now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
		t.Cleanup(func() { require.NoError(t, s.Destruct()) })
		return s
	}, func(_ *testing.T, d time.Duration) { passed.Add(int64(d)) })
}

func TestE44FileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "edge_auth.db")
	s := newStore(path)
	require.NoError(t, s.Open())
	defer s.Destruct()
	file, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), file.Mode().Perm())
	folder, err := os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), folder.Mode().Perm())
}

func TestNothingIsOpenedBeforeTheFirstUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge_auth.db")
	s := newStore(path)
	require.NoError(t, s.Destruct())
	assert.NoFileExists(t, path)
	_, err := s.Get(t.Context(), "a")
	require.Error(t, err, "what was given back stays closed")
}

func TestD32LockedFileIsNamedAndTriedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge_auth.db")
	first := newStore(path)
	require.NoError(t, first.Open())
	second := newStore(path)
	now := time.Now()
	second.now = func() time.Time { return now }
	err := second.Open()
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "another process")
	if runtime.GOOS == "linux" {
		require.ErrorContains(t, err, fmt.Sprintf("(%d)", os.Getpid()), "who has it")
	}

	require.NoError(t, first.Destruct())
	require.Error(t, second.Open(), "not at once again")
	now = now.Add(retryAfter)
	require.NoError(t, second.Open())
	require.NoError(t, second.Destruct())
}

func TestD32CorruptFileIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge_auth.db")
	require.NoError(t, os.WriteFile(path, []byte("this is no database, whatever its name says"), 0o600))
	require.ErrorContains(t, newStore(path).Open(), path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(data), "no database")
}

func TestSweepDeletesWhatHasExpiredAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(filepath.Join(t.TempDir(), "edge_auth.db"))
	defer s.Destruct()
	now := time.Now()
	s.now = func() time.Time { return now }
	require.NoError(t, s.Put(t.Context(), "short", []byte("1"), time.Minute, "list"))
	require.NoError(t, s.Put(t.Context(), "long", []byte("1"), time.Hour, "list"))
	require.NoError(t, s.Put(t.Context(), "for good", []byte("1"), 0, "list"))
	now = now.Add(time.Minute)
	full, err := s.sweep(s.db)
	require.NoError(t, err)
	assert.False(t, full)
	require.NoError(t, s.db.View(func(tx *bolt.Tx) error {
		assert.Equal(t, 2, tx.Bucket(recordsBucket).Stats().KeyN)
		assert.Equal(t, 2, tx.Bucket(listsBucket).Stats().KeyN)
		assert.Equal(t, 1, tx.Bucket(expiriesBucket).Stats().KeyN)
		return nil
	}))
}

func TestRecordsSurviveAReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge_auth.db")
	s := newStore(path)
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), 0))
	require.NoError(t, s.Destruct())
	s = newStore(path)
	record, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, "1", string(record.Value))
	require.NoError(t, s.Destruct())
}

// fill makes a file of many pages.
func fill(t *testing.T, path string) []byte {
	t.Helper()
	s := newStore(path)
	for i := range 20 {
		require.NoError(t, s.Put(t.Context(), fmt.Sprintf("k%02d", i), make([]byte, 8000), time.Hour, "list"))
	}
	require.NoError(t, s.Destruct())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// bbolt panics at a damaged page. That must neither end the process nor answer
// that there is no such record.
func TestD32DamagedFileIsAnErrorAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"overwritten": func(data []byte) []byte {
			for i := 3 * os.Getpagesize(); i < len(data); i++ {
				data[i] = 0xab
			}
			return data
		},
		"cut short": func(data []byte) []byte { return data[:3*os.Getpagesize()] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "edge_auth.db")
			damaged := damage(fill(t, path))
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			s := newStore(path)
			for range 2 {
				_, err := s.Get(t.Context(), "k01")
				require.ErrorContains(t, err, path+" is damaged")
				require.ErrorContains(t, s.Put(t.Context(), "k01", nil, 0), "is damaged")
			}
			require.NoError(t, s.Destruct())
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(damaged, after), "the file has changed")
		})
	}
}

func TestD32FileThatIsCutShortWhileOpenIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge_auth.db")
	fill(t, path)
	s := newStore(path)
	require.NoError(t, s.Open())
	require.NoError(t, os.Truncate(path, int64(2*os.Getpagesize())))
	_, err := s.Get(t.Context(), "k19")
	require.ErrorContains(t, err, "is damaged")
	require.NoError(t, s.Destruct())
}

func TestUnreadableRecordIsNotTakenForNoneAndStopsNoSweep(t *testing.T) {
	t.Parallel()
	s := newStore(filepath.Join(t.TempDir(), "edge_auth.db"))
	defer s.Destruct()
	now := time.Now()
	s.now = func() time.Time { return now }
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), time.Minute))
	require.NoError(t, s.Put(t.Context(), "b", []byte("1"), time.Minute))
	require.NoError(t, s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(recordsBucket).Put([]byte("a"), []byte("{"))
	}))
	_, err := s.Get(t.Context(), "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrNotFound)
	now = now.Add(time.Minute)
	_, err = s.sweep(s.db)
	require.NoError(t, err)
	require.NoError(t, s.db.View(func(tx *bolt.Tx) error {
		assert.Zero(t, tx.Bucket(recordsBucket).Stats().KeyN)
		assert.Zero(t, tx.Bucket(expiriesBucket).Stats().KeyN)
		return nil
	}))
}

func TestSweepGoesInBatches(t *testing.T) {
	t.Parallel()
	s := newStore(filepath.Join(t.TempDir(), "edge_auth.db"))
	defer s.Destruct()
	now := time.Now()
	s.now = func() time.Time { return now }
	require.NoError(t, s.Open())
	require.NoError(t, s.db.Update(func(tx *bolt.Tx) error {
		for i := range sweepBatch + 5 {
			if err := write(tx, fmt.Sprintf("k%04d", i), entry{Expires: now.UnixNano()}); err != nil {
				return err
			}
		}
		return nil
	}))
	full, err := s.sweep(s.db)
	require.NoError(t, err)
	assert.True(t, full)
	full, err = s.sweep(s.db)
	require.NoError(t, err)
	assert.False(t, full)
	require.NoError(t, s.db.View(func(tx *bolt.Tx) error {
		assert.Zero(t, tx.Bucket(recordsBucket).Stats().KeyN)
		return nil
	}))
}

func TestCaddyfile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, caddyfile, path, fails string }{
		{"the default", "embedded", "", ""},
		{"a path", "embedded /var/lib/edge_auth.db", "/var/lib/edge_auth.db", ""},
		{"two paths", "embedded a b", "", "argument"},
		{"an option", "embedded {\n path a\n}", "", "store embedded has no options; found 'path'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var c Config
			err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.caddyfile))
			if test.fails != "" {
				require.ErrorContains(t, err, test.fails)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.path, c.Path)
		})
	}
}

func TestCopyLeavesTheFileAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge_auth.db")
	store := func() *Store {
		handle, err := (&Config{path: path}).New()
		require.NoError(t, err)
		return handle.(*Store)
	}
	empty := store()
	require.NoError(t, empty.OpenCopy())
	require.NoError(t, empty.Put(t.Context(), "a", []byte("1"), 0))
	require.NoError(t, empty.Destruct())
	assert.NoFileExists(t, path, "none is made")

	real := store()
	require.NoError(t, real.Put(t.Context(), "a", []byte("1"), 0))
	require.ErrorIs(t, store().OpenCopy(), ErrInUse)
	require.NoError(t, real.Destruct())

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	copied := store()
	require.NoError(t, copied.OpenCopy())
	record, err := copied.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, "1", string(record.Value))
	require.NoError(t, copied.Put(t.Context(), "a", []byte("2"), 0))
	require.NoError(t, copied.Destruct())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}
