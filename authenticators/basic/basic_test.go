package basic

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/bcrypt"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	return string(hash)
}

func credentials(pair string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}

func TestC13C14C50C52C55ListedUsers(t *testing.T) {
	t.Parallel()
	argon, err := passwords.Hash("pass:word")
	require.NoError(t, err)
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n realm here\n alice "+hashOf(t, "wonderland")+"\n zoë "+argon+"\n id_prefix test-\n}"))
	assert.Equal(t, `Basic realm="here"`, a.Challenge())
	for pair, id := range map[string]string{"alice:wonderland": "test-alice", "zoë:pass:word": "test-zoë"} {
		who, err := guesttest.Ask(t, a, credentials(pair))
		require.NoError(t, err, pair)
		assert.Equal(t, id, who.ID)
		assert.Equal(t, "basic", who.Method)
	}
	for name, c := range map[string]struct{ header, detail string }{
		"alone":            {"Authorization: Basic", "Invalid basic header. No credentials provided."},
		"two values":       {"Authorization: Basic a b", "Invalid basic header. Credentials string should not contain spaces."},
		"not base64":       {"Authorization: Basic %%%", "Invalid basic header. Credentials not correctly base64 encoded."},
		"no padding":       {"Authorization: Basic YQ", "Invalid basic header. Credentials not correctly base64 encoded."},
		"URL alphabet":     {"Authorization: Basic _-8=", "Invalid basic header. Credentials not correctly base64 encoded."},
		"no colon":         {credentials("alice"), "Invalid basic header. Credentials not correctly base64 encoded."},
		"not UTF-8":        {credentials("al\xffice:x"), "Invalid basic header. Credentials not correctly base64 encoded."},
		"wrong":            {credentials("alice:Wonderland"), "Invalid username/password."},
		"unknown":          {credentials("bob:wonderland"), "Invalid username/password."},
		"another case":     {credentials("Alice:wonderland"), "Invalid username/password."},
		"empty password":   {credentials("alice:"), "Invalid username/password."},
		"empty user":       {credentials(":wonderland"), "Invalid username/password."},
		"trailing newline": {credentials("alice:wonderland\n"), "Invalid username/password."},
		"NUL":              {credentials("alice\x00:wonderland"), "Invalid username/password."},
		"blank":            {credentials("alice :wonderland"), "Invalid username/password."},
	} {
		_, err := guesttest.Ask(t, a, c.header)
		var rejected *authenticators.RejectedError
		if assert.ErrorAs(t, err, &rejected, name) {
			assert.Equal(t, c.detail, rejected.Detail, name)
			assert.NotContains(t, rejected.Error(), "onderland", name)
		}
	}
	_, err = guesttest.Ask(t, a, "Authorization: Bearer x")
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
}

func TestC50C61UsersOfTheStore(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "basic"))
	put := func(user records.User) {
		require.NoError(t, records.SetPassword(t.Context(), host.Records, user.ID, hashOf(t, "wonderland")))
		require.NoError(t, records.PutUser(t.Context(), host.Records, user))
	}
	no := false
	put(records.User{ID: "alice", Groups: []string{"staff"}, Email: "a@example.com"})
	put(records.User{ID: "bob", Active: &no})
	who, err := guesttest.Ask(t, a, credentials("alice:wonderland"))
	require.NoError(t, err)
	assert.Equal(t, []string{"staff"}, who.Groups)
	assert.Equal(t, "a@example.com", who.Email)

	var rejected *authenticators.RejectedError
	for _, pair := range []string{"bob:wonderland", "carol:wonderland", "alice:x"} {
		_, err := guesttest.Ask(t, a, credentials(pair))
		require.ErrorAs(t, err, &rejected, pair)
		assert.Equal(t, "Invalid username/password.", rejected.Detail, "no telling which it was")
	}
	host.Records.Fail = errors.New("connection refused")
	_, err = guesttest.Ask(t, a, credentials("alice:wonderland"))
	require.Error(t, err)
	require.NotErrorAs(t, err, &rejected, "an outage is no verdict")
}

func TestC50C53Htpasswd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "htpasswd")
	load := func(text string) (*Authenticator, error) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		a := new(Authenticator)
		return a, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n htpasswd "+file+"\n}")
	}
	a, err := load("# staff\r\nrealm:" + hashOf(t, "wonderland") + "\r\n\n")
	require.NoError(t, err)
	who, err := guesttest.Ask(t, a, credentials("realm:wonderland"))
	require.NoError(t, err)
	assert.Equal(t, "realm", who.ID)
	good := "alice:" + hashOf(t, "x") + "\n"
	for text, want := range map[string]string{
		"":                                   "lists no user",
		good + "bob":                         "htpasswd:2",
		good + "bob:$apr1$abc$def":           "htpasswd:2",
		"bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37m=": "caddy hash-password",
		"bob:":                               "htpasswd:1",
		good + good:                          "listed twice",
	} {
		_, err := load(text)
		require.ErrorContains(t, err, want)
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"basic {\n alice plain\n}":                "caddy hash-password",
		"basic {\n alice\n}":                      "<user> <hash>",
		"basic {\n realm \"a\\\"b\"\n}":           "without quotes",
		"basic x":                                 "wrong argument count",
		"basic {\n htpasswd /no/such/file\n}":     "no such file",
		"basic {\n a:b " + hashOf(t, "x") + "\n}": "no colon",
		"basic {\n alice " + hashOf(t, "x") + "\n alice " + hashOf(t, "y") + "\n}": "listed twice",
		"basic {\n alice {env.EDGE_AUTH_TEST_UNSET}\n}":                            "EDGE_AUTH_TEST_UNSET",
	} {
		require.ErrorContains(t, guesttest.Load(t, guesttest.NewHost(), new(Authenticator), config), want, config)
	}
}

func TestC54PasswordsInClearAreWarnedAboutOnce(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n alice "+hashOf(t, "x")+"\n}"))
	a.logger = zap.New(core)
	for _, c := range []struct {
		address, url string
		warnings     int
	}{
		{"127.0.0.1:1234", "http://example.com/", 0},
		{"[::1]:1234", "http://example.com/", 0},
		{"192.0.2.1:1234", "https://example.com/", 0},
		{"192.0.2.1:1234", "http://example.com/", 1},
		{"192.0.2.1:1234", "http://example.com/", 1},
	} {
		r := httptest.NewRequest(http.MethodGet, c.url, nil)
		r.RemoteAddr = c.address
		r.SetBasicAuth("alice", "x")
		_, err := a.Find(r)
		require.NoError(t, err)
		assert.Equal(t, c.warnings, logs.Len(), "%s %s", c.address, c.url)
	}
}

func FuzzFind(f *testing.F) {
	for _, seed := range []string{"Basic YTpi", "Basic", "Basic a b", "basic \tYTpi", "Basic /w==", "Bearer x"} {
		f.Add(seed)
	}
	a := &Authenticator{logger: zap.NewNop()}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{header}
		c, err := a.Find(r)
		var rejected *authenticators.RejectedError
		if err == nil && c.Value == "" || err != nil && !errors.Is(err, authenticators.ErrNoCredential) && !errors.As(err, &rejected) {
			t.Fatalf("%q: %v", header, err)
		}
	})
}
