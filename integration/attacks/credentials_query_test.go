package attacks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// A credential in the address is read where the config says so, and goes no further.
func TestCredentialsInTheQueryWhereTheyAreRead(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	secret := strings.Repeat("s", 32)
	s := newCredentialSite(t, "", "jwt {\n key HS256 SECRET\n audience api\n query access_token\n }", "log", "SECRET", secret)
	s.known["alice"] = harness.HS256(secret).Token(t, harness.ClaimsOf("alice"))
	s.known["bob"] = harness.HS256(secret).Token(t, harness.ClaimsOf("bob"))
	s.run(t, []credentialRow{
		{name: "C66 as configured", query: "?a=1&access_token={alice}&b=2", want: "alice"},
		{name: "C66 twice", query: "?access_token={alice}&access_token={bob}", want: isRejected},
		{name: "C66 empty", query: "?access_token=", want: isAbsent},
		{name: "C66 wrong", query: "?access_token={alice}x", want: isRejected},
		{name: "C66 beside a wrong header", query: "?access_token={alice}", headers: []string{"Authorization: Bearer x"}, want: isRejected},
		{name: "C66 another case is two", query: "?access_token={alice}&Access_Token={bob}", want: isRejected},
	})
	for name, token := range s.known {
		assert.NotContains(t, s.g.Log.String(), token, name)
	}
}
