package records

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// kindsKey is where it stands which kinds of password hashes were imported. Each
// takes its own time to check, and a name that nobody has must not be told by that.
const kindsKey = "hash_kinds"

// maxKinds bounds the kinds that are known: there are as many as there were settings
// at the source.
const maxKinds = 16

type hashKinds struct {
	form
	Salt    string   `json:"salt"`
	Dummies []string `json:"dummies"`
}

// noteKind notes the kind of a hash that is about to be kept.
func noteKind(ctx context.Context, s store.Store, hash string) error {
	dummy := passwords.Dummy(hash)
	for {
		var known hashKinds
		raw, err := getRaw(ctx, s, kindsKey, &known)
		switch {
		case errors.Is(err, store.ErrNotFound):
			known.Salt = rand.Text()
		case err != nil:
			return err
		case slices.Contains(known.Dummies, dummy), len(known.Dummies) == maxKinds:
			return nil
		}
		known.Dummies = append(known.Dummies, dummy)
		if err := swap(ctx, s, kindsKey, raw, known, 0); !errors.Is(err, store.ErrChanged) {
			return err
		}
	}
}

// unknownUser is a hash to check a password against where there is no user of that
// name. It is of any kind that users have, and for one name always the same.
func unknownUser(ctx context.Context, s store.Store, name string) (string, error) {
	var known hashKinds
	_, err := get(ctx, s, kindsKey, &known)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	kinds := slices.Concat(known.Dummies, []string{ours})
	mac := hmac.New(sha256.New, []byte(known.Salt))
	mac.Write([]byte(name))
	return kinds[binary.BigEndian.Uint64(mac.Sum(nil))%uint64(len(kinds))], nil
}

// ours is a hash of the kind that new ones are of.
var ours = passwords.Dummy("")
