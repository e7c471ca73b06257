package attacks

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// Early data of HTTP/3 can be sent again by whoever has recorded it, from any address.
func TestP41EarlyDataIsToldToTheUpstreamAndChangesNoCredential(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.New(t, "UPSTREAM", up.Addr, "JWT", aliceJWT)
	g.ServeTLS("", "log\n edge_auth_issuer {\n jwt\n token\n session\n }\n edge_auth {\n JWT\n }\n reverse_proxy UPSTREAM")
	watchLog(t, g)

	var got string
	a, err := g.AskEarly(t, harness.Request{Method: http.MethodPost, Path: "/page", Headers: []string{aliceToken(t), "Remote-User: mallory"}, Body: "x"}, func() {
		harness.Eventually(t, 10*time.Second, func() bool {
			for _, request := range up.Taken() {
				got = request
			}
			return got != ""
		}, "not asked")
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.Status)
	assert.Equal(t, []string{"1"}, harness.HeaderOf(got, "Early-Data"), "the application decides")
	assert.Equal(t, []string{"Remote-Groups: staff", "Remote-User: alice"}, identityIn(got))

	for _, path := range []string{"/api/token/", "/api/token/refresh/", "/api/token/blacklist/", "/api-token-auth/", "/login/", "/logout/"} {
		logged := len(g.Log.Lines(`"uri":"` + path + `"`))
		a, err := g.AskEarly(t, harness.Request{Method: http.MethodPost, Path: path, Headers: []string{"Content-Type: application/json"}, Body: "{}"}, func() {
			harness.Eventually(t, 10*time.Second, func() bool { return len(g.Log.Lines(`"uri":"`+path+`"`)) > logged }, "not answered")
		})
		require.NoError(t, err, path)
		assert.Equal(t, http.StatusTooEarly, a.Status, "%s: %s", path, a.Body)
	}
	// A proxy in front says so too.
	for _, door := range harness.Doors {
		a, _ := ask(t, door, g, up, harness.Request{Method: http.MethodPost, Path: "/api/token/", Headers: []string{"Content-Type: application/json", "Early-Data: 1"}, Body: "{}"})
		assert.Equal(t, http.StatusTooEarly, a.Status)
		a, _ = ask(t, door, g, up, harness.Request{Path: "/login/", Headers: []string{"Early-Data: 1"}})
		assert.Equal(t, http.StatusOK, a.Status, "a page changes nothing")
	}
}
