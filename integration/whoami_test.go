package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// asked is what the JSON of whoami says.
func asked(t testing.TB, a harness.Answer) map[string]any {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &fields), a.Body)
	return fields
}

func TestE20WhoamiSaysWhatTheGatewayFoundOut(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	key := strings.Repeat("k", 40)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		token
		session
		jwt {
			key HS256 `+key+`
		}
		optional
		identity_header X-Tenant {http.auth.user.claims.tenant}
		identity_header X-Access {http.auth.user.claims.carried}
		identity_header X-Gateway {env.HOME}
	}
	edge_auth_whoami /whoami {
		claims tenant carried org.id missing
	}
	handle {
		reverse_proxy UPSTREAM
	}
}
http://127.0.0.1:$PORT2 {
	edge_auth_whoami
}`, "UPSTREAM", up.Addr)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "staff", "--group", "a%b", "--email", "alice@example.com", "--name", "Alice <L.>")
	token := g.EdgeAuth("", "token", "create", "alice", "--scope", "read", "--scope", "write")
	session := "Cookie: __Host-edge_auth=" + g.EdgeAuth("", "session", "create", "alice")

	assert.Equal(t, map[string]any{"authenticated": false}, asked(t, g.Get("/whoami", "Remote-User: root")), "nobody, whatever they forge")
	for range 2 { // then out of the cache
		who := asked(t, g.Get("/whoami", "Authorization: Token "+token, "Remote-User: root"))
		delete(who, "auth_time") // when the token was made
		assert.Equal(t, map[string]any{
			"authenticated": true, "id": "alice", "name": "Alice <L.>", "email": "alice@example.com", "method": "token",
			"groups": []any{"staff", "a%b"}, "scopes": []any{"read", "write"},
			"headers": map[string]any{"Remote-User": "alice", "Remote-Name": "Alice <L.>", "Remote-Email": "alice@example.com", "Remote-Groups": "staff,a%25b", "X-Gateway": "[secret]"},
		}, who)
	}
	g.Get("/app", "Authorization: Token "+token)
	got := up.One(t)
	assert.Equal(t, []string{"staff,a%25b"}, harness.HeaderOf(got, "Remote-Groups"), "which is what upstreams get")

	who := asked(t, g.Get("/whoami", session))
	assert.Equal(t, "session", who["method"])
	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, who["auth_time"])
	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, who["expires"])

	carried := "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	jwt := jws(`{"alg":"HS256"}`, `{"sub":"7","exp":`+fmt.Sprint(time.Now().Add(time.Hour).Unix())+`,"tenant":"blue","hidden":"canary","carried":"`+carried+`","org":{"id":5,"of":"canary"}}`, signHMAC("HS256", []byte(key)))
	a := g.Get("/whoami", "Authorization: Bearer "+jwt)
	who = asked(t, a)
	assert.Equal(t, map[string]any{"tenant": "blue", "carried": "[secret]", "org.id": float64(5)}, who["claims"])
	assert.Equal(t, map[string]any{"Remote-User": "7", "X-Tenant": "blue", "X-Access": "[secret]", "X-Gateway": "[secret]"}, who["headers"])
	for _, secret := range []string{"canary", carried, jwt} {
		assert.NotContains(t, a.Body, secret, "only what the option names, and no credential")
	}
	g.Get("/app", "Authorization: Bearer "+jwt)
	assert.Equal(t, []string{carried}, harness.HeaderOf(up.One(t), "X-Access"), "the upstream gets it")

	assert.Equal(t, http.StatusUnauthorized, g.Get("/whoami", "Authorization: Token "+strings.Repeat("0", 40)).Status)
	a = g.Do(http.MethodHead, "/whoami", "", "Authorization: Token "+token)
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Empty(t, a.Body)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		a = g.Do(method, "/whoami", "", "Authorization: Token "+token)
		assert.Equal(t, http.StatusMethodNotAllowed, a.Status)
		assert.Equal(t, "GET, HEAD", a.Header.Get("Allow"))
	}
	other := *g
	other.URL = "http://" + g.Vars.Replace("127.0.0.1:$PORT2")
	assert.Equal(t, map[string]any{"authenticated": false}, asked(t, other.Get("/", "Authorization: Token "+token, "Remote-User: root")), "nobody was asked")
}

func TestE20WhoamiShowsBrowsersAPage(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth default {
		optional
	}
	edge_auth_whoami
}`)
	g.EdgeAuth("correct horse\n", "user", "add", "alice", "--group", "<script>alert(1)</script>", "--name", `"><img src=x>`)
	token := g.EdgeAuth("", "token", "create", "alice")
	for credential, want := range map[string]string{
		"Authorization: Token " + token: "You are <bdi>&#34;&gt;&lt;img src=x&gt;</bdi>.",
		"X-None: x":                     "You are nobody here.",
	} {
		a := g.Get("/", credential, "Accept: text/html,application/xhtml+xml")
		assert.Equal(t, http.StatusOK, a.Status)
		assert.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		assert.Contains(t, a.Body, want)
		assert.NotContains(t, a.Body, "<script")
		assert.NotContains(t, a.Body, "<img")
		assert.NotContains(t, a.Body, token)
		nonce := regexp.MustCompile(`<style nonce="(\w+)">`).FindStringSubmatch(a.Body)
		require.NotNil(t, nonce)
		assert.Equal(t, "default-src 'none'; style-src 'nonce-"+nonce[1]+"'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'", a.Header.Get("Content-Security-Policy"))
	}
	assert.Equal(t, "application/json", g.Get("/", "Accept: text/html", "Sec-Fetch-Mode: cors").Header.Get("Content-Type"), "a script")
}
