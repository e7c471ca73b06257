package jwt

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// presetCases are the tokens of issuers, as their documents show them, with
// what becomes of them, and what else the issuer signs that is no access token.
var presetCases = map[string]struct {
	config  string
	claims  object
	id      string
	name    string
	email   string
	groups  []string
	scopes  []string
	refused map[string]object // changes to the claims
}{
	"keycloak": {
		config: "issuer https://sso.example.com/realms/main",
		claims: object{
			"iss": "https://sso.example.com/realms/main", "aud": "account", "typ": "Bearer", "azp": "web", "sub": "f3b1-11", "jti": "onrtac:1",
			"realm_access":       object{"roles": []string{"staff", "offline_access"}},
			"resource_access":    object{"account": object{"roles": []string{"view-profile"}}},
			"groups":             []string{"/sales"},
			"preferred_username": "alice", "name": "Alice L.", "email": "alice@example.com", "email_verified": true, "scope": "openid email",
		},
		id: "f3b1-11", name: "Alice L.", email: "alice@example.com", groups: []string{"staff", "offline_access", "/sales"}, scopes: []string{"openid", "email"},
		refused: map[string]object{
			"ID token":      {"typ": "ID"},
			"refresh token": {"typ": "Refresh"},
			"offline token": {"typ": "Offline"},
			"without typ":   {"typ": nil},
			"another realm": {"iss": "https://sso.example.com/realms/other"},
			"bound":         {"cnf": object{"jkt": "x"}},
		},
	},
	"auth0": {
		config: "issuer https://tenant.eu.auth0.com/\n audience https://api.example.com",
		claims: object{
			"iss": "https://tenant.eu.auth0.com/", "sub": "auth0|65", "aud": []string{"https://api.example.com", "https://tenant.eu.auth0.com/userinfo"},
			"azp": "client1", "scope": "openid read:orders", "permissions": []string{"read:orders"},
		},
		id: "auth0|65", scopes: []string{"openid", "read:orders"},
		refused: map[string]object{
			"ID token":     {"aud": "client1"},
			"without aud":  {"aud": nil},
			"other tenant": {"iss": "https://other.eu.auth0.com/"},
			"no slash":     {"iss": "https://tenant.eu.auth0.com"},
		},
	},
	"entra": {
		config: "issuer https://login.microsoftonline.com/tid1/v2.0\n audience api1",
		claims: object{
			"iss": "https://login.microsoftonline.com/tid1/v2.0", "aud": "api1", "azp": "client1", "oid": "oid-1", "sub": "pairwise", "tid": "tid1", "ver": "2.0",
			"name": "Alice", "preferred_username": "alice@contoso.com", "email": "ceo@contoso.com", "scp": "orders.read orders.write",
			"roles": []string{"Orders.Admin"}, "groups": []string{"0b1d-7"}, "uti": "u1",
		},
		id: "oid-1", name: "Alice", groups: []string{"Orders.Admin", "0b1d-7"}, scopes: []string{"orders.read", "orders.write"},
		refused: map[string]object{
			"ID token":       {"azp": nil},
			"another tenant": {"iss": "https://login.microsoftonline.com/tid2/v2.0"},
			"without oid":    {"oid": nil},
		},
	},
	"entra, verified address": {
		config: "issuer https://sts.windows.net/tid1/\n audience api://api1",
		claims: object{
			"iss": "https://sts.windows.net/tid1/", "aud": "api://api1", "appid": "client1", "oid": "oid-1", "email": "alice@contoso.com", "xms_edov": true,
		},
		id: "oid-1", email: "alice@contoso.com",
		refused: map[string]object{"ID token": {"appid": nil}},
	},
	"cognito": {
		config: "issuer https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A\n audience client1",
		claims: object{
			"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A", "sub": "aaaa-1", "aud": nil, "client_id": "client1", "token_use": "access",
			"username": "alice", "cognito:groups": []string{"staff"}, "scope": "aws.cognito.signin.user.admin", "origin_jti": "o", "jti": "j",
		},
		id: "aaaa-1", name: "alice", groups: []string{"staff"}, scopes: []string{"aws.cognito.signin.user.admin"},
		refused: map[string]object{
			"ID token":        {"token_use": "id", "aud": "client1"},
			"another client":  {"client_id": "client2"},
			"another aud":     {"aud": "https://api.example.com"},
			"neither of both": {"client_id": nil},
		},
	},
	"google": {
		config: "audience client1.apps.googleusercontent.com",
		claims: object{
			"iss": "https://accounts.google.com", "aud": "client1.apps.googleusercontent.com", "azp": "client1", "sub": "1109", "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
			"email": "alice@example.com", "email_verified": true, "name": "Alice", "hd": "example.com",
		},
		id: "1109", name: "Alice", email: "alice@example.com",
		refused: map[string]object{
			"another client": {"aud": "client2.apps.googleusercontent.com"},
			"another issuer": {"iss": "https://accounts.google.com.evil.example"},
		},
	},
	"google, other spelling": {
		config: "audience client1\n require_claim hd example.com",
		claims: object{"iss": "accounts.google.com", "aud": "client1", "sub": "1109", "email": "a@gmail.com", "email_verified": false, "hd": "example.com"},
		id:     "1109",
		refused: map[string]object{
			"consumer account": {"hd": nil},
		},
	},
	"cloudflare_access": {
		config: "issuer https://team.cloudflareaccess.com\n audience 4714c1358e65",
		claims: object{
			"iss": "https://team.cloudflareaccess.com", "aud": []string{"4714c1358e65"}, "type": "app", "identity_nonce": "n", "sub": "7335d417-61da",
			"email": "alice@example.com", "country": "PT", "custom": object{"groups": []string{"staff"}},
		},
		id: "7335d417-61da", email: "alice@example.com", groups: []string{"staff"},
		refused: map[string]object{
			"session of the team": {"type": "org"},
			"another application": {"aud": []string{"ffff"}},
			"service token":       {"sub": "", "common_name": "svc.access"},
		},
	},
}

func TestPresetsReadTheTokensOfTheirIssuers(t *testing.T) {
	t.Parallel()
	for name, c := range presetCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			preset := presetOf(name)
			a := ready(t, "jwt {\n preset "+preset+"\n "+c.config+"\n key RS256 "+keyFile(t, "RS256")+"\n}")
			send := func(changes object) (string, error) {
				claims := claimsWith(c.claims)
				maps.Copy(claims, changes)
				token := compact("RS256", `{"alg":"RS256"}`, string(must(json.Marshal(claimsWithout(claims)))), rsaKey())
				header := "Authorization: Bearer " + token
				if preset == "cloudflare_access" {
					header = "Cf-Access-Jwt-Assertion: " + token
				}
				who, err := guesttest.Ask(t, a, header)
				if err != nil {
					return "", err
				}
				assert.Equal(t, c.name, who.Name)
				assert.Equal(t, c.email, who.Email)
				assert.Equal(t, c.groups, who.Groups)
				assert.Equal(t, c.scopes, who.Scopes)
				return who.ID, nil
			}
			id, err := send(nil)
			require.NoError(t, err)
			assert.Equal(t, c.id, id)
			for kind, changes := range c.refused {
				_, err := send(changes)
				require.Error(t, err, kind)
				refusal(t, err)
			}
		})
	}
}

// presetOf is the preset of a case, whose name may say more.
func presetOf(name string) string {
	for _, preset := range Presets() {
		if len(name) >= len(preset) && name[:len(preset)] == preset {
			return preset
		}
	}
	return ""
}

// claimsWithout drops what is nil.
func claimsWithout(claims object) object {
	for name, value := range claims {
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func TestEveryPresetHasACase(t *testing.T) {
	t.Parallel()
	for _, preset := range Presets() {
		if preset != simpleJWT { // has tests of its own
			assert.Contains(t, presetCases, preset)
		}
	}
}

func TestConfigGoesBeforeThePreset(t *testing.T) {
	t.Parallel()
	a := ready(t, `jwt https://sso.example.com/realms/main {
		preset keycloak
		user preferred_username
		claim groups resource_access.web.roles
		key HS256 `+secret+`
	}`)
	who, err := ask(t, a, token("HS256", object{
		"iss": "https://sso.example.com/realms/main", "typ": "Bearer", "preferred_username": "alice",
		"realm_access": object{"roles": []string{"admin"}}, "resource_access": object{"web": object{"roles": []string{"editor"}}},
	}))
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
	assert.Equal(t, []string{"editor"}, who.Groups)

	a = ready(t, "jwt a {\n preset cognito\n claim name nickname\n key HS256 "+secret+"\n}")
	who, err = ask(t, a, token("HS256", object{"iss": "a", "token_use": "access", "username": "u1", "nickname": "Al"}))
	require.NoError(t, err)
	assert.Equal(t, "Al", who.Name)
}

func TestKeysOfPresetsAreWhereTheirIssuersSay(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"preset cloudflare_access\n issuer https://team.cloudflareaccess.com\n audience x": "https://team.cloudflareaccess.com/cdn-cgi/access/certs",
		"preset google\n audience x":                                 "https://accounts.google.com/.well-known/openid-configuration",
		"preset auth0\n issuer https://t.eu.auth0.com/\n audience x": "https://t.eu.auth0.com//.well-known/openid-configuration", // keys.DiscoveryURL
	} {
		a := new(Authenticator)
		host := &countingHost{Host: guesttest.NewHost()}
		require.NoError(t, guesttest.Load(t, host, a, "jwt {\n"+config+"\n}"))
		assert.Equal(t, []string{want}, host.asked)
		assert.False(t, a.own)
	}
}

func TestIDTokensAreNoAccessTokensUnlessAsked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"at_hash", "c_hash"} {
		_, err := ask(t, withSecret(t), token("HS256", object{name: "x"}))
		assert.Equal(t, "Token has wrong type", refusal(t, err).Messages[0].Message)
	}
	_, err := ask(t, withSecret(t, "require_claim at_hash"), token("HS256", object{"at_hash": "x"}))
	require.NoError(t, err)
}

func TestTypIsHeldToTheConfig(t *testing.T) {
	t.Parallel()
	with := func(header string) string {
		return compact("HS256", header, string(must(json.Marshal(claimsWith(nil)))), []byte(secret))
	}
	strict := withSecret(t, "typ at+jwt")
	for header, ok := range map[string][2]bool{ // by default, with typ at+jwt
		`{"alg":"HS256"}`: {true, false}, `{"alg":"HS256","typ":"JWT"}`: {true, false}, `{"alg":"HS256","typ":"jwt"}`: {true, false},
		`{"alg":"HS256","typ":"at+jwt"}`: {true, true}, `{"alg":"HS256","typ":"application/AT+JWT"}`: {true, true},
		`{"alg":"HS256","typ":"dpop+jwt"}`: {false, false}, `{"alg":"HS256","typ":"logout+jwt"}`: {false, false}, `{"alg":"HS256","typ":1}`: {false, false},
	} {
		for i, a := range []*Authenticator{withSecret(t), strict} {
			_, err := ask(t, a, with(header))
			assert.Equal(t, ok[i], err == nil, "%s, %d: %v", header, i, err)
		}
	}
	_, err := ask(t, withSecret(t, "typ application/secevent+jwt"), with(`{"alg":"HS256","typ":"secevent+jwt"}`))
	require.NoError(t, err)
}

func TestSettingsOfSimpleJWT(t *testing.T) {
	t.Parallel()
	simple := func(options string) *Authenticator {
		return ready(t, "jwt {\n preset simplejwt\n key HS256 "+secret+"\n "+options+"\n}")
	}
	good := object{"user_id": 1, "token_type": "access", "jti": "a"}
	for options, cases := range map[string]map[bool][]object{
		"": {
			true:  {good, {"user_id": "1", "token_type": "access", "jti": ""}},
			false: {{"user_id": 1, "jti": "a"}, {"user_id": 1, "token_type": "refresh", "jti": "a"}, {"user_id": 1, "token_type": "access"}, {"user_id": 1, "token_type": "sliding", "jti": "a"}},
		},
		"token_type_claim typ\n jti_claim tid\n user sub": {
			true:  {{"typ": "access", "tid": "a"}},
			false: {{"typ": "refresh", "tid": "a"}, {"typ": "access"}, {"tid": "a", "token_type": "access"}},
		},
		"token_type_claim off\n jti_claim off": {
			true:  {{"user_id": 1}, {"user_id": 1, "token_type": "refresh"}},
			false: {{"user_id": nil}},
		},
		"require_claim token_type access sliding": {
			true:  {good, {"user_id": 1, "token_type": "sliding", "jti": "a", "refresh_exp": now.Unix() + 9000}},
			false: {{"user_id": 1, "token_type": "refresh", "jti": "a"}},
		},
	} {
		a := simple(options)
		for ok, list := range cases {
			for _, claims := range list {
				_, err := ask(t, a, token("HS256", claims))
				assert.Equal(t, ok, err == nil, "%s: %v: %v", options, claims, err)
			}
		}
	}
}

func TestExpFartherThanALifetimeIsRefused(t *testing.T) {
	t.Parallel()
	year, hour := withSecret(t), withSecret(t, "max_lifetime 1h\n leeway 10s")
	for ahead, ok := range map[int64][2]bool{3600: {true, true}, 3610: {true, true}, 3611: {true, false}, 366 * 86400: {true, false}, 366*86400 + 1: {false, false}} {
		for i, a := range []*Authenticator{year, hour} {
			_, err := ask(t, a, token("HS256", object{"exp": now.Unix() + ahead}))
			assert.Equal(t, ok[i], err == nil, "%d, %d: %v", ahead, i, err)
		}
	}
}

// countingHost notes which key sets were asked for.
type countingHost struct {
	*guesttest.Host

	asked []string
}

func (h *countingHost) KeySet(url string) (*keys.Remote, error) {
	h.asked = append(h.asked, url)
	return h.Host.KeySet(url)
}
