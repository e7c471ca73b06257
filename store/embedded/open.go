package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	lockTimeout = time.Second // how long the file may stay locked by another
	retryAfter  = time.Second // how long a failed opening is not tried again
)

// Open opens the file if it is not open yet. It names the file, and what could
// be done, if it can't.
func (s *Store) Open() error {
	_, err := s.open()
	return err
}

func (s *Store) open() (*bolt.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened()
}

// opened is open, where s.mu is held.
func (s *Store) opened() (*bolt.DB, error) {
	if damage := s.damage.Load(); damage != nil {
		return nil, damage
	}
	switch {
	case s.closed:
		return nil, errors.New("store is closed")
	case s.db != nil:
		return s.db, nil
	case s.failed != nil && s.now().Sub(s.since) < retryAfter:
		return nil, s.failed
	}
	var db *bolt.DB
	err := s.guarded(func() (err error) {
		db, err = openFile(s.path)
		return err
	})
	if err != nil {
		s.failed, s.since = err, s.now()
		return nil, err
	}
	s.db, s.failed = db, nil
	s.sweeps, s.swept = make(chan struct{}), make(chan struct{})
	go s.sweepNowAndThen(db, s.sweeps, s.swept)
	return db, nil
}

func openFile(path string) (*bolt.DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	// The list of free pages is kept in the file. Without it (NoFreelistSync)
	// bbolt reads the whole file at each opening and after each transaction that
	// comes to nothing, in a goroutine whose panic nobody can catch: a damaged
	// page would end the process.
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errInUse(path)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded store: %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{recordsBucket, listsBucket, expiriesBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded store: %s: %w", path, err), db.Close())
	}
	return db, nil
}

// damageError says that the file is not as bbolt has written it.
type damageError struct {
	path  string
	cause any
}

func (e *damageError) Error() string {
	return fmt.Sprintf("embedded store: %s is damaged: restore it from a backup or move it away, and restart Caddy; it is left as it is (%v)", e.path, e.cause)
}

// guarded makes errors of what bbolt meets a damaged page with, a panic, and of
// the fault that reading beyond the end of a shortened file is. After that the
// store refuses all calls: no lock of bbolt's can be relied on any more, and
// what is written could make the damage worse.
func (s *Store) guarded(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			damage := &damageError{s.path, cause}
			s.damage.CompareAndSwap(nil, damage)
			err = damage
		}
	}()
	return use()
}

// OpenCopy opens a copy of the file in its place, of which nothing remains: what is
// written is lost, and the file is neither changed nor made. It fails while another
// process has the file open.
func (s *Store) OpenCopy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder, err := os.MkdirTemp("", "edge_auth")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }() // what is open stays readable
	copied := filepath.Join(folder, "copy.db")
	if err := copyFile(s.path, copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.db, err = openFile(copied)
	s.sweeps, s.swept = make(chan struct{}), make(chan struct{})
	close(s.swept) // nothing sweeps it
	return err
}

func copyFile(from, to string) error {
	db, err := bolt.Open(from, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errInUse(from)
	}
	if err != nil {
		return fmt.Errorf("embedded store: %s: %w", from, err)
	}
	return errors.Join(db.View(func(tx *bolt.Tx) error { return tx.CopyFile(to, 0o600) }), db.Close())
}

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("in use by another process")

func errInUse(path string) error {
	by := ""
	if id := holder(path); id != "" {
		by = " (" + id + ")"
	}
	return fmt.Errorf("embedded store: %s is %w%s, probably a second Caddy: stop that one, or give this one a file of its own (store embedded <path>), or let both use Redis", path, ErrInUse, by)
}
