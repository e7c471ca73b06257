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
	"strings"
	"time"

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

// shortID is how many characters of a digest name a token or session in lists.
const shortID = 16

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
	if kind += ":"; kind == tokenKey || kind == sessionKey || kind == loginKey {
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

// each reads the records of a kind in a list. Those that ended meanwhile are
// left out.
func each[T any](ctx context.Context, s store.Store, list, kind string, add func(key string, record T, ttl time.Duration)) error {
	keys, err := s.List(ctx, list)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, kind) {
			continue
		}
		var record T
		ttl, err := get(ctx, s, key, &record)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		add(key, record, ttl)
	}
	return nil
}

// keyOf finds the one key of a kind in a list whose digest begins with id, which
// is what lists show of it or the whole; store.ErrNotFound if there is none.
func keyOf(ctx context.Context, s store.Store, list, kind, id string) (string, error) {
	if len(id) < shortID {
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
				return "", fmt.Errorf("two records begin with %s", id)
			}
			found = key
		}
	}
	if found == "" {
		return "", store.ErrNotFound
	}
	return found, nil
}
