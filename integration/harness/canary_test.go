package harness

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// witness is a test that notes its failures.
type witness struct {
	testing.TB

	failures []string
}

func (w *witness) Errorf(format string, args ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}

// E10: a secret is found wherever the gateway has written it.
func TestE10SecretsAreFoundWhereverTheyStand(t *testing.T) {
	t.Parallel()
	const token, password = "ea_0123456789abcdefghij", `correct "horse" battery`
	basic := base64.StdEncoding.EncodeToString([]byte("alice:" + password))
	sends := func(g *Gateway) {
		g.sends("/", "", []string{"Authorization: Token " + token})
		g.sends("/", "", []string{"authorization: Basic " + basic})
	}
	for name, c := range map[string]struct {
		before func(*Gateway)
		said   string // a place of the admin API's
		want   int
	}{
		"nothing":                       {func(*Gateway) {}, "", 0},
		"token in the log":              {func(g *Gateway) { _, _ = g.Log.Write([]byte(`{"x":"` + token + `"}`)) }, "", 1},
		"password in the log":           {func(g *Gateway) { _, _ = g.Log.Write([]byte(`{"x":"correct \"horse\" battery"}`)) }, "", 1},
		"password in an address":        {func(g *Gateway) { _, _ = g.Log.Write([]byte("?p=correct+%22horse%22+battery")) }, "", 1},
		"basic in the log":              {func(g *Gateway) { _, _ = g.Log.Write([]byte(basic)) }, "", 1},
		"token in a metric":             {func(*Gateway) {}, token, 1},
		"token in a file":               {func(g *Gateway) { writeFile(t, g, "audit.log", token) }, "", 1},
		"token in the store":            {func(g *Gateway) { writeFile(t, g, "edge_auth.db", "\x00"+token+"\x00") }, "", 1},
		"token in a file of the test's": {func(g *Gateway) { g.Write("tokens.txt", token) }, "", 0},
		"token printed":                 {func(g *Gateway) { g.ran("", []string{"edge-auth", "token", "list"}, token, "") }, "", 1},
		"token printed by its maker":    {func(g *Gateway) { g.ran("", []string{"edge-auth", "token", "create", "alice"}, token, "") }, "", 0},
		"token in an error":             {func(g *Gateway) { g.ran("", []string{"edge-auth", "token", "create", "alice"}, "", token) }, "", 1},
		"told":                          {func(g *Gateway) { _, _ = g.Log.Write([]byte(token)); g.Told(token) }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &witness{TB: t}
			g := New(t)
			g.T = w
			sends(g)
			c.before(g)
			g.search(map[string]string{"metrics": c.said})
			assert.Len(t, w.failures, c.want, w.failures)
			assert.NotContains(t, strings.Join(w.failures, ""), "\x00\x00")
		})
	}
}

func writeFile(t *testing.T, g *Gateway, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(g.Dir, name), []byte(text), 0o600))
}

func TestE10RefusalThatShowsACredentialIsFound(t *testing.T) {
	t.Parallel()
	w := &witness{TB: t}
	g := New(t)
	g.T = w
	sent := g.sends("/?token=0123456789abcdef0123", `{"password":"correct horse"}`, []string{"Cookie: sessionid=abcdefghijklmnopqrstuvwx; theme=dark"})
	assert.Equal(t, []string{"abcdefghijklmnopqrstuvwx", "0123456789abcdef0123", "correct horse"}, sent)
	g.gets(Answer{Status: http.StatusOK, Body: "you sent correct horse"}, sent)
	assert.Empty(t, w.failures)
	g.gets(Answer{Status: http.StatusUnauthorized, Body: "not correct horse"}, sent)
	g.gets(Answer{Status: http.StatusFound, Header: http.Header{"Location": {"/login?next=/"}}}, sent)
	assert.Len(t, w.failures, 1)

	g.gets(Answer{Status: http.StatusOK, Body: `{"access": "eyJ0123456789.abcdef.ghijkl"}`, Header: http.Header{"Set-Cookie": {"__Host-edge_auth=0123456789abcdefghijkl; HttpOnly", "edge_auth_language=de"}}}, nil)
	_, _ = g.Log.Write([]byte("eyJ0123456789.abcdef.ghijkl 0123456789abcdefghijkl"))
	g.search(map[string]string{})
	assert.Len(t, w.failures, 3)
}
