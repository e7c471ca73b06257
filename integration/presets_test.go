package integration

import (
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// provider is an identity provider that publishes one key, at the places where
// each of those that are known would.
func provider(t testing.TB, key *ecdsa.PublicKey, issuerPath string) *httptest.Server {
	t.Helper()
	point, err := key.Bytes()
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	set := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","use":"sig","x":"%s","y":"%s"}]}`, encode(point[1:33]), encode(point[33:]))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case strings.TrimSuffix(issuerPath, "/") + "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":"http://%s%s","jwks_uri":"http://%s/keys"}`, r.Host, issuerPath, r.Host)
		case "/keys", "/cdn-cgi/access/certs":
			fmt.Fprint(w, set)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestPresetOfEachProviderAsTheDocsShowIt runs each Caddyfile of docs/jwt.md
// that has a preset, with a provider of the test's own behind its issuer, and
// sends the tokens that the provider's documents show.
func TestPresetOfEachProviderAsTheDocsShowIt(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/jwt.md")
	require.NoError(t, err)
	blocks := make(map[string]string)
	for _, block := range regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		presets := regexp.MustCompile(`preset (\w+)`).FindAllStringSubmatch(block[1], -1)
		if len(presets) == 1 {
			blocks[presets[0][1]] = block[1]
		}
	}
	for preset, c := range map[string]struct {
		issuer  string // as in the docs
		claims  map[string]any
		header  string
		want    map[string]string
		refused map[string]any // a change of the claims
	}{
		"keycloak": {
			issuer: "https://sso.example.com/realms/main",
			claims: map[string]any{
				"sub": "f3b1", "aud": []string{"account", "my-api"}, "typ": "Bearer", "azp": "web", "name": "Alice L.", "email": "alice@example.com",
				"email_verified": true, "realm_access": map[string]any{"roles": []string{"staff"}}, "scope": "openid",
			},
			want:    map[string]string{"Remote-User": "f3b1", "Remote-Name": "Alice L.", "Remote-Email": "alice@example.com", "Remote-Groups": "staff"},
			refused: map[string]any{"typ": "ID"},
		},
		"auth0": {
			issuer: "https://tenant.eu.auth0.com/",
			claims: map[string]any{
				"sub": "auth0|65", "aud": []string{"https://api.example.com", "https://tenant.eu.auth0.com/userinfo"}, "azp": "web",
				"https://example.com/roles": []string{"editor"}, "scope": "openid",
			},
			want:    map[string]string{"Remote-User": "auth0|65", "Remote-Groups": "editor"},
			refused: map[string]any{"aud": "web"},
		},
		"entra": {
			issuer: "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0",
			claims: map[string]any{
				"aud": "2f7a7a1e-0c5b-4a51-9d4e-3f7e5c0f6a10", "oid": "oid-1", "sub": "pairwise", "azp": "web", "name": "Alice", "email": "ceo@contoso.com",
				"scp": "orders.read", "roles": []string{"Orders.Admin"},
			},
			want:    map[string]string{"Remote-User": "oid-1", "Remote-Name": "Alice", "Remote-Email": "", "Remote-Groups": "Orders.Admin"},
			refused: map[string]any{"azp": nil},
		},
		"cognito": {
			issuer: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example",
			claims: map[string]any{
				"sub": "aaaa-1", "client_id": "1example23456789", "token_use": "access", "username": "alice", "cognito:groups": []string{"staff"},
			},
			want:    map[string]string{"Remote-User": "aaaa-1", "Remote-Name": "alice", "Remote-Groups": "staff"},
			refused: map[string]any{"token_use": "id"},
		},
		"google": {
			claims: map[string]any{
				"iss": "https://accounts.google.com", "aud": "1234-example.apps.googleusercontent.com", "sub": "1109", "hd": "example.com",
				"email": "alice@example.com", "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
			},
			want:    map[string]string{"Remote-User": "1109", "Remote-Email": "alice@example.com"},
			refused: map[string]any{"hd": nil},
		},
		"cloudflare_access": {
			issuer: "https://team.cloudflareaccess.com",
			claims: map[string]any{
				"aud": []string{"4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2"}, "sub": "7335d417", "type": "app",
				"email": "alice@example.com",
			},
			header:  "Cf-Access-Jwt-Assertion: ",
			want:    map[string]string{"Remote-User": "7335d417", "Remote-Email": "alice@example.com", "Cf-Access-Jwt-Assertion": ""},
			refused: map[string]any{"type": "org"},
		},
	} {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			require.NotEmpty(t, blocks[preset], "the docs have no example")
			signer, key := es256(t)
			host := regexp.MustCompile(`^https://[^/]*`)
			idp := provider(t, &key.PublicKey, host.ReplaceAllString(c.issuer, ""))
			sites := regexp.MustCompile(`(?m)^\w+\.example\.com \{`).ReplaceAllString(blocks[preset], "http://127.0.0.1:$$PORT {")
			sites = strings.Replace(sites, "reverse_proxy 127.0.0.1:8000", "reverse_proxy UPSTREAM", 1)
			if c.issuer == "" {
				sites = strings.Replace(sites, "preset google", "preset google\n\t\t\tjwks "+idp.URL+"/keys", 1)
			} else {
				issuer := host.ReplaceAllString(c.issuer, idp.URL)
				sites = strings.ReplaceAll(sites, "jwt "+c.issuer+" {", "jwt "+issuer+" {")
				c.claims["iss"] = issuer
			}
			c.claims["exp"], c.claims["iat"] = time.Now().Add(time.Hour).Unix(), time.Now().Unix()
			up := harness.StartUpstream(t)
			g := harness.Start(t, "", sites, "UPSTREAM", up.Addr)
			if c.header == "" {
				c.header = "Authorization: Bearer "
			}
			for range 2 { // checked, and remembered
				a := g.Get("/", c.header+signer.Token(t, c.claims))
				require.Equal(t, http.StatusOK, a.Status, a.Body)
				got := up.One(t)
				for name, value := range c.want {
					if value == "" {
						assert.Empty(t, harness.HeaderOf(got, name))
						continue
					}
					assert.Equal(t, []string{value}, harness.HeaderOf(got, name))
				}
			}
			for name, value := range c.refused {
				if c.claims[name] = value; value == nil {
					delete(c.claims, name)
				}
			}
			assert.Equal(t, http.StatusUnauthorized, g.Get("/", c.header+signer.Token(t, c.claims)).Status)
			assert.Empty(t, up.Taken())
		})
	}
}
