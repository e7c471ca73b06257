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

// Backup copies the file as it is now into one beside it, and hands that out: who
// fetches it slowly holds nobody up. It is a file of the store again.
func (s *Store) Backup(ctx context.Context) (store.Backup, error) {
	path, err := newFile(filepath.Dir(s.path), func(to io.Writer) error {
		return s.view(ctx, func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(to)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	file, err := os.Open(path)
	// Nobody but who has it open needs it any more; where that can't be, Close does it.
	_ = os.Remove(path)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &backup{file, info.Size()}, nil
}

// backup is a copy of the store's file.
type backup struct {
	file *os.File
	size int64
}

func (b *backup) Size() int64 { return b.size }

func (b *backup) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, b.file) }

func (b *backup) Close() error {
	err := b.file.Close()
	_ = os.Remove(b.file.Name()) // mostly it has no name any more
	return err
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
	arrived, err := newFile(filepath.Dir(s.path), func(to io.Writer) error {
		_, err := io.Copy(to, from)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	defer func() { _ = os.Remove(arrived) }() // nothing is there, once it has been renamed
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

// newFile makes a file in a folder, lets fill write it, and returns its path.
func newFile(folder string, fill func(io.Writer) error) (path string, err error) {
	file, err := os.CreateTemp(folder, "edge_auth-copy-*") // mode 0600
	if err != nil {
		return "", err
	}
	err = fill(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
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
		defer func() { _ = db.Close() }() // it was only read
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
