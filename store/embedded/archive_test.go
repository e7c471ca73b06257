package embedded

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func opened(t *testing.T) *Store {
	t.Helper()
	s := newStore(filepath.Join(t.TempDir(), "store.db"))
	t.Cleanup(func() { _ = s.Destruct() })
	require.NoError(t, s.Open())
	return s
}

func backupOf(t *testing.T, s *Store) []byte {
	t.Helper()
	b, err := s.Backup(t.Context())
	require.NoError(t, err)
	defer b.Close()
	var file bytes.Buffer
	_, err = b.WriteTo(&file)
	require.NoError(t, err)
	assert.Equal(t, b.Size(), int64(file.Len()))
	return file.Bytes()
}

func TestBackupIsOfOneMomentAndRestoreBringsItBack(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ctx := t.Context()
	require.NoError(t, s.Put(ctx, "a", []byte("1"), time.Hour, "list"))
	b, err := s.Backup(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Put(ctx, "a", []byte("2"), 0, "list"), "it runs on")
	require.NoError(t, s.Put(ctx, "b", []byte("2"), 0, "list"))
	var file bytes.Buffer
	_, err = b.WriteTo(&file)
	require.NoError(t, err)
	require.NoError(t, b.Close())

	stamp := s.changes.Stamp("a")
	before, err := s.Restore(ctx, &file)
	require.NoError(t, err)
	assert.False(t, stamp.Current(store.Now()), "what was found out from the other file is worth nothing")
	record, err := s.Get(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "1", string(record.Value))
	assert.InDelta(t, time.Hour.Seconds(), record.TTL.Seconds(), 60)
	keys, err := s.List(ctx, "list")
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, keys)
	require.NoError(t, s.Put(ctx, "c", []byte("3"), 0))

	old := newStore(before)
	t.Cleanup(func() { _ = old.Destruct() })
	record, err = old.Get(ctx, "b")
	require.NoError(t, err, "what was there is kept")
	assert.Equal(t, "2", string(record.Value))
	left, err := filepath.Glob(filepath.Join(filepath.Dir(s.path), "edge_auth-copy-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	info, err := os.Stat(s.path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestDamagedBackupChangesNothing(t *testing.T) {
	t.Parallel()
	s := opened(t)
	require.NoError(t, s.change(t.Context(), nil, func(tx *bolt.Tx) error {
		for n := range 2000 {
			if err := write(tx, "key"+strconv.Itoa(n), entry{Value: bytes.Repeat([]byte("x"), 50), Lists: []string{"list"}}); err != nil {
				return err
			}
		}
		return nil
	}))
	good := backupOf(t, s)
	for at := 0; at < len(good); at += max(4096, len(good)/64) {
		damaged := bytes.Clone(good)
		for i := range 64 {
			damaged[at+i] ^= 0xff
		}
		if _, err := s.Restore(t.Context(), bytes.NewReader(damaged)); err != nil {
			require.ErrorIs(t, err, ErrNoBackup)
		}
		_, err := s.Get(t.Context(), "key0")
		require.NoError(t, err, "damage at %d", at)
	}
	for _, length := range []int{0, 100, 4096, len(good) / 2} {
		_, err := s.Restore(t.Context(), bytes.NewReader(good[:length]))
		require.ErrorIs(t, err, ErrNoBackup, length)
	}
	_, err := s.Restore(t.Context(), bytes.NewReader(good))
	require.NoError(t, err)
}

func TestRestoreFailsNoCall(t *testing.T) {
	t.Parallel()
	s := opened(t)
	require.NoError(t, s.Put(t.Context(), "a", []byte("1"), 0))
	file := backupOf(t, s)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				_, err := s.Get(context.Background(), "a")
				assert.NoError(t, err)
				assert.NoError(t, s.Put(context.Background(), "b", []byte("1"), 0))
			}
		})
	}
	for range 10 {
		_, err := s.Restore(t.Context(), bytes.NewReader(file))
		require.NoError(t, err)
	}
	stop()
	all.Wait()
}

func TestHeldStoreTakesNoChanges(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ctx := t.Context()
	require.NoError(t, s.Put(ctx, "a", []byte("1"), time.Hour, "x", "y"))
	require.NoError(t, s.Put(ctx, "gone", []byte("1"), time.Nanosecond))
	file := backupOf(t, s)
	s.Hold(time.Hour)
	require.ErrorIs(t, s.Put(ctx, "a", []byte("2"), 0), store.ErrHeld)
	require.ErrorIs(t, s.Delete(ctx, "a"), store.ErrHeld)
	require.ErrorIs(t, s.Touch(ctx, "a", time.Hour), store.ErrHeld)
	require.ErrorIs(t, s.Swap(ctx, "a", []byte("1"), []byte("2"), 0), store.ErrHeld)
	_, err := s.Add(ctx, "n", 1, time.Hour)
	require.ErrorIs(t, err, store.ErrHeld)
	_, err = s.Restore(ctx, bytes.NewReader(file))
	require.ErrorIs(t, err, store.ErrHeld)
	var items []store.Item
	require.NoError(t, s.Export(ctx, func(item store.Item) error {
		items = append(items, item)
		return nil
	}))
	require.Len(t, items, 1)
	assert.Equal(t, "a", items[0].Key)
	assert.Equal(t, []string{"x", "y"}, items[0].Lists)
	assert.InDelta(t, time.Hour.Seconds(), items[0].TTL.Seconds(), 60)
	s.Hold(0)
	require.NoError(t, s.Delete(ctx, "a"))
}
