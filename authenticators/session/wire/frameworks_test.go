package wire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// token is what Symfony keeps for a firewall: a serialized token, of which the
// last part is what all of them have.
func symfonySession(name, token string) []byte {
	return fmt.Appendf(nil, `_sf2_attributes|a:1:{s:%d:"%s";s:%d:"%s";}`, len(name), name, len(token), token)
}

func TestUserOfEachKindOfSymfonysTokens(t *testing.T) {
	t.Parallel()
	const user = `O:8:"App\User":1:{s:12:"` + "\x00App\\User\x00id" + `";i:7;}`
	common := `a:5:{i:0;` + user + `i:1;b:1;i:2;N;i:3;a:0:{}i:4;a:1:{i:0;s:9:"ROLE_USER";}}`
	wanted := map[string]any{"user": map[string]any{"id": int64(7)}, "roles": []any{"ROLE_USER"}}
	for name, c := range map[string]struct {
		token string
		want  any
	}{
		"with a password":  {`O:1:"A":3:{i:0;N;i:1;s:4:"main";i:2;` + common + `}`, wanted},
		"after the log-in": {`O:1:"B":2:{i:0;s:4:"main";i:1;` + common + `}`, wanted},
		"of another form":  {`O:1:"C":1:{s:4:"user";i:7;}`, Opaque{}},
		"with few parts":   {`O:1:"D":1:{i:0;a:1:{i:0;i:7;}}`, Opaque{}},
		"empty":            {`O:1:"E":0:{}`, Opaque{}},
		"its own text":     {`C:1:"F":1:{x}`, Opaque{}},
		"no token":         {`https://example.com/`, `https://example.com/`},
	} {
		session, err := Symfony(symfonySession("_security_main", c.token))
		require.NoError(t, err, name)
		assert.Equal(t, c.want, session["_sf2_attributes"].(map[string]any)["_security_main"], name) //nolint:forcetypeassert // it panics
	}
	_, err := Symfony(symfonySession("_security_main", `O:1:"A":3:{i:0;`))
	require.Error(t, err)
	session, err := Symfony(symfonySession("_security.last_username", `O:1:"A":0:{}`))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"_sf2_attributes": map[string]any{"_security.last_username": `O:1:"A":0:{}`}}, session, "nobody's token")
}

func TestLaravelsSessionsInTheirWrappings(t *testing.T) {
	t.Parallel()
	wrap := func(text string) string { return fmt.Sprintf(`s:%d:"%s";`, len(text), text) }
	inner := `a:1:{s:1:"u";i:7;}`
	sealed := base64.StdEncoding.EncodeToString([]byte(`{"iv":""}`))
	open := func([]byte) ([]byte, error) { return []byte(wrap(inner)), nil }
	for name, session := range map[string]string{
		"serialized": wrap(inner), "JSON": wrap(`{"u":7}`), "encrypted": wrap(sealed),
	} {
		got, err := Laravel([]byte(session), open)
		require.NoError(t, err, name)
		assert.Contains(t, fmt.Sprint(got), "u:7", name)
	}
	for name, session := range map[string]string{
		"once only": inner, "a number": wrap("i:7;"), "rubbish": wrap("x"), "a list of one": wrap(`a:1:{i:0;`), "nothing": "",
	} {
		_, err := Laravel([]byte(session), open)
		require.Error(t, err, name)
	}
	failed := errors.New("forged")
	_, err := Laravel([]byte(wrap(sealed)), func([]byte) ([]byte, error) { return nil, failed })
	require.ErrorIs(t, err, failed)
	_, err = Laravel([]byte(wrap(sealed)), func([]byte) ([]byte, error) { return []byte(strings.Repeat("x", 70_000)), nil })
	require.Error(t, err)
}
