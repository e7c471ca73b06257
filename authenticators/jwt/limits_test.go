package jwt

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// Find refuses it, so that nothing is computed from it.
func TestC10TokenLongerThanMaxSizeIsRefusedBeforeItIsHashed(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "cookie jwt", "query jwt")
	find := func(query string, headers ...string) error {
		ctx, _, _ := authenticators.TakeFromQuery(t.Context(), query, []string{"jwt"})
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		for _, header := range headers {
			name, value := cutHeader(header)
			r.Header[name] = append(r.Header[name], value)
		}
		_, err := a.Find(r)
		return err
	}
	require.NoError(t, find("", "Authorization: Bearer "+strings.Repeat("a", a.maxSize)))
	for _, size := range []int{a.maxSize + 1, 15 << 10, 64 << 10, 1 << 20} {
		long := strings.Repeat("a", size)
		for _, err := range []error{find("", "Authorization: Bearer "+long), find("jwt=" + long)} {
			rejected, ok := asRejection(err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, authenticators.CodeNotValid, rejected.Code)
		}
		require.ErrorIs(t, find("", "Cookie: jwt="+long), authenticators.ErrNoCredential)
	}
	wide := withSecret(t, "max_size 64KB")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 60<<10))
	_, err := wide.Find(r)
	require.NoError(t, err)
}
