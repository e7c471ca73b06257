package jwt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// preset is what an issuer's public documents say of its tokens. What a config
// says itself goes before it.
type preset struct {
	// issuers are the values of iss where the config names none.
	issuers []string

	// jwks is where the keys are, below the issuer. Empty: OpenID Connect
	// discovery.
	jwks string

	// header carries the token. Empty: Authorization.
	header string

	algorithms []string
	user       string // path; empty: sub
	groups     []string
	claims     []identity.ClaimPath
	require    []RequiredClaim

	// typeClaim says what a token is for, in SimpleJWT's words; idClaim names it.
	// With a typeClaim both must be there.
	typeClaim, idClaim string

	// audience are the claims that say whom a token is for, of which the first
	// that is there counts. Empty: aud.
	audience []string

	// anyOf are claims of which an access token has at least one.
	anyOf []string

	// emailClaim says that the address has been verified; empty: email_verified
	// may say that it has not.
	emailClaim string

	// idTokens are what this issuer gives to applications.
	idTokens bool

	// needs say what is missing in a config beside the preset.
	needs []func(a *Authenticator) error
}

const (
	defaultUser = "sub"
	simpleJWT   = "simplejwt"
	claimOff    = "off"
)

// plainGroups are where groups stand where nothing says otherwise.
var plainGroups = []string{"groups"}

// presets are the issuers whose conventions are known.
var presets = map[string]preset{
	"": {idClaim: "jti"},

	// djangorestframework-simplejwt, settings.
	simpleJWT: {
		algorithms: []string{"HS256"}, user: "user_id", typeClaim: "token_type", idClaim: "jti",
		needs: []func(*Authenticator) error{needsDjangosKey},
	},

	// Keycloak, Server Administration Guide: protocol mappers. The claim typ tells
	// access tokens from ID and refresh tokens.
	"keycloak": {
		idClaim: "jti", groups: []string{"realm_access.roles", "groups"},
		require: []RequiredClaim{{Path: "typ", Values: []string{"Bearer"}}},
		needs:   []func(*Authenticator) error{needsIssuer("https://keycloak.example.com/realms/main")},
	},

	// Auth0, access token profiles. Its issuer ends in a slash. Without an
	// audience clients get tokens that only Auth0 itself can read.
	"auth0": {
		idClaim: "jti",
		needs:   []func(*Authenticator) error{needsIssuer("https://tenant.eu.auth0.com/"), needsSlash, needsAudience},
	},

	// Microsoft Entra ID, access token claims. oid names a person for the whole
	// tenant; email is what the person chose unless xms_edov says otherwise.
	"entra": {
		idClaim: "uti", user: "oid", groups: []string{"roles", "groups"}, anyOf: []string{"azp", "appid"}, emailClaim: "xms_edov",
		needs: []func(*Authenticator) error{needsIssuer("https://login.microsoftonline.com/<tenant id>/v2.0"), needsAudience},
	},

	// Amazon Cognito user pools, access tokens: client_id stands for aud.
	"cognito": {
		idClaim: "jti", groups: []string{"cognito:groups"}, audience: []string{"aud", "client_id"},
		claims:  []identity.ClaimPath{{Name: "name", Path: "username"}},
		require: []RequiredClaim{{Path: "token_use", Values: []string{"access"}}},
		needs:   []func(*Authenticator) error{needsIssuer("https://cognito-idp.<region>.amazonaws.com/<pool id>")},
	},

	// Google, OpenID Connect: ID tokens, whose issuer has two spellings.
	"google": {
		idClaim: "jti", issuers: []string{"https://accounts.google.com", "accounts.google.com"}, idTokens: true,
		needs: []func(*Authenticator) error{needsAudience},
	},

	// Cloudflare Access, application tokens.
	"cloudflare_access": {
		idClaim: "jti", header: "Cf-Access-Jwt-Assertion", jwks: "/cdn-cgi/access/certs", groups: []string{"custom.groups"},
		require: []RequiredClaim{{Path: "type", Values: []string{"app"}}}, idTokens: true,
		needs: []func(*Authenticator) error{needsIssuer("https://team.cloudflareaccess.com"), needsAudience},
	},
}

// Presets lists the names that Authenticator.Preset may have.
func Presets() []string {
	names := slices.Sorted(maps.Keys(presets))
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func needsDjangosKey(a *Authenticator) error {
	switch {
	case len(a.Keys) == 0 && a.JWKS == "":
		return errors.New("it needs the 'key' that Django signs with, such as: key HS256 {env.SIGNING_KEY}")
	case isURL(a.JWKS) && len(a.Algorithms) == 0:
		return errors.New("it is about HS256, and no secret is at an address; add 'algorithms RS256', or whichever Django signs with")
	}
	return nil
}

func needsIssuer(example string) func(*Authenticator) error {
	return func(a *Authenticator) error {
		if len(a.Issuer) == 0 {
			return fmt.Errorf("it needs an 'issuer', such as %s", example)
		}
		return nil
	}
}

func needsSlash(a *Authenticator) error {
	if slices.ContainsFunc(a.Issuer, func(issuer string) bool { return !strings.HasSuffix(issuer, "/") }) {
		return errors.New("an issuer of Auth0 ends in a slash, as in https://tenant.eu.auth0.com/")
	}
	return nil
}

func needsAudience(a *Authenticator) error {
	if len(a.Audience) == 0 {
		return errors.New("it needs an 'audience', since tokens for other applications have the same issuer and keys")
	}
	return nil
}
