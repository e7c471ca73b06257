package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrNoKey says that a set is known, and has no key that fits.
var ErrNoKey = errors.New("no key fits")

// Set finds the keys that a token may have been signed with. It must be safe
// for concurrent use.
type Set interface {
	// Find returns the keys that fit: those with the id kid, or all if kid is
	// empty, that may be used with alg; MaxTried at most. ErrNoKey: there is
	// none, or too many to try. Any other error: the set could not be had.
	Find(ctx context.Context, kid, alg string) ([]*Key, error)

	// Holds reports whether a key that Find has returned, by its serial, may still be
	// used: what was verified with it counts no longer than that. It never waits for
	// the network; a set from a file may look at the file.
	Holds(serial uint64) bool
}

// MaxTried is how many keys are tried on one token, which bounds what a forged
// one costs.
const MaxTried = 2

// fitting picks the keys of a set for a token. More than are tried is none:
// a token of a set with many keys must name its own.
func fitting(keys []*Key, kid, alg string) ([]*Key, error) {
	var found []*Key
	for _, k := range keys {
		if (kid == "" || k.ID == kid) && k.Fits(alg) {
			found = append(found, k)
		}
	}
	return bounded(found)
}

func bounded(found []*Key) ([]*Key, error) {
	switch {
	case len(found) == 0:
		return nil, ErrNoKey
	case len(found) > MaxTried:
		return nil, fmt.Errorf("%w: %d would, and at most %d are tried", ErrNoKey, len(found), MaxTried)
	}
	return found, nil
}

// Static is a set that never changes.
type Static []*Key

// Find picks the keys that fit.
func (s Static) Find(_ context.Context, kid, alg string) ([]*Key, error) {
	found, err := fitting(s, kid, alg)
	if err == nil || kid == "" || slices.ContainsFunc(s, func(k *Key) bool { return k.ID == kid }) {
		return found, err
	}
	// Keys given by hand often have no id; then the token's means nothing.
	return fitting(slices.DeleteFunc(slices.Clone(s), func(k *Key) bool { return k.ID != "" }), "", alg)
}

// Holds reports whether the key is one of the set.
func (s Static) Holds(serial uint64) bool {
	return slices.ContainsFunc(s, func(k *Key) bool { return k.serial == serial })
}

// Union is several sets that are one.
type Union []Set

// Find collects what fits from each. Keys of the very id go before those that
// have none.
func (u Union) Find(ctx context.Context, kid, alg string) ([]*Key, error) {
	var all, named []*Key
	for _, set := range u {
		found, err := set.Find(ctx, kid, alg)
		if err != nil && !errors.Is(err, ErrNoKey) {
			return nil, err
		}
		for _, key := range found {
			all = append(all, key)
			if kid != "" && key.ID == kid {
				named = append(named, key)
			}
		}
	}
	if len(named) > 0 {
		all = named
	}
	return bounded(all)
}

// Holds reports whether one of the sets holds the key.
func (u Union) Holds(serial uint64) bool {
	return slices.ContainsFunc(u, func(set Set) bool { return set.Holds(serial) })
}

var (
	_ Set = Static(nil)
	_ Set = Union(nil)
)
