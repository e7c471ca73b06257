package attacks

import (
	"fmt"
	"maps"
	"slices"
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
		return "\n\thandle /" + path + "/* {\n\t\tedge_auth {\n\t\t\tjwt {\n\t\t\t\tkey HS256 SECRET\n\t\t\t\taudience api\n\t\t\t\tmax_size 1MB\n\t\t\t}\n\t\t\t" + line + "\n\t\t}\n\t\treverse_proxy UPSTREAM\n\t}"
	}
	s := newCredentialSite(t, "servers {\n max_header_size 4MB\n}", "token", rule("group", "require group admins")+rule("user", "require user root")+rule("claim", "require claim admin true")+
		rule("number", "require claim level 7")+rule("email", `require expression auth_user().email == "a@good.com"`), "SECRET", secret)
	list := make([]string, 100_000)
	for i := range list {
		list[i] = fmt.Sprintf("g%05d", i)
	}
	for _, c := range []struct {
		name, path string
		claims     map[string]any
		want       int
	}{
		{"C70 baseline", "group", map[string]any{"groups": []string{"staff", "admins"}}, 200},
		{"C70 no groups", "group", nil, 403},
		{"C70 null", "group", map[string]any{"groups": nil}, 403},
		{"C70 empty", "group", map[string]any{"groups": []string{}}, 403},
		{"C70 empty text", "group", map[string]any{"groups": ""}, 403},
		{"C70 one text is a list of one", "group", map[string]any{"groups": "admins"}, 200}, // as some issuers write it
		{"C70 a text that holds the name", "group", map[string]any{"groups": "superadmins"}, 403},
		{"C70 truth", "group", map[string]any{"groups": true}, 403},
		{"C70 another claim", "group", map[string]any{"group": []string{"admins"}, "Groups": []string{"admins"}}, 403},
		{"C70 another case", "group", map[string]any{"groups": []string{"Admins"}}, 403},
		{"C70 nested", "group", map[string]any{"groups": []any{[]string{"admins"}}}, 403},
		{"C70 object", "group", map[string]any{"groups": map[string]any{"admins": true}}, 403},
		{"C70 joined", "group", map[string]any{"groups": "staff,admins"}, 403},
		{"C70 in one text", "group", map[string]any{"groups": "staff admins"}, 403},
		{"C70 part of a name", "group", map[string]any{"groups": []string{"admin", "xadmins", "admins "}}, 403},
		{"C70 half a megabyte, baseline", "group", map[string]any{"groups": append(slices.Clone(list[:60_000]), "admins")}, 200},
		{"C70 half a megabyte", "group", map[string]any{"groups": list[:60_000]}, 403},
		{"C70 a megabyte", "group", map[string]any{"groups": append(list, "admins")}, 401}, // no token may be as long
		{"C71 baseline", "claim", map[string]any{"admin": true}, 200},
		{"C71 absent", "claim", nil, 403},
		{"C71 null", "claim", map[string]any{"admin": nil}, 403},
		{"C71 number", "claim", map[string]any{"admin": 1}, 403},
		{"C71 another case", "claim", map[string]any{"admin": "True"}, 403},
		{"C71 number, baseline", "number", map[string]any{"level": 7}, 200},
		{"C71 another number", "number", map[string]any{"level": 70}, 403},
		{"C71 fraction", "number", map[string]any{"level": 7.5}, 403},
		{"C72 baseline", "email", map[string]any{"email": "a@good.com", "email_verified": true}, 200},
		{"C72 two at signs", "email", map[string]any{"email": "a@evil@good.com"}, 403},
		{"C72 another case", "email", map[string]any{"email": "a@GOOD.com"}, 403},
		{"C72 more behind", "email", map[string]any{"email": "a@good.com.evil"}, 403},
		{"C72 line end", "email", map[string]any{"email": "a@good.com\n"}, 403},
		{"C72 not verified", "email", map[string]any{"email": "a@good.com", "email_verified": false}, 403},
		{"C72 not verified, as text", "email", map[string]any{"email": "a@good.com", "email_verified": "false"}, 403},
		{"C73 baseline", "user", map[string]any{"sub": "root"}, 200},
		{"C73 NUL behind", "user", map[string]any{"sub": "root\x00"}, 401}, // no user
		{"C73 blank behind", "user", map[string]any{"sub": "root "}, 401},
		{"C73 line end behind", "user", map[string]any{"sub": "root\n"}, 401},
		{"C73 another case", "user", map[string]any{"sub": "Root"}, 403},
		{"C73 list", "user", map[string]any{"sub": []string{"root"}}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := harness.ClaimsOf("alice")
			maps.Copy(claims, c.claims)
			header := "Authorization: Bearer " + harness.HS256(secret).Token(t, claims)
			for _, door := range harness.Doors {
				a, err := door.Ask(t, s.g, harness.Request{Path: "/" + c.path + "/x", Headers: []string{header}})
				got := s.up.Taken()
				require.NoError(t, err)
				assert.Equal(t, c.want, a.Status, door.Name)
				if c.want == 200 {
					assert.Len(t, got, 1)
					continue
				}
				assert.Empty(t, got, door.Name)
			}
		})
	}
}

// A rule that says nothing, or nothing that is known, is none that everybody meets. More
// of them: policy_test.go.
func TestC70RulesWithoutSenseAreRefusedAtLoad(t *testing.T) {
	t.Parallel()
	g := harness.New(t)
	site := func(line string) string {
		return "http://127.0.0.1:$PORT {\n edge_auth {\n token\n " + line + "\n }\n respond ok\n}"
	}
	adapted, err := g.Command("", "adapt", "--validate", "--config", g.Write("Caddyfile", site("require group admins")))
	require.NoError(t, err, "the baseline")
	for _, line := range []string{"require", "require role admins", "require group"} {
		_, err := g.Command("", "adapt", "--config", g.Write("Caddyfile", site(line)))
		require.Error(t, err, line)
	}
	const rule = `"require":[{"group":["admins"]}]`
	require.Contains(t, adapted, rule)
	for _, other := range []string{`"require":[{}]`, `"require":[{"role":["admins"]}]`, `"requires":[{"group":["admins"]}]`} {
		_, err := g.Command("", "validate", "--config", g.Write("config.json", strings.Replace(adapted, rule, other, 1)))
		require.Error(t, err, other)
	}
}
