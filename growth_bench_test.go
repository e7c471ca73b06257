package edgeauth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// BenchmarkGrowth is the step with few and with many of what a config has. It must
// not matter how many there are.
func BenchmarkGrowth(b *testing.B) {
	for _, count := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("policies=%d", count), func(b *testing.B) { measure(b, manyPolicies(b, count)) })
	}
	for _, count := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("issuers=%d", count), func(b *testing.B) { measure(b, manyIssuers(b, count)) })
	}
	for _, count := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("keys=%d", count), func(b *testing.B) { measure(b, manyKeys(b, count)) })
	}
	for _, count := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", count), func(b *testing.B) { measure(b, manySessions(b, count)) })
	}
}

func measure(b *testing.B, c credential) {
	b.Helper()
	step := c.step(b)
	step()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// manyPolicies is the last of many, in one app.
func manyPolicies(b *testing.B, count int) credential {
	s := newSite(b, new(Policy), `{"authenticator":"session"}`)
	for n := range count - 1 {
		p := &Policy{
			AuthenticatorsRaw: []json.RawMessage{json.RawMessage(`{"authenticator":"session"}`)},
			IdentityHeader:    []IdentityHeader{{Name: fmt.Sprintf("X-Tenant-%d", n), Value: "{http.auth.user.id}"}},
		}
		p.prepareMetrics()
		s.app.addHeaderNames(p.headers())
	}
	id, err := records.NewSession(b.Context(), s.app.store, records.Session{User: "alice"}, time.Hour)
	require.NoError(b, err)
	return credential{s, "Cookie: __Host-edge_auth=" + id}
}

// manyIssuers is a policy with one authenticator that takes the tokens of many
// issuers, and a token of the last.
func manyIssuers(b *testing.B, count int) credential {
	issuers := make([]string, count)
	for n := range issuers {
		issuers[n] = fmt.Sprintf("https://idp%d.example.com", n)
	}
	return bearer(b, issuers, 1)
}

func manyKeys(b *testing.B, count int) credential {
	return bearer(b, []string{"https://idp.example.com"}, count)
}

// bearer is a policy for JWTs of several issuers, with a set of so many keys, of which
// the last has signed.
func bearer(b *testing.B, issuers []string, count int) credential {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	var signer *keys.Signer
	for n := range count {
		public, private, err := ed25519.GenerateKey(nil)
		require.NoError(b, err)
		encode := base64.RawURLEncoding.EncodeToString
		jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"%d","x":"%s"`, n, encode(public))
		set.Keys = append(set.Keys, json.RawMessage(jwk+"}"))
		if n == count-1 {
			signer, err = keys.LoadSigner([]byte(jwk + `,"d":"` + encode(private.Seed()) + `"}`))
			require.NoError(b, err)
		}
	}
	data, err := json.Marshal(set)
	require.NoError(b, err)
	file := filepath.Join(b.TempDir(), "keys.jwks")
	require.NoError(b, os.WriteFile(file, data, 0o600))
	config, err := json.Marshal(map[string]any{"authenticator": "jwt", "issuer": issuers, "jwks": file, "audience": []string{"api"}})
	require.NoError(b, err)
	s := newSite(b, new(Policy), string(config))
	text, err := keys.NewRing(signer).Sign(fmt.Appendf(nil, `{"iss":%q,"sub":"alice","aud":"api","exp":%d}`, issuers[len(issuers)-1], time.Now().Add(time.Hour).Unix()), "JWT")
	require.NoError(b, err)
	return credential{s, "Authorization: Bearer " + text}
}

// manySessions fills the cache with sessions before.
func manySessions(b *testing.B, count int) credential {
	s := newSite(b, new(Policy), `{"authenticator":"session"}`)
	s.app.cache = cache.New(2 * count)
	for n := range count {
		s.app.cache.Put(sha256.Sum256(fmt.Append(nil, n)), cache.Entry{Value: strings.Repeat("v", 80)}, make([]store.Stamp, 1), store.Forever, time.Time{})
	}
	id, err := records.NewSession(b.Context(), s.app.store, records.Session{User: "alice"}, time.Hour)
	require.NoError(b, err)
	return credential{s, "Cookie: __Host-edge_auth=" + id}
}
