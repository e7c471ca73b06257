package keys

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Signer is a key that signs our own tokens: a private one, or the secret that
// we share with an app.
type Signer struct {
	// ID is what the JWK calls the key, else the thumbprint of its public part
	// (RFC 7638). That of a secret is empty: it would tell something of it.
	ID string

	alg     string
	private any  // crypto.Signer, or []byte of an HMAC secret
	public  *Key // checks what private signs: its public part, or the same secret
}

// NewSigner makes a signer of a private key: Ed25519, ECDSA or RSA.
func NewSigner(private crypto.Signer) (*Signer, error) { return newSigner("", "", private) }

func newSigner(id, alg string, private any) (*Signer, error) {
	material := private
	switch k := private.(type) {
	case []byte:
	case crypto.Signer:
		material = k.Public()
		if id == "" {
			var err error
			if id, err = thumbprint(material); err != nil {
				return nil, err
			}
		}
	default:
		return nil, errors.New("not a private key that signs")
	}
	public, err := NewKey(id, alg, material)
	if err != nil {
		return nil, err
	}
	alg = public.algorithms[0]
	public.algorithms = []string{alg}
	signer := &Signer{ID: id, alg: alg, private: private, public: public}
	return signer, signer.test()
}

// test signs once: a JWK may state a public key that is not that of its private
// one, and then nothing it signs would be accepted.
func (s *Signer) test() error {
	input := []byte("test")
	signature, err := sign(s.alg, input, s.private)
	if err == nil {
		err = s.public.Verify(s.alg, input, signature)
	}
	if err != nil {
		return fmt.Errorf("key does not sign: %w", err)
	}
	return nil
}

// GenerateSigner makes a new Ed25519 key.
func GenerateSigner() (*Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return NewSigner(private)
}

// LoadSigner reads a private key in PEM (PKCS #8, PKCS #1 or SEC 1), or as a JWK,
// which may be a secret too. A JWK may say for which algorithm; otherwise RSA
// keys sign RS256, and secrets HS256.
func LoadSigner(data []byte) (*Signer, error) {
	if strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
		return loadJWKSigner(data)
	}
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam puts them first
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("neither a key in PEM nor a JWK")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		err = errors.New("a private key with a passphrase; give it without, as openssl pkey writes it")
	default:
		err = fmt.Errorf("PEM block '%s'; a private key is needed, as openssl genpkey -algorithm ed25519 writes it", block.Type)
	}
	if err != nil {
		return nil, err
	}
	return newSigner("", "", private)
}

func loadJWKSigner(data []byte) (*Signer, error) {
	k, err := parseJWK(data)
	switch {
	case err != nil:
		return nil, err
	case k.use != "" && k.use != "sig":
		return nil, fmt.Errorf("its use is '%s', not 'sig'", k.use)
	case len(k.operations) > 0 && !slices.Contains(k.operations, "sign"):
		return nil, errors.New("its key_ops do not hold 'sign'")
	}
	return newSigner(k.id, k.alg, k.material)
}

// Secret reports whether the key is shared with those who check its signatures.
func (s *Signer) Secret() bool { return s.public.Secret() }

// MarshalPEM gives the private key in PKCS #8.
func (s *Signer) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// thumbprint names a public key by its content (RFC 7638).
func thumbprint(material crypto.PublicKey) (string, error) {
	k, ok := publicOf(material)
	if !ok {
		return "", fmt.Errorf("a key of type %T can't sign", material)
	}
	members := map[string]string{"kty": k.Type, "crv": k.Curve, "x": k.X, "y": k.Y, "n": k.N, "e": k.E}
	maps.DeleteFunc(members, func(_, value string) bool { return value == "" })
	form, err := json.Marshal(members) // sorted, without white space
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(form)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
