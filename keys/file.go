package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// checkEvery is how often a key file is looked at, at most.
const checkEvery = time.Second

// readEvery is how often it is read although it looks unchanged: what puts files
// into place may keep their size and time.
const readEvery = time.Minute

// File is a set that is read from a file, and again when the file changes. A
// change that can't be read leaves the keys as they were, and is logged once.
type File struct {
	path   string
	parse  func(data []byte) (Loaded, error)
	logger *zap.Logger
	now    func() time.Time

	mu      sync.Mutex // guards what follows
	keys    []*Key
	seen    fileState
	checked time.Time
	read    time.Time
	failed  string // why the last reading did; empty: it did not
}

// fileState tells a changed file from an unchanged one.
type fileState struct {
	modified time.Time
	size     int64
	open     bool // everybody may read it
	info     fs.FileInfo
}

func (s fileState) same(other fileState) bool {
	return s.modified.Equal(other.modified) && s.size == other.size && s.open == other.open && os.SameFile(s.info, other.info)
}

// OpenFile reads a key file. parse is how its bytes become keys.
func OpenFile(path string, parse func(data []byte) (Loaded, error), logger *zap.Logger) (*File, error) {
	f := &File{path: path, parse: parse, logger: logger, now: time.Now}
	state, loaded, err := f.load()
	if err != nil {
		if named, ok := errors.AsType[*fs.PathError](err); ok { // it would name the file again
			err = named.Err
		}
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	f.warn(state, loaded)
	f.keys, f.seen, f.checked, f.read = loaded.Keys, state, f.now(), f.now()
	return f, nil
}

func (f *File) load() (fileState, Loaded, error) {
	state, err := stateOf(f.path)
	if err != nil {
		return state, Loaded{}, err
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return state, Loaded{}, err
	}
	loaded, err := f.parse(data)
	return state, loaded, err
}

func stateOf(path string) (fileState, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}, err
	}
	// Windows keeps who may read a file elsewhere.
	open := runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0
	return fileState{info.ModTime(), info.Size(), open, info}, nil
}

func (f *File) warn(state fileState, loaded Loaded) {
	if state.open && slices.ContainsFunc(loaded.Keys, (*Key).Secret) {
		f.logger.Warn("file with a secret can be read by everybody on this machine, who can then sign tokens: chmod o-r", zap.String("file", f.path))
	}
	for _, skipped := range loaded.Skipped {
		f.logger.Warn("key of a file is not used", zap.String("file", f.path), zap.Error(skipped))
	}
}

// Find picks the keys that fit.
func (f *File) Find(ctx context.Context, kid, alg string) ([]*Key, error) {
	return Static(f.Keys()).Find(ctx, kid, alg)
}

// Holds reports whether the key is one of those that the file has now.
func (f *File) Holds(serial uint64) bool { return Static(f.Keys()).Holds(serial) }

// Keys returns the keys as the file has them now, or as it last had them.
func (f *File) Keys() []*Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.checked) < checkEvery {
		return f.keys
	}
	f.checked = now
	if state, err := stateOf(f.path); err == nil && state.same(f.seen) && now.Sub(f.read) < readEvery {
		return f.keys
	}
	state, loaded, err := f.load()
	if err != nil { // it is tried again, and told once
		if f.failed != err.Error() {
			f.logger.Error("key file changed and can't be read: the keys stay as they were", zap.String("file", f.path), zap.Error(err))
		}
		f.failed = err.Error()
		return f.keys
	}
	fresh := kept(f.keys, loaded.Keys)
	changed, opened := !slices.Equal(fresh, f.keys), state.open && !f.seen.open
	f.seen, f.read, f.failed = state, now, ""
	if changed || opened {
		f.warn(state, loaded)
	}
	if changed {
		f.keys = fresh
		f.logger.Info("key file read anew", zap.String("file", f.path), zap.Int("keys", len(loaded.Keys)))
	}
	return f.keys
}

var _ Set = (*File)(nil)
