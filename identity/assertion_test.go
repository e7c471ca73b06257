package identity

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func claimsOf(t *testing.T, a Assertion, r *http.Request, who *Identity) map[string]any {
	t.Helper()
	data, err := a.Claims(r, who, time.Unix(1_700_000_000, 999))
	require.NoError(t, err)
	claims, err := ParseClaims(data)
	require.NoError(t, err)
	return claims
}

func TestAssertionSaysWhoForWhomAndForWhichRequest(t *testing.T) {
	t.Parallel()
	a := Assertion{Issuer: "edge_auth", Audience: []string{"app"}, Lifetime: 30 * time.Second}
	r := httptest.NewRequest(http.MethodPatch, "http://App.Example.com:8443/x", nil)
	claims := claimsOf(t, a, r, &Identity{
		ID: "alice", Name: "Alice", Email: "alice@example.com", Groups: []string{"staff", "a,b"}, AuthTime: time.Unix(1_600_000_000, 0),
		Claims: map[string]any{"secret": "x"}, Scopes: []string{"read"},
	})
	assert.Regexp(t, `^[0-9a-f]{32}$`, claims["jti"])
	delete(claims, "jti")
	assert.Equal(t, map[string]any{
		"iss": "edge_auth", "sub": "alice", "aud": []any{"app"}, "iat": json.Number("1700000000"), "exp": json.Number("1700000030"),
		"htm": "PATCH", "host": "app.example.com:8443",
		"name": "Alice", "email": "alice@example.com", "groups": []any{"staff", "a,b"}, "auth_time": json.Number("1600000000"),
	}, claims)

	claims = claimsOf(t, a, r, &Identity{ID: "bob"})
	for _, unknown := range []string{"name", "email", "groups", "auth_time"} {
		assert.NotContains(t, claims, unknown)
	}
	assert.NotEqual(t, claims["jti"], claimsOf(t, a, r, &Identity{ID: "bob"})["jti"])
}

func TestAssertionOfAWebSocketHoldsForTheMethodThatTheUpstreamSees(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(r *http.Request)
		want   string
	}{
		"HTTP/1.1":                   {func(r *http.Request) { r.Method = http.MethodGet }, http.MethodGet},
		"HTTP/2":                     {func(r *http.Request) { r.ProtoMajor = 2; r.Header[":protocol"] = []string{"websocket"} }, http.MethodGet},
		"HTTP/3":                     {func(r *http.Request) { r.ProtoMajor = 3; r.Proto = "websocket" }, http.MethodGet},
		"CONNECT":                    {func(r *http.Request) { r.ProtoMajor = 2 }, http.MethodConnect},
		"HTTP/1.1 that says it is 2": {func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} }, http.MethodConnect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodConnect, "http://example.com/", nil)
			c.change(r)
			assert.Equal(t, c.want, claimsOf(t, Assertion{}, r, &Identity{ID: "alice"})["htm"])
		})
	}
}
