package jwt

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// revocable accepts ES256 and asks the store of host.
func revocable(t *testing.T, host *guesttest.Host, options string) *Authenticator {
	t.Helper()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "jwt {\n key ES256 "+keyFile(t, "ES256")+"\n "+options+"\n}"))
	a.now = func() time.Time { return now }
	return a
}

func TestRevokedTokenIsRefusedInEachOfItsSpellings(t *testing.T) {
	t.Parallel()
	for name, claims := range map[string]object{"by jti": {"jti": "a"}, "by what was signed": nil, "jti that is no text": {"jti": 5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			a, careless := revocable(t, host, "check_revoked"), revocable(t, host, "")
			good := token("ES256", claims)
			other := otherSpelling(t, good)
			for _, token := range []string{good, other} {
				_, err := ask(t, a, token)
				require.NoError(t, err)
			}
			parts, err := split(good)
			require.NoError(t, err)
			revoked := records.NameByInput(string(parts.input))
			if claims["jti"] == "a" {
				revoked = records.NameByID("https://idp.example.com", "a")
			}
			require.NoError(t, records.RevokeJWT(t.Context(), host.Records, revoked, time.Minute))
			for _, token := range []string{good, other} {
				_, err := ask(t, a, token)
				assert.Equal(t, "Token is blacklisted", refusal(t, err).Messages[0].Message, "at once, where it is revoked")
				_, err = ask(t, careless, token)
				require.NoError(t, err, "it is asked for only where the config says so")
			}
			_, err = ask(t, a, token("ES256", object{"jti": "b"}))
			require.NoError(t, err)
		})
	}
}

func TestTokensOfALoginThatHasEndedAreRefused(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := revocable(t, host, "check_revoked")
	for _, id := range []string{"1", "2"} {
		_, err := ask(t, a, token("ES256", object{"jti": id, "sid": "login"}))
		require.NoError(t, err)
	}
	require.NoError(t, records.RevokeJWT(t.Context(), host.Records, records.NameByLogin("login"), time.Minute))
	for _, id := range []string{"1", "2"} {
		_, err := ask(t, a, token("ES256", object{"jti": id, "sid": "login"}))
		assert.Equal(t, "Token is blacklisted", refusal(t, err).Messages[0].Message, id)
	}
	for name, claims := range map[string]object{"another": {"sid": "other"}, "none": nil, "no text": {"sid": 5}, "a jti that is called so": {"jti": "login"}} {
		_, err := ask(t, a, token("ES256", claims))
		require.NoError(t, err, name)
	}
}

func TestAllLoginsOfAUserSoFarAreRevoked(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := revocable(t, host, "check_revoked\n id_prefix idp:")
	before := token("ES256", object{"iat": now.Unix(), "jti": "1"})
	_, err := ask(t, a, before)
	require.NoError(t, err)
	require.NoError(t, records.RevokeBefore(t.Context(), host.Records, "idp:alice", now))
	for name, c := range map[string]struct {
		claims object
		ok     bool
	}{
		"before":                            {object{"iat": now.Unix() - 1}, false},
		"in the same second":                {object{"iat": now.Unix()}, false},
		"refreshed since, of an old login":  {object{"iat": now.Unix() + 2, "auth_time": now.Unix() - 100}, false},
		"of an unknown time":                {object{"iat": nil}, false},
		"refreshed since, of no true time":  {object{"iat": now.Unix() + 2, "auth_time": 0}, false},
		"refreshed since, of a text":        {object{"iat": now.Unix() + 2, "auth_time": "1700000000"}, false},
		"after":                             {object{"iat": now.Unix() + 1}, true},
		"after, with the time of the login": {object{"iat": now.Unix() + 9, "auth_time": now.Unix() + 1}, true},
		"of somebody else":                  {object{"sub": "bob"}, true},
	} {
		a.now = func() time.Time { return now.Add(10 * time.Second) }
		_, err := ask(t, a, token("ES256", c.claims))
		assert.Equal(t, c.ok, err == nil, "%s: %v", name, err)
	}
	_, err = ask(t, a, before)
	refusal(t, err)
}

func TestStoreThatIsDownIsNoRejection(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := revocable(t, host, "check_revoked")
	host.Records.Fail = errors.New("connection refused")
	_, err := ask(t, a, token("ES256", nil))
	var rejected *authenticators.RejectedError
	require.Error(t, err)
	require.False(t, errors.As(err, &rejected) || errors.Is(err, authenticators.ErrNoCredential), "%v", err)
}
