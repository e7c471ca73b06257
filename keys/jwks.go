package keys

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// The most that is read of a key set.
const (
	maxSetKeys  = 100
	maxSetBytes = 1 << 20
)

// errPrivate refuses a key that signs where one that checks is needed.
var errPrivate = errors.New("a private key: it signs, and must not be where others can read it; give the public one")

// parseSet reads a JWK Set key by key: one of an unknown kind must not lock all
// others out (RFC 7517, section 5). A single JWK, and secrets, are taken only
// where trusted.
func parseSet(data []byte, alg string, trusted bool) (Loaded, error) {
	if len(data) > maxSetBytes {
		return Loaded{}, fmt.Errorf("key set of more than %d bytes", maxSetBytes)
	}
	members, err := identity.ParseClaims(data)
	if err != nil {
		return Loaded{}, fmt.Errorf("key set: %w", err)
	}
	list, isSet := members["keys"].([]any)
	_, single := members["kty"]
	switch {
	case isSet:
	case single && trusted:
		list = []any{members}
	case single:
		return Loaded{}, errors.New("a single JWK; a JWK Set is needed")
	default:
		return Loaded{}, errors.New("neither a JWK nor a JWK Set: no list 'keys'")
	}
	if len(list) > maxSetKeys {
		return Loaded{}, fmt.Errorf("key set of %d keys; at most %d are read", len(list), maxSetKeys)
	}
	var loaded Loaded
	for i, item := range list {
		key, err := readJWK(item, alg, trusted)
		if err != nil {
			loaded.Skipped = append(loaded.Skipped, fmt.Errorf("%s: %w", place(i, item), err))
			continue
		}
		if !slices.ContainsFunc(loaded.Keys, key.equal) {
			loaded.Keys = append(loaded.Keys, key)
		}
	}
	loaded.Skipped = append(loaded.Skipped, crowded(loaded.Keys)...)
	return loaded, nil
}

// crowded says which keys are not used because too many go by their id.
func crowded(keys []*Key) []error {
	var told []error
	seen := make(map[string]bool)
	for _, key := range keys {
		for _, alg := range key.algorithms {
			if _, err := fitting(keys, key.ID, alg); err != nil && !seen[key.ID] {
				seen[key.ID] = true
				told = append(told, fmt.Errorf("key %.100q: its id does not tell it from others: %w", key.ID, err))
			}
		}
	}
	return told
}

// place names a key of a set for people.
func place(i int, item any) string {
	members, _ := item.(map[string]any)
	if kid, ok := members["kid"].(string); ok {
		return fmt.Sprintf("key %.100q", kid)
	}
	return fmt.Sprintf("key %d of the set", i+1)
}

// readJWK reads one JWK. What it says of its use is heeded.
func readJWK(item any, alg string, trusted bool) (*Key, error) {
	members, ok := item.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	if _, private := members["d"]; private {
		return nil, errPrivate
	}
	// Certificates prove nothing here: the key counts, and where it came from.
	members = maps.Clone(members)
	maps.DeleteFunc(members, func(name string, _ any) bool { return strings.HasPrefix(name, "x5") })
	raw, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	parsed, err := parseJWK(raw)
	if err != nil {
		return nil, err
	}
	if _, secret := parsed.material.([]byte); secret && !trusted {
		return nil, errors.New("a secret, which nobody should publish")
	}
	if _, private := parsed.material.(crypto.Signer); private {
		return nil, errPrivate
	}
	if parsed.use != "" && parsed.use != "sig" {
		return nil, fmt.Errorf("its use is '%s', not 'sig'", parsed.use)
	}
	if _, stated := members["key_ops"]; stated && !slices.Contains(parsed.operations, "verify") {
		return nil, errors.New("its key_ops do not hold 'verify'")
	}
	switch {
	case alg == "":
		alg = parsed.alg
	case parsed.alg != "" && parsed.alg != alg:
		return nil, fmt.Errorf("it is for %s, not %s", parsed.alg, alg)
	}
	return NewKey(parsed.id, alg, parsed.material)
}
