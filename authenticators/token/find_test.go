package token

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/records"
)

func TestC01C05C07C11WhereTheTokenStands(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice"}))
	good, _, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice"}, 0)
	require.NoError(t, err)
	const absent, accepted, rejected = "absent", "accepted", "rejected"
	for name, c := range map[string]struct {
		config  string
		headers []string
		want    string
	}{
		"default":                      {"", []string{"Authorization: Token " + good}, accepted},
		"any case":                     {"", []string{"Authorization: TOKEN " + good}, accepted},
		"bare":                         {"", []string{"Authorization: " + good}, absent},
		"another scheme":               {"", []string{"Authorization: Basic YTpi"}, absent},
		"sent twice, the same":         {"", []string{"Authorization: Token " + good, "Authorization: Token " + good}, rejected},
		"sent twice, another scheme":   {"", []string{"Authorization: Basic YTpi", "Authorization: Token " + good}, rejected},
		"second of the schemes":        {"scheme Token Bearer", []string{"Authorization: Bearer " + good}, accepted},
		"own header":                   {"header X-API-Key", []string{"X-Api-Key: " + good}, accepted},
		"own header, empty":            {"header X-API-Key", []string{"X-Api-Key: "}, absent},
		"own header, twice":            {"header X-API-Key", []string{"X-Api-Key: " + good, "X-Api-Key: " + good}, rejected},
		"own header, blank inside":     {"header X-API-Key", []string{"X-Api-Key: Token " + good}, rejected},
		"own header, no Authorization": {"header X-API-Key", []string{"Authorization: Token " + good}, absent},
		"own header and scheme":        {"header X-API-Key\n scheme Token", []string{"Authorization: Token " + good}, accepted},
		"wrong one first":              {"header X-API-Key\n scheme Token", []string{"Authorization: Token no", "X-Api-Key: " + good}, rejected},
		"cookie":                       {"cookie tok", []string{"Cookie: tok=" + good}, accepted},
		"cookie, unknown":              {"cookie tok", []string{"Cookie: tok=9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"}, absent},
		"cookie, mistyped":             {"cookie tok", []string{"Cookie: tok=" + good[1:]}, absent},
		"cookie, two values":           {"cookie tok", []string{"Cookie: tok=" + good + "; tok=x"}, absent},
		"cookie, no header":            {"cookie tok", []string{"Authorization: Token " + good}, absent},
		"wrong header before cookie":   {"cookie tok\n scheme Token", []string{"Authorization: Token no", "Cookie: tok=" + good}, rejected},
		"Rails' way":                   {"", []string{`Authorization: Token token="` + good + `"`}, rejected},
		"a comma":                      {"", []string{"Authorization: Token " + good + ", Token x"}, rejected},
		"percent-encoded":              {"", []string{"Authorization: Token " + strings.Replace(good, "_", "%5F", 1)}, rejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := new(Authenticator)
			require.NoError(t, guesttest.Load(t, host, a, "token {\n "+c.config+"\n}"))
			who, err := guesttest.Ask(t, a, c.headers...)
			var refusal *authenticators.RejectedError
			switch {
			case err == nil:
				assert.Equal(t, accepted, c.want)
				assert.Equal(t, "alice", who.ID)
			case errors.Is(err, authenticators.ErrNoCredential):
				assert.Equal(t, absent, c.want)
			default:
				require.ErrorAs(t, err, &refusal)
				assert.Equal(t, rejected, c.want)
			}
		})
	}
}

func TestChallengeNamesTheFirstScheme(t *testing.T) {
	t.Parallel()
	for config, want := range map[string][]string{
		"":                              {"Token", "authorization token"},
		"scheme Bearer":                 {`Bearer realm="api"`, "authorization bearer"},
		"scheme Token bearer":           {"Token", "authorization token", "authorization bearer"},
		"scheme JWT":                    {"JWT", "authorization jwt"},
		"header X-API-Key":              {"", "x-api-key"},
		"cookie tok":                    {""},
		"header X-API-Key\n scheme Key": {"Key", "authorization key", "x-api-key"},
	} {
		a := new(Authenticator)
		require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "token {\n "+config+"\n}"))
		assert.Equal(t, want[0], a.Challenge(), config)
		assert.Equal(t, want[1:], a.SharedSchemes(), config)
	}
}

func TestTokenInACookieIsGuarded(t *testing.T) {
	t.Parallel()
	for config, c := range map[string]struct {
		origin string
		passes bool
	}{
		"cookie tok":                 {"https://evil.example", false},
		"cookie tok\n csrf off":      {"https://evil.example", true},
		"cookie tok\n csrf":          {"https://example.com", true},
		"cookie tok\n csrf {\n}\n":   {"null", false},
		"cookie tok\n id_prefix ab:": {"https://example.com", true},
		"cookie tok\n csrf {\n trusted_origins https://app.example.com\n }": {"https://app.example.com", true},
	} {
		a := new(Authenticator)
		require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "token {\n "+config+"\n}"))
		r := httptest.NewRequest(http.MethodPost, "https://example.com/", nil)
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Cookie", "csrftoken=abcdefghijklmnopqrstuvwxyzABCDEF")
		r.Header.Set("X-Csrftoken", "abcdefghijklmnopqrstuvwxyzABCDEF")
		err := a.CheckOrigin(r)
		if c.passes {
			require.NoError(t, err, config)
			continue
		}
		var forbidden *authenticators.ForbiddenError
		require.ErrorAs(t, err, &forbidden, config)
		assert.Equal(t, "csrf_failed", forbidden.Code)
		assert.Equal(t, "CSRF Failed: Origin checking failed - "+c.origin+" does not match any trusted origins.", forbidden.Detail)
	}
}

// Whatever stands in the headers: one of the outcomes, without panic, and a
// credential that is neither empty nor split.
func FuzzFind(f *testing.F) {
	for _, seed := range [][2]string{
		{"Token abc", ""}, {"Token", "tok=a"}, {"token \ta  b", "tok=a; tok=b"}, {"Bearer eyJh.eyJz.c2ln", "tok=\"a\""}, {"Tokené", "=;tok"}, {"", "tok="},
	} {
		f.Add(seed[0], seed[1])
	}
	a := &Authenticator{Cookie: "tok"}
	a.headers.Add("Authorization", "Token")
	a.headers.Add("Authorization", "Bearer")
	for _, scheme := range a.SharedSchemes() {
		require.NoError(f, a.ShareScheme(scheme, authenticators.Sharing{a, takesJWTs{}}))
	}
	f.Fuzz(func(t *testing.T, header, cookie string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{header}
		r.Header["Cookie"] = []string{cookie}
		c, err := a.Find(r)
		var rejected *authenticators.RejectedError
		switch {
		case err == nil:
			require.NotEmpty(t, c.Value.Reveal())
			if c.In == authenticators.InHeader {
				require.NotContains(t, c.Value.Reveal(), " ")
				require.False(t, authenticators.LooksLikeJWT(c.Value))
			}
		case errors.As(err, &rejected):
			require.NotEmpty(t, rejected.Detail)
		default:
			require.ErrorIs(t, err, authenticators.ErrNoCredential)
		}
	})
}

// takesJWTs is another authenticator that reads the same scheme.
type takesJWTs struct{}

func (takesJWTs) SharedSchemes() []string                          { return nil }
func (takesJWTs) ShareScheme(string, authenticators.Sharing) error { return nil }
func (takesJWTs) Fit(value authenticators.Secret) int {
	if authenticators.LooksLikeJWT(value) {
		return 1
	}
	return 0
}
