package differential

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// secret is what HS256 is signed with here.
var secret = strings.Repeat("0123456789abcdef", 4)

// jwtKeys are those of the issuer, by their names, and of somebody else. All but
// the RSA keys, which are made anew, are always the same.
type jwtKeys struct {
	rs, otherRS *rsa.PrivateKey
	es, otherES *ecdsa.PrivateKey
	ed, ed2     ed25519.PrivateKey
	otherEd     ed25519.PrivateKey
}

func makeJWTKeys() jwtKeys {
	edKey := func(first byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed([]byte{ed25519.SeedSize - 1: first})
	}
	ecKey := func(first byte) *ecdsa.PrivateKey {
		return must(ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte{31: first}))
	}
	rsaKey := func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) }
	return jwtKeys{rs: rsaKey(), otherRS: rsaKey(), es: ecKey(7), otherES: ecKey(8), ed: edKey(1), ed2: edKey(2), otherEd: edKey(3)}
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// set is the JWK Set of the issuer.
func (k jwtKeys) set() map[string]any {
	point := must(k.es.PublicKey.Bytes())
	ed := func(kid string, key ed25519.PrivateKey) map[string]string {
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "x": b64(key.Public().(ed25519.PublicKey))}
	}
	return map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "rs", "alg": "RS256", "e": "AQAB", "n": b64(k.rs.N.Bytes())},
		{"kty": "EC", "crv": "P-256", "kid": "es", "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:])},
		ed("ed", k.ed), ed("ed2", k.ed2),
	}}
}

// publicPEM is what a forger may take for a secret.
func (k jwtKeys) publicPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&k.rs.PublicKey))})
}

// jwtCase is a token, and the kind of key that it is checked with.
type jwtCase struct {
	token  string
	secret bool
	cookie bool // where it travels
}

func TestJ75WhatPyJWTRefusesIsRefused(t *testing.T) {
	t.Parallel()
	keys := makeJWTKeys()
	set := filepath.Join(t.TempDir(), "set.jwks")
	require.NoError(t, os.WriteFile(set, must(json.Marshal(keys.set())), 0o600))
	load := func(lines string) *jwt.Authenticator {
		a := new(jwt.Authenticator)
		require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "jwt {\n issuer https://idp.example.com\n audience api\n cookie access\n"+lines+"\n}"))
		return a
	}
	bySecret, byPublic := load("key HS256 "+secret), load("jwks "+set)
	forge := newForge(keys)
	trial[jwtCase]{
		name:   "JWTs and PyJWT",
		cases:  share(t, 2),
		make:   forge.make,
		theirs: startPython(t, "jwt", map[string]any{"secret": secret, "jwks": keys.set()}),
		ask: func(c jwtCase) any {
			token := c.token
			if !c.cookie { // HTTP takes blanks off the end; the scheme has as many as there are after it
				token = strings.Trim(token, " ")
			}
			return map[string]any{"secret": c.secret, "token": latin1(token)}
		},
		ours: func(c jwtCase) answer {
			a := byPublic
			if c.secret {
				a = bySecret
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if c.cookie {
				r.Header["Cookie"] = []string{"access=" + c.token}
			} else {
				r.Header["Authorization"] = []string{"Bearer " + c.token}
			}
			return authenticate(t, a, r)
		},
		reasons: jwtReasons,
	}.run(t)
}

// authenticate is what a policy asks.
func authenticate(t *testing.T, a authenticators.Authenticator, r *http.Request) answer {
	t.Helper()
	c, err := a.Find(r)
	if err != nil {
		return nobody(err)
	}
	who, err := a.Verify(t.Context(), c)
	if err != nil {
		return nobody(err)
	}
	return somebody(who.ID)
}

// object is JSON that is put together by hand, so that it can be wrong.
type object []string

func (o object) String() string { return "{" + strings.Join(o, ",") + "}" }

// with replaces a member, or adds it.
func (o object) with(name, value string) object {
	member := fmt.Sprintf(`"%s":%s`, name, value)
	changed := make(object, 0, len(o)+1)
	for _, m := range o {
		if !strings.HasPrefix(m, `"`+name+`":`) {
			changed = append(changed, m)
		}
	}
	return append(changed, member)
}

func (o object) without(name string) object {
	changed := o.with(name, "")
	return changed[:len(changed)-1]
}
