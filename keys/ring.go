package keys

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// Ring is our own signing keys: the first signs, all verify. The zero value
// holds none yet; until Set it can say nothing about a token.
type Ring struct {
	held atomic.Pointer[held]
}

// held is what a ring holds at one time.
type held struct {
	signer *Signer
	public []*Key // of all signers: secrets too, so never to be shown as they are
}

// ErrNoSigner says that the ring has not been filled yet.
var ErrNoSigner = errors.New("signing keys are not there yet")

// NewRing makes a ring of signers. The first signs.
func NewRing(signers ...*Signer) *Ring {
	r := new(Ring)
	r.Set(signers...)
	return r
}

// Set takes new keys. The first signs. Without any the ring is empty again.
func (r *Ring) Set(signers ...*Signer) {
	if len(signers) == 0 {
		r.held.Store(nil)
		return
	}
	public := make([]*Key, len(signers))
	for i, s := range signers {
		public[i] = s.public
	}
	r.held.Store(&held{signers[0], public})
}

// Find picks the keys that fit.
func (r *Ring) Find(_ context.Context, kid, alg string) ([]*Key, error) {
	h := r.held.Load()
	if h == nil {
		return nil, ErrNoSigner
	}
	return fitting(h.public, kid, alg)
}

// Holds reports whether the key is one of ours.
func (r *Ring) Holds(serial uint64) bool {
	h := r.held.Load()
	return h != nil && Static(h.public).Holds(serial)
}

// Listed is what may be shown of a key of ours.
type Listed struct {
	ID        string `json:"kid"` // empty for most secrets
	Algorithm string `json:"alg"`
	Signs     bool   `json:"signs"` // otherwise it only verifies
}

// List shows the keys; none while the ring is empty.
func (r *Ring) List() []Listed {
	h := r.held.Load()
	if h == nil {
		return []Listed{}
	}
	list := make([]Listed, len(h.public))
	for i, key := range h.public {
		list[i] = Listed{ID: key.ID, Algorithm: key.algorithms[0], Signs: i == 0}
	}
	return list
}

// Algorithms lists what the keys are for, once each; nil while the ring is empty.
func (r *Ring) Algorithms() []string {
	h := r.held.Load()
	if h == nil {
		return nil
	}
	var list []string
	for _, key := range h.public {
		list = append(list, key.algorithms...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Sign makes a JWT in compact form of claims in JSON. typ says which kind of
// JWT it is, such as JWT or at+jwt.
func (r *Ring) Sign(claims []byte, typ string) (string, error) {
	h := r.held.Load()
	if h == nil {
		return "", ErrNoSigner
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		ID        string `json:"kid,omitempty"`
		Type      string `json:"typ"`
	}{h.signer.alg, h.signer.ID, typ})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(header) + "." + encode(claims)
	signature, err := sign(h.signer.alg, []byte(input), h.signer.private)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return input + "." + encode(signature), nil
}

// Derive makes 32 bytes of the key that signs and a label: always the same, and
// of no use to guess the key by. ErrNoSigner: there is none yet.
func (r *Ring) Derive(label string) ([]byte, error) {
	h := r.held.Load()
	if h == nil {
		return nil, ErrNoSigner
	}
	secret, isSecret := h.signer.private.([]byte)
	if !isSecret {
		var err error
		if secret, err = x509.MarshalPKCS8PrivateKey(h.signer.private); err != nil {
			return nil, err
		}
	}
	return hkdf.Key(sha256.New, secret, nil, label, sha256.Size)
}

var _ Set = (*Ring)(nil)
