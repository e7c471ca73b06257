package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// What was verified with a key is not verified again while that is kept, so it must
// end with the key, wherever that stands.
func TestX14VerdictsOfAKeyThatIsWithdrawnEnd(t *testing.T) {
	t.Parallel()
	const issuer = "https://idp.example.com"
	const issuing = "http://127.0.0.1:$PORT {\n edge_auth_issuer {\n jwt\n}\n edge_auth\n reverse_proxy UPSTREAM\n}\n"
	trusting := func(keys string) string {
		return "http://127.0.0.1:$PORT {\n edge_auth {\n jwt {\n issuer " + issuer + "\n audience api\n " + keys + "\n}\n}\n reverse_proxy UPSTREAM\n}\n"
	}
	for name, c := range map[string]struct {
		site     string
		signs    string // the gateway's own keys, of which the first signs
		withdraw func(g *harness.Gateway, remote *idp, stays idpKey)
	}{
		"X14 signing key, by a reload": {site: issuing, signs: "$DIR/old.pem"},
		"X14 one of two signing keys":  {site: issuing, signs: "$DIR/old.pem $DIR/new.pem"},
		"X14 key of a file that is rewritten": {site: trusting("key EdDSA $DIR/key.pem"), withdraw: func(g *harness.Gateway, _ *idp, stays idpKey) {
			g.Write("key.pem", harness.PublicPEM(g.T, stays.private.Public()))
		}},
		"X14 key of a set in a file": {site: trusting("jwks $DIR/set.json"), withdraw: func(g *harness.Gateway, _ *idp, stays idpKey) {
			g.Write("set.json", setOf(stays))
		}},
		"X14 key of a remote set": {site: trusting("jwks REMOTE/keys"), withdraw: func(_ *harness.Gateway, remote *idp, stays idpKey) {
			remote.publishes(stays)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			goes, stays := newIDPKey(t, "goes"), newIDPKey(t, "stays")
			remote := newIDP(t)
			remote.publishes(goes)
			up := harness.StartUpstream(t)
			g := harness.New(t, "UPSTREAM", up.Addr, "REMOTE", remote.URL)
			g.Write("old.pem", privatePEM(t, goes.private))
			g.Write("new.pem", privatePEM(t, stays.private))
			g.Write("key.pem", harness.PublicPEM(t, goes.private.Public()))
			g.Write("set.json", setOf(goes, stays))
			global := "metrics\n"
			if c.signs != "" {
				global += "edge_auth {\n signing_key " + c.signs + "\n}"
			}
			g.Serve(global, c.site)
			token := goes.token(t, issuer, "alice")
			if c.signs != "" {
				g.EdgeAuth("wonderland\n", "user", "add", "alice")
				token = "Authorization: Bearer " + pairOf(t, g.PostJSON("/api/token/", wonderland))["access"]
			}
			hits := func() float64 { return g.Metric(`caddy_edge_auth_cache_lookups_total{cache="findings",result="hit"}`) }
			require.Equal(t, http.StatusOK, g.Get("/", token).Status)
			before := hits()
			require.Equal(t, http.StatusOK, g.Get("/", token).Status)
			require.Greater(t, hits(), before, "it is not kept")

			if c.withdraw != nil {
				c.withdraw(g, remote, stays)
			} else {
				require.NoError(t, g.Reload(g.Write("Caddyfile", "{\n admin "+g.Admin+"\n auto_https off\n metrics\n edge_auth {\n signing_key $DIR/new.pem\n}\n}\n"+c.site)))
			}
			harness.Eventually(t, 5*time.Second, func() bool {
				g.Get("/", stays.token(t, issuer, "bob")) // lets a remote set be fetched that does not have its key
				return g.Get("/", token).Status == http.StatusUnauthorized
			}, "what was verified with it is still good")
			up.Taken()
			for range 3 {
				a := g.Get("/", token)
				require.Equal(t, http.StatusUnauthorized, a.Status)
				assert.Contains(t, a.Body, "token_not_valid")
			}
			assert.Empty(t, up.Taken())
		})
	}
}
