// Package records says what Edge Auth keeps in its store: users, passwords,
// opaque tokens and sessions. It is the one place that knows their keys and
// JSON forms. Credentials are kept as SHA-256 digests only, so that a copy of
// the store gives nobody a way in.
package records

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// The keys, but for the store's prefix.
const (
	userKey     = "user:"
	passwordKey = "password:"
	tokenKey    = "token:"
	sessionKey  = "session:"
)

// The lists: all users, all tokens, and what belongs to one user.
const (
	usersList  = "users"
	tokensList = "tokens"
	ownerList  = "of:"
)

const (
	// digestLen is how many characters a digest has.
	digestLen = 2 * sha256.Size

	// shortID is how many of them name a token or session in lists.
	shortID = 16

	// shortest is how many of them do to name one, if they begin no other.
	shortest = 8

	// atOnce is how many records are read at a time.
	atOnce = 32
)

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// form says which form of JSON a record has. There is one so far, and it has no
// number. What a later release wrote may say something that this one would
// overlook, so any other is an error.
type form struct {
	Version int `json:"v,omitempty"`
}

func (f form) check() error {
	if f.Version != 0 {
		return fmt.Errorf("form %d is of a later release", f.Version)
	}
	return nil
}

// get reads a JSON record. One that can't be read is an error of its own, never
// store.ErrNotFound: it says nothing about whether somebody may come in.
func get(ctx context.Context, s store.Store, key string, to any) (time.Duration, error) {
	record, err := s.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	return record.TTL, read(key, record.Value, to)
}

func read(key string, value []byte, to any) error {
	err := json.Unmarshal(value, to)
	if checked, ok := to.(interface{ check() error }); ok && err == nil {
		err = checked.check()
	}
	if err != nil {
		return fmt.Errorf("reading record %s: %w", shown(key), err)
	}
	return nil
}

// getRaw is get, with the record as it stands, for swap.
func getRaw(ctx context.Context, s store.Store, key string, to any) ([]byte, error) {
	record, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return record.Value, read(key, record.Value, to)
}

// swap writes a record in the place of what getRaw read; nil: of none.
func swap(ctx context.Context, s store.Store, key string, old []byte, value any, ttl time.Duration, lists ...string) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.Swap(ctx, key, old, data, ttl, lists...)
}

// shown is a key as logs show it: of digests, no more than lists do.
func shown(key string) string {
	kind, name, _ := strings.Cut(key, ":")
	if kind += ":"; slices.Contains([]string{tokenKey, sessionKey, loginKey, useKey, importedTokenKey}, kind) {
		name = name[:min(len(name), shortID)]
	}
	return kind + name
}

func put(ctx context.Context, s store.Store, key string, value any, ttl time.Duration, lists ...string) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.Put(ctx, key, data, ttl, lists...)
}

// each reads the records in a list whose keys begin with kind. Those that ended
// meanwhile are left out.
func each[T any](ctx context.Context, s store.Store, list, kind string, add func(key string, record T, ttl time.Duration)) error {
	keys, err := s.List(ctx, list)
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, kind) })
	type found struct {
		record T
		ttl    time.Duration
		ended  bool
	}
	all := make([]found, len(keys))
	err = inParallel(len(keys), func(i int) error {
		var err error
		all[i].ttl, err = get(ctx, s, keys[i], &all[i].record)
		if all[i].ended = errors.Is(err, store.ErrNotFound); all[i].ended {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range all {
		if !all[i].ended {
			add(keys[i], all[i].record, all[i].ttl)
		}
	}
	return nil
}

// inParallel calls do for 0 to n-1, several at a time. It returns the first error.
func inParallel(n int, do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

// ErrAmbiguous says that several records are meant by what should name one.
var ErrAmbiguous = errors.New("several records begin so; more characters of the id are needed")

// keyOf finds the one key of a kind in a list whose digest begins with id, of which
// 8 characters do; store.ErrNotFound if there is none.
func keyOf(ctx context.Context, s store.Store, list, kind, id string) (string, error) {
	if len(id) < shortest {
		return "", store.ErrNotFound
	}
	keys, err := s.List(ctx, list)
	if err != nil {
		return "", err
	}
	found := ""
	for _, key := range keys {
		if strings.HasPrefix(key, kind+id) {
			if found != "" {
				return "", fmt.Errorf("%w: %s", ErrAmbiguous, id)
			}
			found = key
		}
	}
	if found == "" {
		return "", store.ErrNotFound
	}
	return found, nil
}
