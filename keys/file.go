package keys

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// checkEvery is how often a key file is looked at, at most.
const checkEvery = time.Second

// File is a set that is read from a file, and again when the file changes. A
// change that can't be read leaves the keys as they were, and is logged once.
type File struct {
	path   string
	parse  func(data []byte) ([]*Key, error)
	logger *zap.Logger
	now    func() time.Time

	mu      sync.Mutex // guards what follows
	keys    []*Key
	seen    fileState
	checked time.Time
}

// fileState tells a changed file from an unchanged one.
type fileState struct {
	modified time.Time
	size     int64
}

// OpenFile reads a key file. parse is how its bytes become keys.
func OpenFile(path string, parse func(data []byte) ([]*Key, error), logger *zap.Logger) (*File, error) {
	f := &File{path: path, parse: parse, logger: logger, now: time.Now}
	state, keys, err := f.read()
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	f.keys, f.seen, f.checked = keys, state, f.now()
	return f, nil
}

func (f *File) read() (fileState, []*Key, error) {
	state, err := stateOf(f.path)
	if err != nil {
		return state, nil, err
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return state, nil, err
	}
	keys, err := f.parse(data)
	return state, keys, err
}

func stateOf(path string) (fileState, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.ModTime(), info.Size()}, nil
}

// Find picks the keys that fit.
func (f *File) Find(ctx context.Context, kid, alg string) ([]*Key, error) {
	return Static(f.current()).Find(ctx, kid, alg)
}

func (f *File) current() []*Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.checked) < checkEvery {
		return f.keys
	}
	f.checked = now
	if state, err := stateOf(f.path); err == nil && state == f.seen {
		return f.keys
	}
	state, keys, err := f.read()
	if state == f.seen { // told already
		return f.keys
	}
	f.seen = state
	if err != nil {
		f.logger.Error("key file changed and can't be read: the keys stay as they were", zap.String("file", f.path), zap.Error(err))
		return f.keys
	}
	f.keys = keys
	f.logger.Info("key file read anew", zap.String("file", f.path), zap.Int("keys", len(keys)))
	return f.keys
}

var _ Set = (*File)(nil)
