package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
)

// Signer is a private key that signs our own tokens.
type Signer struct {
	// ID is the key's thumbprint (RFC 7638).
	ID string

	alg     string
	private crypto.Signer
	public  *Key
}

// NewSigner makes a signer of a private key: Ed25519, ECDSA or RSA.
func NewSigner(private crypto.Signer) (*Signer, error) {
	material := private.Public()
	id, err := thumbprint(material)
	if err != nil {
		return nil, err
	}
	public, err := NewKey(id, "", material)
	if err != nil {
		return nil, err
	}
	alg := public.algorithms[0]
	public.algorithms = []string{alg}
	return &Signer{ID: id, alg: alg, private: private, public: public}, nil
}

// GenerateSigner makes a new Ed25519 key.
func GenerateSigner() (*Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return NewSigner(private)
}

// LoadSigner reads a private key in PEM (PKCS #8, PKCS #1 or SEC 1) or as a JWK.
func LoadSigner(data []byte) (*Signer, error) {
	if strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
		parsed, err := parseJWK(data)
		if err != nil {
			return nil, err
		}
		return signerOf(parsed.material)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("neither PEM nor a JWK")
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
	default:
		err = fmt.Errorf("PEM block '%s'; a private key is needed, as openssl genpkey -algorithm ed25519 writes it", block.Type)
	}
	if err != nil {
		return nil, err
	}
	return signerOf(private)
}

func signerOf(private any) (*Signer, error) {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a private key that signs")
	}
	return NewSigner(signer)
}

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
	encode := base64.RawURLEncoding.EncodeToString
	var form string // members in lexical order, without white space
	switch k := material.(type) {
	case ed25519.PublicKey:
		form = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, encode(k))
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, then x and y
		if err != nil {
			return "", err
		}
		half := (len(point) - 1) / 2
		form = fmt.Sprintf(`{"crv":"%s","kty":"EC","x":"%s","y":"%s"}`, k.Params().Name, encode(point[1:1+half]), encode(point[1+half:]))
	case *rsa.PublicKey:
		exponent := []byte{byte(k.E >> 16), byte(k.E >> 8), byte(k.E)}
		for len(exponent) > 1 && exponent[0] == 0 {
			exponent = exponent[1:]
		}
		form = fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, encode(exponent), encode(k.N.Bytes()))
	default:
		return "", fmt.Errorf("a key of type %T can't sign", material)
	}
	sum := sha256.Sum256([]byte(form))
	return encode(sum[:]), nil
}

// Ring is our own signing keys: the first signs, all verify. The zero value
// holds none yet; until Set it can say nothing about a token.
type Ring struct {
	signers atomic.Pointer[[]*Signer]
}

// ErrNoSigner says that the ring has not been filled yet.
var ErrNoSigner = errors.New("signing keys are not there yet")

// Set takes new keys. The first signs.
func (r *Ring) Set(signers ...*Signer) { r.signers.Store(&signers) }

// Find picks the keys that fit.
func (r *Ring) Find(_ context.Context, kid, alg string) ([]*Key, error) {
	signers := r.signers.Load()
	if signers == nil || len(*signers) == 0 {
		return nil, ErrNoSigner
	}
	keys := make([]*Key, len(*signers))
	for i, s := range *signers {
		keys[i] = s.public
	}
	return fitting(keys, kid, alg)
}

// Sign makes a JWT in compact form of claims in JSON. typ says which kind of
// JWT it is, such as JWT or at+jwt.
func (r *Ring) Sign(claims []byte, typ string) (string, error) {
	signers := r.signers.Load()
	if signers == nil || len(*signers) == 0 {
		return "", ErrNoSigner
	}
	s := (*signers)[0]
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
		Type      string `json:"typ"`
	}{s.alg, s.ID, typ})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(header) + "." + encode(claims)
	signature, err := sign(s.alg, []byte(input), s.private)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return input + "." + encode(signature), nil
}

// LoadOrGenerate takes the signer that is kept in storage, or makes one there.
// The members of a cluster that share the storage end up with the same.
func LoadOrGenerate(ctx context.Context, storage certmagic.Storage, name string) (*Signer, error) {
	signer, err := load(ctx, storage, name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	if err := storage.Lock(ctx, name); err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), name) }() // a lock ends by itself, too
	if signer, err = load(ctx, storage, name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return signer, err // another member was quicker
	}
	if signer, err = GenerateSigner(); err != nil {
		return nil, err
	}
	data, err := signer.MarshalPEM()
	if err != nil {
		return nil, err
	}
	return signer, storage.Store(ctx, name, data)
}

func load(ctx context.Context, storage certmagic.Storage, name string) (*Signer, error) {
	data, err := storage.Load(ctx, name)
	if err != nil {
		return nil, err
	}
	return LoadSigner(data)
}
