package session

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// Find takes it for none, so that nothing is computed from it.
func TestC10CookieLongerThanAnyCountsAsNoneBeforeItIsHashed(t *testing.T) {
	t.Parallel()
	for config, cookie := range map[string]string{
		"session": OwnCookie, "session django": "sessionid", "session express {\n secret s\n}": "connect.sid", "session koa {\n secret s\n}": "koa.sess",
	} {
		a, host := loaded(t, config)
		for _, size := range []int{maxCookie + 1, 15 << 10, 64 << 10, 1 << 20} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header.Set("Cookie", cookie+"="+strings.Repeat("a", size))
			_, err := a.Find(r)
			require.ErrorIs(t, err, authenticators.ErrNoCredential, "%s %d", config, size)
		}
		assert.Zero(t, host.Others.Reads+host.Records.Reads)
	}
	a, _ := loaded(t, "session django")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "sessionid="+strings.Repeat("a", maxCookie))
	_, err := a.Find(r)
	require.NoError(t, err)
}
