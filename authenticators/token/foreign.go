package token

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
)

const defaultUser = "user"

// maxToken is the longest token that is hashed, in bytes.
const maxToken = 512

// others are the tokens that another application keeps in Redis.
type others struct {
	store   store.Foreign
	key     string
	pattern foreign.Pattern
	mapping *identity.Mapping
	object  bool        // the config names a path, so a record that is no object says nothing
	fields  []string    // of a hash, that count
	hashes  atomic.Bool // the last record was one
}

func newForeign(s Source, mapping *identity.Mapping, host authenticators.Host) (*others, error) {
	pattern, err := foreign.ParsePattern(s.Key, "token", "sha256")
	if err != nil {
		return nil, err
	}
	from, err := host.Foreign(s.Redis, pattern.Prefix())
	if err != nil {
		return nil, err
	}
	o := &others{store: from, key: s.Key, pattern: pattern, mapping: mapping, object: s.User != ""}
	paths := []string{cmp.Or(s.User, defaultUser)}
	for _, claim := range s.Claims {
		paths = append(paths, claim.Path)
	}
	for _, path := range paths {
		steps, err := identity.ParsePath(path)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(o.fields, steps[0]) {
			o.fields = append(o.fields, steps[0])
		}
	}
	return o, nil
}

func (o *others) find(ctx context.Context, token authenticators.Secret) (*identity.Identity, error) {
	key, err := o.keyOf(token)
	if err != nil {
		return nil, errUnknown
	}
	who, err := o.identityAt(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errUnknown
	case errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrWrongType):
		return nil, &invalidError{err}
	}
	return who, err
}

// identityAt reads a record, of the kind first that the last one was of.
func (o *others) identityAt(ctx context.Context, key string) (*identity.Identity, error) {
	first, second := o.ofValue, o.ofHash
	if o.hashes.Load() {
		first, second = second, first
	}
	who, err := first(ctx, key)
	if errors.Is(err, store.ErrWrongType) {
		who, err = second(ctx, key)
	}
	return who, err
}

func (o *others) ofValue(ctx context.Context, key string) (*identity.Identity, error) {
	record, err := o.store.Get(ctx, key)
	if err != nil {
		return nil, lookingUp(err)
	}
	o.hashes.Store(false)
	who, err := o.identify(record.Value)
	if err != nil {
		return nil, &invalidError{err}
	}
	return who, nil
}

func (o *others) ofHash(ctx context.Context, key string) (*identity.Identity, error) {
	fields, _, err := o.store.Fields(ctx, key, o.fields...)
	if err != nil {
		return nil, lookingUp(err)
	}
	o.hashes.Store(true)
	claims := make(map[string]any, len(fields))
	for name, value := range fields {
		claims[name] = string(value)
	}
	who, err := o.mapping.Identify(claims)
	if err != nil {
		return nil, &invalidError{err}
	}
	return who, nil
}

func lookingUp(err error) error { return fmt.Errorf("looking token up: %w", err) }

// keyOf is the key that another application keeps a token under.
func (o *others) keyOf(secret authenticators.Secret) (string, error) {
	token := secret.Reveal()
	if isEmptyValue(token) {
		return "", errors.New("an empty variable of the client's")
	}
	if o.pattern.Placeholder == "sha256" {
		if len(token) > maxToken {
			return "", foreign.ErrUnfit
		}
		return o.pattern.Key(secret.Digest()), nil
	}
	fit := token
	if !strings.Contains(o.key, "/") { // base64 has slashes; here they part nothing
		fit = strings.ReplaceAll(token, "/", "_")
	}
	if err := foreign.Fit(fit); err != nil {
		return "", err
	}
	return o.pattern.Key(token), nil
}

// isEmptyValue reports whether a token is how languages write an empty
// variable. Clients send it by mistake, and an application that writes its
// tokens by the same mistake has given it a record.
func isEmptyValue(token string) bool {
	switch token {
	case "null", "nil", "undefined", "None", "NaN", "true", "false", "0":
		return true
	}
	return false
}

// identify reads another application's record: a JSON object; or, where the
// config names no path in it, the user id alone, as JSON or as it stands.
func (o *others) identify(value []byte) (*identity.Identity, error) {
	if bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
		claims, err := identity.ParseClaims(value)
		if err != nil {
			return nil, err
		}
		return o.mapping.Identify(claims)
	}
	if o.object {
		return nil, errors.New("the record is no JSON object")
	}
	var id any = string(value)
	if json.Valid(value) { // null, true, lists and 1.5 are no ids, and quotes no part of one
		d := json.NewDecoder(bytes.NewReader(value))
		d.UseNumber()
		if err := d.Decode(&id); err != nil {
			return nil, err
		}
	}
	return o.mapping.Identify(map[string]any{defaultUser: id})
}
