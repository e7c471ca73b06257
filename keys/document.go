package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
)

// publicJWK is a public key as a JWK (RFC 7517; RFC 7518, section 6; RFC 8037).
type publicJWK struct {
	Type  string `json:"kty"`
	Curve string `json:"crv,omitempty"`
	X     string `json:"x,omitempty"`
	Y     string `json:"y,omitempty"`
	N     string `json:"n,omitempty"`
	E     string `json:"e,omitempty"`
	ID    string `json:"kid,omitempty"`
	Alg   string `json:"alg,omitempty"`
	Use   string `json:"use,omitempty"`
}

// publicOf gives the members that make a public key; ok is false for a secret,
// which is nobody's to see.
func publicOf(material any) (jwk publicJWK, ok bool) {
	encode := base64.RawURLEncoding.EncodeToString
	switch k := material.(type) {
	case ed25519.PublicKey:
		return publicJWK{Type: "OKP", Curve: "Ed25519", X: encode(k)}, true
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, then x and y
		if err != nil {
			return publicJWK{}, false
		}
		half := (len(point) - 1) / 2
		return publicJWK{Type: "EC", Curve: k.Params().Name, X: encode(point[1 : 1+half]), Y: encode(point[1+half:])}, true
	case *rsa.PublicKey:
		return publicJWK{Type: "RSA", N: encode(k.N.Bytes()), E: encode(big.NewInt(int64(k.E)).Bytes())}, true
	}
	return publicJWK{}, false
}

// Document is the JWK Set (RFC 7517, section 5) of the ring's public keys, the
// one that signs first. Secrets are not in it. ErrNoSigner: it is empty yet.
func (r *Ring) Document() ([]byte, error) {
	h := r.held.Load()
	if h == nil {
		return nil, ErrNoSigner
	}
	set := struct {
		Keys []publicJWK `json:"keys"`
	}{Keys: []publicJWK{}}
	for _, key := range h.public {
		if jwk, ok := publicOf(key.material); ok {
			jwk.ID, jwk.Alg, jwk.Use = key.ID, key.algorithms[0], "sig"
			set.Keys = append(set.Keys, jwk)
		}
	}
	return json.Marshal(set)
}
