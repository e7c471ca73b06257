package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// manyTokens is how many different ones are sent in turn: more than are
// remembered, so that each is new when it comes round again.
const manyTokens = 150_000

// rotate is what wrk runs: each request carries the next token of a file.
const rotate = `local tokens = {}
for line in io.lines(%q) do tokens[#tokens + 1] = line end
local i = 0
function request()
	i = i %% #tokens + 1
	return wrk.format(nil, nil, { Authorization = "Bearer " .. tokens[i] })
end
`

// jwtSigner makes JWTs as another issuer would.
type jwtSigner struct {
	alg  string
	sign func(input []byte) []byte
}

func hs256(key string) jwtSigner {
	return jwtSigner{"HS256", func(input []byte) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(input)
		return mac.Sum(nil)
	}}
}

// edDSA makes a key, and writes its public part to a file.
func edDSA(publicFile string) (jwtSigner, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return jwtSigner{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return jwtSigner{}, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return jwtSigner{"EdDSA", func(input []byte) []byte { return ed25519.Sign(private, input) }}, os.WriteFile(publicFile, data, 0o600)
}

// token makes the nth of a user's tokens, with the claims of a usual one.
func (s jwtSigner) token(subject string, n int) string {
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	input := encode([]byte(`{"alg":"`+s.alg+`","typ":"JWT"}`)) + "." + encode(fmt.Appendf(nil,
		`{"sub":%q,"exp":%d,"iat":%d,"iss":"https://idp.example.com","aud":"api","jti":"%032d","scope":"openid profile","name":"Alice","groups":["staff"]}`,
		subject, now.Add(time.Hour).Unix(), now.Unix(), n))
	return input + "." + encode(s.sign([]byte(input)))
}

// rotating writes a script for wrk that sends a different token each time.
func (s jwtSigner) rotating(dir, subject string) (script string, err error) {
	tokens := filepath.Join(dir, s.alg+".tokens")
	file, err := os.Create(tokens)
	if err != nil {
		return "", err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	for n := range manyTokens {
		fmt.Fprintln(w, s.token(subject, n+1))
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	script = filepath.Join(dir, s.alg+".lua")
	return script, os.WriteFile(script, fmt.Appendf(nil, rotate, tokens), 0o600)
}
