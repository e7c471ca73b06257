package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

var b64 = base64.RawURLEncoding.EncodeToString

// idp is an identity provider: it signs tokens, and serves the keys.
type idp struct {
	addr   string
	secret string // for HS256
	rsa    *rsa.PrivateKey
	ed     ed25519.PrivateKey
	jwks   []byte
	down   atomic.Int32 // 0: it is there; 1: it answers 500; 2: it does not answer; 3: nonsense
	asked  atomic.Int64
}

const idpIssuer = "https://idp.example.com"

func startIDP() (*idp, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &idp{addr: l.Addr().String(), secret: rand.Text() + rand.Text()}
	if p.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	p.ed = private
	p.jwks, err = json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": b64(p.rsa.N.Bytes()), "e": b64(big.NewInt(int64(p.rsa.E)).Bytes())},
		{"kty": "OKP", "kid": "ed", "alg": "EdDSA", "use": "sig", "crv": "Ed25519", "x": b64(public)},
	}})
	go serve(l, p)
	return p, err
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	switch p.down.Load() {
	case 1:
		w.WriteHeader(http.StatusInternalServerError)
	case 2:
		select {
		case <-r.Context().Done():
		case <-time.After(30 * time.Second):
		}
	case 3:
		_, _ = w.Write([]byte("<html>back soon"))
	default:
		// The gateways ask every minute, so that a fault meets them.
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(p.jwks)
	}
}

// token signs claims. The header says what is to be tried.
func (p *idp) token(alg, kid string, claims map[string]any) string {
	head, _ := json.Marshal(map[string]string{"alg": alg, "kid": kid, "typ": "JWT"})
	body, _ := json.Marshal(claims)
	input := b64(head) + "." + b64(body)
	return input + "." + b64(p.sign(alg, []byte(input)))
}

func (p *idp) sign(alg string, input []byte) []byte {
	switch alg {
	case "HS256":
		mac := hmac.New(sha256.New, []byte(p.secret))
		mac.Write(input)
		return mac.Sum(nil)
	case "RS256":
		sum := sha256.Sum256(input)
		signature, _ := rsa.SignPKCS1v15(nil, p.rsa, crypto.SHA256, sum[:])
		return signature
	case "EdDSA":
		return ed25519.Sign(p.ed, input)
	default:
		return nil
	}
}

// claims are those of an access token.
func claims(user string, expires time.Time) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": idpIssuer, "aud": "soak", "sub": user, "jti": rand.Text(), "iat": now.Unix(), "exp": expires.Unix(),
		"name": "Name " + user, "email": user + "@example.com", "groups": []string{"all", "of-" + user},
	}
}

// whole is the identity that claims, and records of users here, give.
func whole(user string) identity {
	return identity{
		"remote-user": user, "remote-name": "Name " + user, "remote-email": strings.ToLower(user) + "@example.com",
		"remote-groups": "all,of-" + user,
	}
}
