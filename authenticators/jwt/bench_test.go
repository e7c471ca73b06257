package jwt

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// BenchmarkCold is a token that was never seen before. Compare it with
// BenchmarkSignature, which is what no verifier can do without.
func BenchmarkCold(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			a := forAlgorithm(b, alg)
			good := benchToken(alg)
			_, err := a.verify(b.Context(), good)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = a.verify(b.Context(), good)
			}
		})
	}
}

// benchToken has the claims of a usual one, about 600 bytes.
func benchToken(alg string) string {
	return token(alg, object{
		"scope": "read write", "jti": "b7a1c119c13f4c51b4cd8fc2d68f7596", "name": "Alice Liddell", "email": "alice@example.com",
		"email_verified": true, "groups": []string{"staff", "sales"}, "auth_time": 1_799_999_000,
	})
}

func BenchmarkSignature(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			a := forAlgorithm(b, alg)
			t, err := split(token(alg, nil))
			require.NoError(b, err)
			found, err := a.sets[""].Find(b.Context(), "", alg)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_ = found[0].Verify(alg, t.input, t.signature)
			}
		})
	}
}

// BenchmarkRefusal is what a forged token costs.
func BenchmarkRefusal(b *testing.B) {
	a := withSecret(b)
	credential := authenticators.Credential{Value: authenticators.Secret(token("HS256", nil)[:200] + "AAAA")}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = a.Verify(b.Context(), credential)
	}
}

func forAlgorithm(b *testing.B, alg string) *Authenticator {
	b.Helper()
	if isSecret(alg) {
		return withSecret(b)
	}
	return ready(b, "jwt {\n key "+alg+" "+keyFile(b, alg)+"\n}")
}
