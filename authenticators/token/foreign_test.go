package token

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

func TestForeignRecordIsAnObjectOrAUserID(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ record, user, path string }{
		"object":             {`{"user":"bob"}`, "bob", ""},
		"object and blanks":  {"\n {\"user\":7}\n", "7", ""},
		"object, path":       {`{"owner":{"id":7},"user":"x"}`, "7", "owner.id"},
		"object without it":  {`{"User":"bob"}`, "", ""},
		"object cut":         {`{"user":"bob"`, "", ""},
		"object, user twice": {`{"user":"bob","user":"root"}`, "", ""},
		"text":               {`bob`, "bob", ""},
		"text like a number": {`007`, "007", ""},
		"number":             {`7`, "7", ""},
		"JSON text":          {`"bob"`, "bob", ""},
		"UUID":               {`6f9619ff-8b86-d011-b42d-00c04fc964ff`, "6f9619ff-8b86-d011-b42d-00c04fc964ff", ""},
		"empty":              {``, "", ""},
		"empty JSON text":    {`""`, "", ""},
		"null":               {`null`, "", ""},
		"true":               {`true`, "", ""},
		"list":               {`["bob"]`, "", ""},
		"fraction":           {`1.5`, "", ""},
		"exponent":           {`1e3`, "", ""},
		"line end":           {"bob\n", "", ""},
		"pickle":             {"\x80\x05\x95\x07\x00", "", ""},
		"text, path":         {`bob`, "", "owner.id"},
		"PHP, path":          {`a:1:{s:4:"user";i:7;}`, "", "user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			require.NoError(t, host.Others.Put(t.Context(), "tok:abc", []byte(c.record), 0))
			config := "token {\n key tok:{token}\n"
			if c.path != "" {
				config += "user " + c.path + "\n"
			}
			a := new(Authenticator)
			require.NoError(t, guesttest.Load(t, host, a, config+"}"))
			who, err := guesttest.Ask(t, a, "Authorization: Token abc")
			if c.user == "" {
				var rejected *authenticators.RejectedError
				require.ErrorAs(t, err, &rejected)
				assert.Equal(t, "Invalid token.", rejected.Detail)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.user, who.ID)
			assert.Equal(t, "token", who.Method)
		})
	}
}

func TestT01T04TokenNeverLeadsOutOfThePattern(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern, token string
		asked          bool
	}{
		"base64":                 {"tok:{token}", "a+b/c==", true},
		"base64url":              {"tok:{token}", "a-b_c.~", true},
		"separator":              {"tok:{token}", "a:b", false},
		"slash as separator":     {"tok/{token}", "a/b", false},
		"slash after":            {"{token}/user", "a/b", false},
		"wildcard":               {"tok:{token}", "*", false},
		"braces":                 {"tok:{token}", "{a}", false},
		"longest":                {"tok:{token}", strings.Repeat("a", 256), true},
		"too long":               {"tok:{token}", strings.Repeat("a", 257), false},
		"empty variable":         {"tok:{token}", "undefined", false},
		"empty variable, digest": {"tok:{sha256}", "null", false},
		"anything, digest":       {"tok:{sha256}", "a:b*{}/", true},
		"longest, digest":        {"tok:{sha256}", strings.Repeat("a", 512), true},
		"too long, digest":       {"tok:{sha256}", strings.Repeat("a", 513), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			a := new(Authenticator)
			require.NoError(t, guesttest.Load(t, host, a, "token {\n key "+c.pattern+"\n}"))
			_, err := guesttest.Ask(t, a, "Authorization: Token "+c.token)
			var rejected *authenticators.RejectedError
			require.ErrorAs(t, err, &rejected)
			assert.Equal(t, c.asked, host.Others.Reads == 1)
		})
	}
}

func TestForeignStoreThatDoesNotAnswerIsNoVerdict(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	host.Others.Fail = errors.New("connection refused")
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token {\n scheme Token\n cookie tok\n key tok:{token}\n}"))
	for _, header := range []string{"Authorization: Token abc", "Cookie: tok=abc"} {
		_, err := guesttest.Ask(t, a, header)
		var rejected *authenticators.RejectedError
		require.ErrorIs(t, err, host.Others.Fail)
		require.NotErrorAs(t, err, &rejected)
		require.NotErrorIs(t, err, authenticators.ErrNoCredential)
	}
}
