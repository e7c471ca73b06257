package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// manyTokens is how many different ones are sent in turn, to a gateway that keeps
// too few for any of them to be there when it comes round again. fewTokens are kept.
const (
	manyTokens = 20_000
	fewTokens  = 500
)

// rotate is what wrk runs: each request carries the next line of a file.
const rotate = `local lines = {}
for line in io.lines(%q) do lines[#lines + 1] = line end
local i = 0
function request()
	i = i %% #lines + 1
	return wrk.format(nil, nil, { [%q] = %q .. lines[i] })
end
`

// rotating writes a script for wrk that sends a different line each time.
func (m *machine) rotating(name, header, prefix string, lines func(line func(string) error) error) (script string, err error) {
	path := filepath.Join(m.dir, name+".lines")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	w := bufio.NewWriter(file)
	if err := lines(func(text string) error { _, err := fmt.Fprintln(w, text); return err }); err != nil {
		return "", err
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return m.write(name+".lua", fmt.Sprintf(rotate, path, header, prefix))
}

// jwtSigner makes JWTs as another issuer would.
type jwtSigner struct {
	alg    string
	key    string // for whoever checks: a secret, or a file with the public key
	sign   func(input []byte) []byte
	script string // sends many tokens

	fewScript string
}

// signers make keys for each algorithm, and tokens.
func (m *machine) signers() ([]*jwtSigner, error) {
	secret := rand.Text() + rand.Text() // 52 characters: HS256 wants 32 bytes at least
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	all := []*jwtSigner{
		{alg: "HS256", key: secret, sign: func(input []byte) []byte {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(input)
			return mac.Sum(nil)
		}},
		{alg: "RS256", sign: func(input []byte) []byte {
			sum := sha256.Sum256(input)
			signature, _ := rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, sum[:])
			return signature
		}},
		{alg: "ES256", sign: func(input []byte) []byte {
			sum := sha256.Sum256(input)
			r, s, _ := ecdsa.Sign(rand.Reader, ecKey, sum[:])
			signature := make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			return signature
		}},
		{alg: "EdDSA", sign: func(input []byte) []byte { return ed25519.Sign(edKey, input) }},
	}
	for i, public := range []any{nil, &rsaKey.PublicKey, &ecKey.PublicKey, edPublic} {
		s := all[i]
		if public != nil {
			if s.key, err = m.publicKey(s.alg, public); err != nil {
				return nil, err
			}
		}
		tokens := make([]string, manyTokens)
		for n := range tokens {
			tokens[n] = s.token("alice", n)
		}
		if s.script, err = m.rotating(s.alg, "Authorization", "Bearer ", each(tokens)); err != nil {
			return nil, err
		}
		if s.fewScript, err = m.rotating(s.alg+"-few", "Authorization", "Bearer ", each(tokens[:fewTokens])); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func each(lines []string) func(func(string) error) error {
	return func(line func(string) error) error { return line(strings.Join(lines, "\n")) }
}

func (m *machine) publicKey(name string, public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	return m.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

// anew is the case of tokens that were never seen before.
func (s *jwtSigner) anew() *benchCase {
	good := "Authorization: Bearer " + s.token("alice", 0)
	return &benchCase{name: "jwt " + s.alg + ", each new", path: "/jwt-" + strings.ToLower(s.alg), header: good, bad: good + "x", user: "alice", script: s.script}
}

// token makes the nth of a user's tokens, with the claims of a usual one.
func (s *jwtSigner) token(subject string, n int) string {
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	input := encode([]byte(`{"alg":"`+s.alg+`","typ":"JWT"}`)) + "." + encode(fmt.Appendf(nil,
		`{"sub":%q,"exp":%d,"iat":%d,"iss":"https://idp.example.com","aud":"api","jti":"%032d","scope":"openid profile","name":"Alice","groups":["staff"]}`,
		subject, now.Add(2*time.Hour).Unix(), now.Unix(), n))
	return input + "." + encode(s.sign([]byte(input)))
}
