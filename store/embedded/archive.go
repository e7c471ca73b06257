package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// Backup begins a copy of the file as it is now: a file of the store again.
func (s *Store) Backup(ctx context.Context) (store.Backup, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db, err := s.open()
	if err != nil {
		return nil, err
	}
	b := &backup{store: s}
	err = s.guarded(func() (err error) {
		b.tx, err = db.Begin(false)
		return err
	})
	return b, err
}

// backup is a transaction that reads.
type backup struct {
	store *Store
	tx    *bolt.Tx
}

func (b *backup) Size() int64 { return b.tx.Size() }

func (b *backup) Close() error { return b.tx.Rollback() }

func (b *backup) WriteTo(w io.Writer) (n int64, err error) {
	err = b.store.guarded(func() (err error) {
		n, err = b.tx.WriteTo(w)
		return err
	})
	return n, err
}

// restored is added to the name of the file that Restore takes the place of.
const restored = ".before-restore"

// Restore reads a backup into a file beside the store's, looks all of it through,
// and only then lets it take the other's place. Calls that come meanwhile wait.
func (s *Store) Restore(ctx context.Context, from io.Reader) (string, error) {
	if s.now().UnixNano() < s.held.Load() {
		return "", store.ErrHeld
	}
	if err := s.Open(); err != nil {
		return "", err
	}
	arrived, err := receive(filepath.Dir(s.path), from)
	if err != nil {
		return "", err
	}
	defer os.Remove(arrived) // nothing, once it has been renamed
	if err := errors.Join(ctx.Err(), inspect(arrived)); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.db == nil {
		return "", errors.New("store is closed")
	}
	if err := s.shut(); err != nil {
		return "", err
	}
	before := s.path + restored
	err = os.Rename(s.path, before)
	if err == nil {
		if err = os.Rename(arrived, s.path); err != nil {
			err = errors.Join(err, os.Rename(before, s.path))
		}
	}
	_, opening := s.opened()
	s.changes.AllChanged()
	return before, errors.Join(err, opening)
}

// receive writes what comes into a new file in a folder, and returns its path.
func receive(folder string, from io.Reader) (path string, err error) {
	file, err := os.CreateTemp(folder, "edge_auth-restore-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if _, err := io.Copy(file, from); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	return file.Name(), file.Sync()
}

// ErrNoBackup says that a file is no backup, or a damaged one.
var ErrNoBackup = errors.New("not a backup of an embedded store, or damaged")

// inspect reads all of a file. It is not bbolt's own check, which panics at a damaged
// page where nobody can catch that.
func inspect(path string) error {
	probe := newStore(path)
	err := probe.guarded(func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(func(tx *bolt.Tx) error {
			for _, name := range [][]byte{recordsBucket, listsBucket, expiriesBucket} {
				bucket := tx.Bucket(name)
				if bucket == nil {
					return fmt.Errorf("it has no %s", name)
				}
				if err := bucket.ForEach(func(_, data []byte) error { return readable(name, data) }); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return nil
}

// readable says what is wrong with what a bucket holds, if anything.
func readable(bucket, data []byte) error {
	if !bytes.Equal(bucket, recordsBucket) {
		return nil // it is all in the key
	}
	_, err := decode(data)
	return err
}

// Export calls take for each live record, as all of them are at one moment.
func (s *Store) Export(ctx context.Context, take func(store.Item) error) error {
	return s.view(ctx, func(tx *bolt.Tx) error {
		return tx.Bucket(recordsBucket).ForEach(func(key, data []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			e, err := decode(data)
			if err != nil {
				return fmt.Errorf("record %.20q: %w", key, err)
			}
			item := store.Item{Record: store.Record{Value: e.Value}, Key: string(key), Lists: e.Lists}
			if e.Expires != 0 {
				if item.TTL = time.Duration(e.Expires - s.now().UnixNano()); item.TTL <= 0 {
					return nil
				}
			}
			return take(item)
		})
	})
}

// Hold refuses changes for a time. When it returns, none is under way any more.
func (s *Store) Hold(d time.Duration) {
	s.held.Store(s.now().Add(d).UnixNano())
	// One change is made at a time, so this waits for the last that began before.
	_ = s.transact(context.Background(), (*bolt.DB).Update, func(*bolt.Tx) error { return nil })
}
