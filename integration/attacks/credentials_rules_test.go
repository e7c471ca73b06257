package attacks

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// Rules compare what they name with what a credential says, byte for byte.
func TestRulesAreMetByNothingAlike(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	secret := strings.Repeat("s", 32)
	rule := func(path, line string) string {
		return "\n\thandle /" + path + "/* {\n\t\tedge_auth {\n\t\t\tjwt {\n\t\t\t\tkey HS256 SECRET\n\t\t\t\taudience api\n\t\t\t}\n\t\t\t" + line + "\n\t\t}\n\t\treverse_proxy UPSTREAM\n\t}"
	}
	s := newCredentialSite(t, "", "token", rule("group", "require group admins")+rule("user", "require user root")+rule("claim", "require claim admin true")+
		rule("number", "require claim level 7")+rule("email", `require expression auth_user().email == "a@good.com"`), "SECRET", secret)
	list := make([]string, 20_000)
	for i := range list {
		list[i] = fmt.Sprint("g", i)
	}
	for _, c := range []struct {
		name, path string
		claims     map[string]any
		passes     bool
	}{
		{"C70 baseline", "group", map[string]any{"groups": []string{"staff", "admins"}}, true},
		{"C70 no groups", "group", nil, false},
		{"C70 null", "group", map[string]any{"groups": nil}, false},
		{"C70 another case", "group", map[string]any{"groups": []string{"Admins"}}, false},
		{"C70 nested", "group", map[string]any{"groups": []any{[]string{"admins"}}}, false},
		{"C70 object", "group", map[string]any{"groups": map[string]any{"admins": true}}, false},
		{"C70 joined", "group", map[string]any{"groups": "staff,admins"}, false},
		{"C70 in one text", "group", map[string]any{"groups": "staff admins"}, false},
		{"C70 part of a name", "group", map[string]any{"groups": []string{"admin", "xadmins", "admins "}}, false},
		{"C70 a very long list", "group", map[string]any{"groups": list}, false},
		{"C71 baseline", "claim", map[string]any{"admin": true}, true},
		{"C71 absent", "claim", nil, false},
		{"C71 null", "claim", map[string]any{"admin": nil}, false},
		{"C71 number", "claim", map[string]any{"admin": 1}, false},
		{"C71 another case", "claim", map[string]any{"admin": "True"}, false},
		{"C71 number, baseline", "number", map[string]any{"level": 7}, true},
		{"C71 another number", "number", map[string]any{"level": 70}, false},
		{"C71 fraction", "number", map[string]any{"level": 7.5}, false},
		{"C72 baseline", "email", map[string]any{"email": "a@good.com", "email_verified": true}, true},
		{"C72 two at signs", "email", map[string]any{"email": "a@evil@good.com"}, false},
		{"C72 another case", "email", map[string]any{"email": "a@GOOD.com"}, false},
		{"C72 more behind", "email", map[string]any{"email": "a@good.com.evil"}, false},
		{"C72 line end", "email", map[string]any{"email": "a@good.com\n"}, false},
		{"C72 not verified", "email", map[string]any{"email": "a@good.com", "email_verified": false}, false},
		{"C72 not verified, as text", "email", map[string]any{"email": "a@good.com", "email_verified": "false"}, false},
		{"C73 baseline", "user", map[string]any{"sub": "root"}, true},
		{"C73 NUL behind", "user", map[string]any{"sub": "root\x00"}, false},
		{"C73 blank behind", "user", map[string]any{"sub": "root "}, false},
		{"C73 line end behind", "user", map[string]any{"sub": "root\n"}, false},
		{"C73 another case", "user", map[string]any{"sub": "Root"}, false},
		{"C73 list", "user", map[string]any{"sub": []string{"root"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := harness.ClaimsOf("alice")
			maps.Copy(claims, c.claims)
			header := "Authorization: Bearer " + harness.HS256(secret).Token(t, claims)
			for _, door := range harness.Doors {
				a, err := door.Ask(t, s.g, harness.Request{Path: "/" + c.path + "/x", Headers: []string{header}})
				got := s.up.Taken()
				if c.passes {
					require.NoError(t, err)
					assert.Equal(t, 200, a.Status, door.Name)
					assert.Len(t, got, 1)
					continue
				}
				assert.True(t, err != nil || a.Status == 403 || a.Status == 401 || a.Status == 431, "%s: %d", door.Name, a.Status)
				assert.Empty(t, got, door.Name)
			}
		})
	}
}
