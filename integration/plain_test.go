package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// A browser at a host other than its own machine keeps no Secure cookie by plain
// HTTP, so each login would lead to the login page again.
func TestLoginByPlainHTTPIsToldAsWhatItIsAndNotLooped(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://:$PORT {
	edge_auth_issuer
	edge_auth {
		session
		login_url /login/
	}
	respond ok
}`)
	g.EdgeAuth("wonderland\n", "user", "add", "alice")
	const form = "username=alice&password=wonderland&next=%2F"
	post := func(headers string) string {
		return g.Raw(fmt.Sprintf("POST /login/ HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n%s\r\n%s", len(form), headers, form))
	}
	const says = "over which your browser keeps no login"
	for range 3 {
		page := g.Raw("GET /login/?next=%2F HTTP/1.1\r\nHost: app.test\r\nUpgrade-Insecure-Requests: 1\r\nConnection: close\r\n\r\n")
		assert.Contains(t, page, says)
		lost := post("Origin: http://app.test\r\n")
		assert.True(t, strings.HasPrefix(lost, "HTTP/1.1 403 "), lost)
		assert.Contains(t, lost, says)
		assert.NotContains(t, lost, "__Host-edge_auth")
	}
	harness.Eventually(t, 5*time.Second, func() bool { return len(g.Log.Lines("come to the login by plain HTTP")) > 0 }, "not told")
	assert.Len(t, g.Log.Lines("come to the login by plain HTTP"), 1)

	through := post("Origin: https://app.test\r\nX-Forwarded-Proto: https\r\n")
	assert.True(t, strings.HasPrefix(through, "HTTP/1.1 303 "), through)
	assert.Contains(t, through, "__Host-edge_auth")
	assert.NotContains(t, g.Get("/login/").Body, says, "browsers trust their own machine")
	assert.Equal(t, http.StatusSeeOther, g.Do(http.MethodPost, "/login/", form, "Content-Type: application/x-www-form-urlencoded", "Origin: "+g.URL).Status)
}
