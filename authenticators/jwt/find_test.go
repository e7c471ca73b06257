package jwt

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

func ownSigner() (*keys.Signer, error) { return keys.GenerateSigner() }

func asRejection(err error) (*authenticators.RejectedError, bool) {
	return errors.AsType[*authenticators.RejectedError](err)
}

func TestTokenIsFoundWhereTheConfigSays(t *testing.T) {
	t.Parallel()
	const absent, malformed, notASCII = "absent", "malformed", "not ASCII"
	for name, c := range map[string]struct {
		options string
		headers []string
		want    string // the value; or what is wrong
		place   authenticators.Place
	}{
		"nothing":                 {"", nil, absent, 0},
		"bearer":                  {"", []string{"Authorization: bEaReR x.y"}, "x.y", authenticators.InHeader},
		"another scheme":          {"", []string{"Authorization: Basic x"}, absent, 0},
		"no value":                {"", []string{"Authorization: Bearer"}, malformed, 0},
		"two values":              {"", []string{"Authorization: Bearer a b"}, malformed, 0},
		"two in one":              {"", []string{"Authorization: Bearer a, Bearer b"}, malformed, 0},
		"two headers":             {"", []string{"Authorization: Bearer a", "Authorization: Bearer a"}, malformed, 0},
		"not ASCII":               {"", []string{"Authorization: Bearer a\u200bb"}, notASCII, 0},
		"cookie not asked for":    {"", []string{"Cookie: jwt=x"}, absent, 0},
		"cookie":                  {"cookie jwt", []string{"Cookie: a=b; jwt=x"}, "x", authenticators.InCookie},
		"header before cookie":    {"cookie jwt", []string{"Cookie: jwt=x", "Authorization: Bearer y"}, "y", authenticators.InHeader},
		"other scheme and cookie": {"cookie jwt", []string{"Cookie: jwt=x", "Authorization: Basic y"}, absent, 0},
		"bad header and cookie":   {"cookie jwt", []string{"Cookie: jwt=x", "Authorization: Bearer"}, malformed, 0},
		"two cookies":             {"cookie jwt", []string{"Cookie: jwt=x; jwt=y"}, absent, 0},
		"another header":          {"header X-Token", []string{"X-Token: x"}, "x", authenticators.InHeader},
		"not the usual one":       {"header X-Token", []string{"Authorization: Bearer x"}, absent, 0},
		"another scheme word":     {"header Authorization JWT", []string{"Authorization: JWT x"}, "x", authenticators.InHeader},
		"not the usual word":      {"header Authorization JWT", []string{"Authorization: Bearer x"}, absent, 0},
		"scheme in own header":    {"header X-Token JWT", []string{"X-Token: JWT x"}, "x", authenticators.InHeader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := withSecret(t, c.options)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for _, header := range c.headers {
				name, value := cutHeader(header)
				r.Header[name] = append(r.Header[name], value)
			}
			got, err := a.Find(r)
			switch c.want {
			case absent:
				require.ErrorIs(t, err, authenticators.ErrNoCredential)
			case notASCII:
				assert.Equal(t, "token_not_valid", refusal(t, err).Code)
			case malformed:
				rejected := refusal(t, err)
				assert.Equal(t, "bad_authorization_header", rejected.Code)
				assert.Equal(t, "Authorization header must contain two space-delimited values", rejected.Detail)
			default:
				require.NoError(t, err)
				assert.Equal(t, c.want, got.Value.Reveal())
				assert.Equal(t, c.place, got.In)
			}
		})
	}
}

func cutHeader(header string) (name, value string) {
	name, value, _ = strings.Cut(header, ":")
	return name, value[1:]
}

// opaque is an authenticator that reads tokens without meaning.
type opaque struct{}

func (opaque) SharedSchemes() []string                          { return nil }
func (opaque) ShareScheme(string, authenticators.Sharing) error { return nil }
func (opaque) Fit(value authenticators.Secret) int {
	if authenticators.LooksLikeJWT(value) {
		return 0
	}
	return 1
}

func TestOpaqueTokensOfASharedSchemeAreLeftToOthers(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	assert.Equal(t, []string{"authorization bearer"}, a.SharedSchemes())
	_, err := ask(t, a, "abc123")
	refusal(t, err)
	require.NoError(t, a.ShareScheme("authorization bearer", authenticators.Sharing{opaque{}, a}))
	_, err = ask(t, a, "abc123")
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
	_, err = ask(t, a, "eyJhbGciOiJIUzI1NiJ9.e30.AAAA")
	refusal(t, err)
	_, err = ask(t, a, token("HS256", nil))
	require.NoError(t, err)
	assert.Equal(t, []string{"x-token"}, withSecret(t, "header X-Token").SharedSchemes())
}

func TestChallengeNamesTheScheme(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"": `Bearer realm="api"`, "header Authorization JWT": `JWT realm="api"`, "header X-Token": "", "header X-Token JWT": `JWT realm="api"`, "cookie jwt": `Bearer realm="api"`,
	} {
		assert.Equal(t, want, withSecret(t, options).Challenge(), options)
	}
	_, err := guesttest.Ask(t, withSecret(t, "header X-Token"), "X-Token: x")
	assert.Empty(t, refusal(t, err).Challenge)
}

func TestCookieThatIsNotValidCountsAsNone(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "cookie jwt")
	who, err := guesttest.Ask(t, a, "Cookie: jwt="+token("HS256", nil))
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
	for _, value := range []string{"x", token("HS256", object{"exp": now.Unix()}), token("HS256", nil) + "x", token("HS256", object{"sub": ""}), "%65"} {
		_, err := guesttest.Ask(t, a, "Cookie: jwt="+value)
		require.ErrorIs(t, err, authenticators.ErrNoCredential, value)
	}

	// But who can't be asked has not said no.
	down := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), down, "jwt {\n cookie jwt\n}"))
	down.now = func() time.Time { return now }
	_, err = guesttest.Ask(t, down, "Cookie: jwt="+token("EdDSA", nil))
	require.Error(t, err)
	require.NotErrorIs(t, err, authenticators.ErrNoCredential)
	_, rejected := asRejection(err)
	require.False(t, rejected)
}

func TestUnsafeRequestsOfOtherSitesAreForbidden(t *testing.T) {
	t.Parallel()
	for options, c := range map[string]struct{ stranger, friend bool }{
		"cookie jwt\ncsrf {\ntoken off\n}": {false, false},
		"cookie jwt\ncsrf off":             {true, true},
		"cookie jwt\ncsrf {\ntrusted_origins https://friend.example\ntoken off\n}": {false, true},
	} {
		a := withSecret(t, options)
		for origin, passes := range map[string]bool{"https://evil.example": c.stranger, "https://friend.example": c.friend, "http://example.com": true} {
			r := httptest.NewRequest(http.MethodPost, "http://example.com/", nil)
			r.Header.Set("Origin", origin)
			err := a.CheckOrigin(r)
			assert.Equal(t, passes, err == nil, "%s of %s", options, origin)
			if err != nil {
				forbidden, ok := errors.AsType[*authenticators.ForbiddenError](err)
				require.True(t, ok)
				assert.Contains(t, forbidden.Detail, "CSRF Failed: Origin checking failed - "+origin)
			}
		}
	}
}
