package jwt

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// share makes authenticators members of one policy.
func share(all ...*Authenticator) error {
	for _, a := range all {
		for _, scheme := range a.SharedSchemes() {
			sharing := make(authenticators.Sharing, len(all))
			for i, other := range all {
				sharing[i] = other
			}
			if err := a.ShareScheme(scheme, sharing); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestEachTokenGoesToWhoNamesItsIssuer(t *testing.T) {
	t.Parallel()
	first := withSecret(t, "issuer https://a.example\n audience a")
	second := ready(t, "jwt https://b.example {\n audience b\n key ES256 "+keyFile(t, "ES256")+"\n claim groups roles\n}")
	plain := withSecret(t)
	require.NoError(t, share(first, second, plain))
	owner := map[*Authenticator]string{first: "first", second: "second", plain: "plain"}
	for name, c := range map[string]struct {
		token, owner string
		ok           bool
	}{
		"of the first":               {token("HS256", object{"iss": "https://a.example", "aud": "a"}), "first", true},
		"of the second":              {token("ES256", object{"iss": "https://b.example", "aud": "b"}), "second", true},
		"audience of the other":      {token("HS256", object{"iss": "https://a.example", "aud": "b"}), "first", false},
		"signed by the other's key":  {token("HS256", object{"iss": "https://b.example", "aud": "b"}), "second", false},
		"of no issuer":               {token("HS256", object{"iss": nil}), "plain", true},
		"of an unknown issuer":       {token("HS256", object{"iss": "https://c.example"}), "plain", true},
		"of an algorithm of no one":  {token("RS256", object{"iss": "https://c.example"}), "first", false},
		"issuer twice":               {tokenOf(`{"iss":"https://b.example","iss":"https://a.example","aud":"a","sub":"x","exp":1800000300}`), "second", false},
		"issuer that is no text":     {token("HS256", object{"iss": []string{"https://a.example"}}), "plain", true},
		"garbage that looks like it": {"eyJ.x.y", "first", false},
		"garbage":                    {"abc", "first", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := ""
			for _, a := range []*Authenticator{first, second, plain} {
				who, err := ask(t, a, c.token)
				if errors.Is(err, authenticators.ErrNoCredential) {
					continue
				}
				require.Empty(t, asked, "one decides")
				asked = owner[a]
				assert.Equal(t, c.ok, err == nil, "%v", err)
				if err != nil {
					refusal(t, err)
				} else {
					assert.Equal(t, "alice", who.ID)
				}
			}
			assert.Equal(t, c.owner, asked)
		})
	}
}

func TestOwnSecretTakesItsTokensBesideOthers(t *testing.T) {
	t.Parallel()
	jwk := `{"kty":"oct","k":"` + encode([]byte(secret)) + `"}`
	host := guesttest.NewHost()
	host.Ring.Set(must(keys.LoadSigner([]byte(jwk))))
	own := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, own, "jwt"))
	own.now = func() time.Time { return now }
	other := ready(t, "jwt https://b.example {\n audience b\n key ES256 "+keyFile(t, "ES256")+"\n}")
	public := ready(t, "jwt {\n key ES256 "+keyFile(t, "ES256")+"\n}")
	require.NoError(t, share(other, public, own))
	good := token("HS256", object{"iss": nil, "token_type": "access"})
	for _, stranger := range []*Authenticator{other, public} {
		_, err := ask(t, stranger, good)
		require.ErrorIs(t, err, authenticators.ErrNoCredential)
	}
	who, err := ask(t, own, good)
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
	_, err = ask(t, public, token("ES256", object{"iss": nil}))
	require.NoError(t, err, "what is none of ours goes to the other")
}

func TestOneThatGetsNoTokensIsWarnedAbout(t *testing.T) {
	t.Parallel()
	warned := func(all ...*Authenticator) bool {
		require.NoError(t, share(all...))
		var log bytes.Buffer
		logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&log), zap.WarnLevel))
		for _, a := range all {
			a.Warn(logger)
		}
		return bytes.Contains(log.Bytes(), []byte("takes all of this one's tokens"))
	}
	public := func(options string) *Authenticator {
		return ready(t, "jwt {\n key ES256 "+keyFile(t, "ES256")+"\n "+options+"\n}")
	}
	assert.True(t, warned(withSecret(t), withSecret(t)))
	assert.True(t, warned(withSecret(t, "issuer a b"), withSecret(t, "issuer b")))
	assert.False(t, warned(withSecret(t, "issuer b"), withSecret(t, "issuer a b")))
	assert.False(t, warned(withSecret(t), public("")))
	assert.False(t, warned(withSecret(t), withSecret(t, "issuer a")))
	own := ready(t, "jwt")
	assert.False(t, warned(public(""), own), "our own keys may be of another algorithm")
	assert.True(t, warned(own, public("")))
	assert.True(t, warned(public(""), public("")))
	assert.False(t, warned(withSecret(t, "issuer a"), withSecret(t)))
}

func TestSecretAndPublicKeysOfOneIssuerAreRefused(t *testing.T) {
	t.Parallel()
	public := ready(t, "jwt https://a.example {\n issuer https://b.example\n key ES256 "+keyFile(t, "ES256")+"\n}")
	require.ErrorContains(t, share(withSecret(t, "issuer https://b.example"), public), "one or the other")
	require.NoError(t, share(withSecret(t, "issuer https://c.example"), public, withSecret(t)))
}

func TestSeveralSchemesOfOneHeader(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "header Authorization JWT Bearer")
	assert.Equal(t, `JWT realm="api"`, a.Challenge())
	for _, scheme := range []string{"JWT", "bearer"} {
		_, err := guesttest.Ask(t, a, "Authorization: "+scheme+" "+token("HS256", nil))
		require.NoError(t, err, scheme)
	}
	_, err := guesttest.Ask(t, a, "Authorization: Token "+token("HS256", nil))
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
}
