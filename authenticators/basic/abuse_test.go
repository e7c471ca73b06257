package basic

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// costly is a hash that takes long enough to be waited for.
const costly = "$argon2id$v=19$m=65536,t=1,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA"

func TestUnknownUserCostsAHashingToo(t *testing.T) {
	t.Parallel()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n alice "+costly+"\n bob "+hashOf(t, "x")+"\n}"))
	hungUp, cancel := context.WithCancel(t.Context())
	cancel()
	for _, pair := range []authenticators.Secret{"alice:guess", "carol:guess"} {
		_, err := a.Verify(hungUp, authenticators.Credential{Value: pair})
		require.ErrorIs(t, err, context.Canceled, "both would have been hashed")
	}
}

func TestPasswordOfAListedUserOpensNoOtherName(t *testing.T) {
	t.Parallel()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n alice "+hashOf(t, "wonderland")+"\n}"))
	_, err := guesttest.Ask(t, a, credentials("alice:wonderland"))
	require.NoError(t, err, "baseline")
	var rejected *authenticators.RejectedError
	_, err = guesttest.Ask(t, a, credentials("carol:wonderland"))
	require.ErrorAs(t, err, &rejected)
}

func TestOverlongCredentialIsNotDecoded(t *testing.T) {
	t.Parallel()
	a := new(Authenticator)
	longest := strings.Repeat("a", 255) + ":" + strings.Repeat("b", passwords.MaxLength)
	argon, err := passwords.Hash(longest[256:])
	require.NoError(t, err)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n "+longest[:255]+" "+argon+"\n}"))
	_, err = guesttest.Ask(t, a, credentials(longest))
	require.NoError(t, err, "the longest one passes")
	for _, pair := range []string{longest + "bb", strings.Repeat("c", 1<<20) + ":x"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", strings.TrimPrefix(credentials(pair), "Authorization: "))
		_, err := a.Find(r)
		var rejected *authenticators.RejectedError
		require.ErrorAs(t, err, &rejected)
		assert.Equal(t, "Invalid username/password.", rejected.Detail)
	}
}

func TestPasswordsInClearOnALinkLocalAddressAreWarnedAbout(t *testing.T) {
	t.Parallel()
	for address, warnings := range map[string]int{"[fe80::1%eth0]:1234": 1, "[::ffff:127.0.0.1]:1234": 0, "@": 0} {
		core, logs := observer.New(zap.WarnLevel)
		a := &Authenticator{logger: zap.New(core)}
		r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
		r.RemoteAddr = address
		r.SetBasicAuth("alice", "x")
		_, err := a.Find(r)
		require.NoError(t, err)
		assert.Equal(t, warnings, logs.Len(), address)
	}
}

func TestRecordThatCannotBeReadIsNoVerdict(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]struct{ key, value string }{
		"user":     {"user:alice", `{"active":"false"}`},
		"password": {"password:alice", `{"hash":`},
		"hash":     {"password:alice", `{"hash":"plain"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			a := new(Authenticator)
			require.NoError(t, guesttest.Load(t, host, a, "basic"))
			require.NoError(t, records.SetPassword(t.Context(), host.Records, "alice", hashOf(t, "x")))
			require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice"}))
			require.NoError(t, host.Records.Put(t.Context(), broken.key, []byte(broken.value), 0))
			_, err := guesttest.Ask(t, a, credentials("alice:x"))
			var rejected *authenticators.RejectedError
			require.Error(t, err)
			require.NotErrorAs(t, err, &rejected)
			require.NotErrorIs(t, err, authenticators.ErrNoCredential)
		})
	}
}

func TestC53HtpasswdMistakesAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	good := "alice:" + hashOf(t, "x") + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"twice":       {good + "# again\n" + good, "htpasswd:3: user 'alice' is listed twice, first in line 1"},
		"plain":       {good + "bob:secret\n", "htpasswd:2: "},
		"crypt":       {good + "bob:rqXexS6ZhobKA\n", "htpasswd:2: "},
		"placeholder": {good + "bob:{env.HOME}\n", "htpasswd:2: "},
		"blank name":  {good + " bob:" + hashOf(t, "x"), "htpasswd:2: "},
		"no name":     {good + ":" + hashOf(t, "x"), "htpasswd:2: "},
		"blank after": {good + "bob:" + hashOf(t, "x") + " \n", "htpasswd:2: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "htpasswd")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
			err := guesttest.Load(t, guesttest.NewHost(), new(Authenticator), "basic {\n htpasswd "+file+"\n}")
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "$2a$")
		})
	}
}

func TestC53HtpasswdOfAWindowsEditor(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "htpasswd")
	require.NoError(t, os.WriteFile(file, []byte("\ufeffalice:"+hashOf(t, "x")+"\r\n"), 0o600))
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "basic {\n htpasswd "+file+"\n}"))
	who, err := guesttest.Ask(t, a, credentials("alice:x"))
	require.NoError(t, err)
	assert.Equal(t, "alice", who.ID)
}
