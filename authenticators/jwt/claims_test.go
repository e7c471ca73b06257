package jwt

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

const hasWrongType = "Token has wrong type"

// with returns good claims as JSON, with one member's JSON put in as it stands.
func with(member, value string) string {
	claims := claimsWith(object{member: nil})
	text := string(must(json.Marshal(claims)))
	return strings.TrimSuffix(text, "}") + `,"` + member + `":` + value + "}"
}

func TestTimes(t *testing.T) {
	t.Parallel()
	strict, lenient := withSecret(t), withSecret(t, "leeway 30s")
	at := func(offset int64) string { return fmt.Sprint(now.Unix() + offset) }
	for name, c := range map[string]struct {
		claims          string
		strict, lenient string // what SimpleJWT says; empty: accepted
	}{
		"a second left":        {with("exp", at(1)), "", ""},
		"half a second left":   {with("exp", at(0)+".5"), "", ""},
		"in this very second":  {with("exp", at(0)), isExpired, ""},
		"a second ago":         {with("exp", at(-1)), isExpired, ""},
		"within the leeway":    {with("exp", at(-29)), isExpired, ""},
		"at the leeway's end":  {with("exp", at(-30)), isExpired, isExpired},
		"long ago":             {with("exp", "1"), isExpired, isExpired},
		"with an exponent":     {with("exp", "1.8000003e9"), "", ""},
		"fraction of 1970":     {with("exp", "0.5"), isExpired, isExpired},
		"zero":                 {with("exp", "0"), isExpired, isExpired},
		"negative":             {with("exp", "-1"), isExpired, isExpired},
		"text":                 {with("exp", `"`+at(99)+`"`), isInvalid, isInvalid},
		"empty text":           {with("exp", `""`), isInvalid, isInvalid},
		"null":                 {with("exp", "null"), isInvalid, isInvalid},
		"true":                 {with("exp", "true"), isExpired, isExpired},
		"object":               {with("exp", "{}"), isInvalid, isInvalid},
		"list":                 {with("exp", "["+at(99)+"]"), isInvalid, isInvalid},
		"milliseconds":         {with("exp", at(99)+"000"), isInvalid, isInvalid},
		"2^53":                 {with("exp", "9007199254740992"), isInvalid, isInvalid},
		"2^63":                 {with("exp", "9223372036854775808"), isInvalid, isInvalid},
		"1e300":                {with("exp", "1e300"), isInvalid, isInvalid},
		"1e400":                {with("exp", "1e400"), isInvalid, isInvalid},
		"other case":           {strings.Replace(with("exp", at(99)), `"exp"`, `"EXP"`, 1), "Token has no 'exp' claim", "Token has no 'exp' claim"},
		"twice":                {with("exp", at(99)+`,"exp":`+at(99)), isInvalid, isInvalid},
		"nbf now":              {with("nbf", at(0)), "", ""},
		"nbf in a second":      {with("nbf", at(1)), isInvalid, ""},
		"nbf beyond leeway":    {with("nbf", at(31)), isInvalid, isInvalid},
		"nbf text":             {with("nbf", `"1"`), isInvalid, isInvalid},
		"nbf negative":         {with("nbf", "-1"), isInvalid, isInvalid},
		"nbf null":             {with("nbf", "null"), isInvalid, isInvalid},
		"nbf 1e400":            {with("nbf", "1e400"), isInvalid, isInvalid},
		"iat now":              {with("iat", at(0)), "", ""},
		"iat in a second":      {with("iat", at(1)), isInvalid, ""},
		"iat beyond leeway":    {with("iat", at(31)), isInvalid, isInvalid},
		"iat 2^63":             {with("iat", "9223372036854775808"), isInvalid, isInvalid},
		"clock 10 minutes off": {with("iat", at(600)), isInvalid, isInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for a, want := range map[*Authenticator]string{strict: c.strict, lenient: c.lenient} {
				who, err := ask(t, a, tokenOf(c.claims))
				if want == "" {
					require.NoError(t, err)
					assert.False(t, who.Expires.IsZero())
					continue
				}
				assert.Equal(t, want, refusal(t, err).Messages[0].Message)
			}
		})
	}
}

func TestTokenEndsWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	good := token("HS256", object{"exp": now.Unix() + 10})
	who, err := ask(t, a, good)
	require.NoError(t, err)
	assert.Equal(t, now.Add(10*time.Second), who.Expires)
	a.now = func() time.Time { return now.Add(10 * time.Second) }
	_, err = ask(t, a, good)
	assert.Equal(t, isExpired, refusal(t, err).Messages[0].Message)
}

func TestAudienceIsAnExactMember(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "audience api web")
	many := `["` + strings.Repeat(`x","`, 1000) + `api"]`
	for value, good := range map[string]bool{
		`"api"`: true, `"web"`: true, `["api"]`: true, `["x","api"]`: true, many: true,
		`""`: false, `"api "`: false, `"API"`: false, `"apix"`: false, `"x api"`: false, `[]`: false, `null`: false, `1`: false,
		`{"api":1}`: false, `[["api"]]`: false, `["x"]`: false, `true`: false, `["api",1]`: false, `[null,"api"]`: false,
	} {
		_, err := ask(t, a, tokenOf(with("aud", value)))
		assert.Equal(t, good, err == nil, "%.20s: %v", value, err)
	}
	_, err := ask(t, a, token("HS256", object{"aud": nil}))
	refusal(t, err)
	_, err = ask(t, withSecret(t), token("HS256", object{"aud": "whatever"}))
	require.NoError(t, err, "not demanded, not looked at")
}

func TestIssuerIsAnExactText(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "issuer https://idp.example.com", "issuer other")
	for value, good := range map[string]bool{
		`"https://idp.example.com"`: true, `"other"`: true,
		`"https://idp.example.com/"`: false, `"https://idp.example.com.evil"`: false, `"x https://idp.example.com"`: false, `"https://IDP.example.com"`: false,
		`"http://idp.example.com"`: false, `"https://idp.example.com:443"`: false, `["https://idp.example.com"]`: false, `""`: false, `null`: false, `"https"`: false,
	} {
		_, err := ask(t, a, tokenOf(with("iss", value)))
		assert.Equal(t, good, err == nil, "%s: %v", value, err)
	}
	_, err := ask(t, a, token("HS256", object{"iss": nil}))
	refusal(t, err)
}

func TestTokensForSomethingElseAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options string
		changes object
		want    string
	}{
		"no word of it":            {"", nil, ""},
		"access":                   {"", object{"token_type": "access"}, ""},
		"another's word":           {"", object{"token_type": "Bearer", "typ": "Bearer"}, ""},
		"refresh":                  {"", object{"token_type": "refresh"}, hasWrongType},
		"Refresh":                  {"", object{"token_type": "Refresh"}, hasWrongType},
		"sliding":                  {"", object{"token_type": "sliding"}, hasWrongType},
		"sliding, asked for":       {"require_claim token_type sliding", object{"token_type": "sliding"}, ""},
		"refresh, sliding asked":   {"require_claim token_type sliding", object{"token_type": "refresh"}, isInvalid},
		"any type asked for":       {"require_claim token_type", object{"token_type": "refresh"}, hasWrongType},
		"Keycloak's ID token":      {"", object{"typ": "ID"}, hasWrongType},
		"Keycloak's offline token": {"", object{"typ": "Offline"}, hasWrongType},
		"Cognito's ID token":       {"", object{"token_use": "id"}, hasWrongType},
		"Cognito's access token":   {"", object{"token_use": "access"}, ""},
		"bound to a key":           {"", object{"cnf": object{"jkt": "x"}}, isInvalid},

		"SimpleJWT":                      {"preset simplejwt", object{"token_type": "access", "jti": "x", "user_id": "7"}, ""},
		"SimpleJWT before 5.5":           {"preset simplejwt", object{"token_type": "access", "jti": "x", "user_id": 7}, ""},
		"SimpleJWT's refresh":            {"preset simplejwt", object{"token_type": "refresh", "jti": "x", "user_id": "7"}, hasWrongType},
		"SimpleJWT's sliding":            {"preset simplejwt", object{"token_type": "sliding", "jti": "x", "user_id": "7"}, hasWrongType},
		"SimpleJWT's sliding, asked for": {"preset simplejwt\nrequire_claim token_type sliding", object{"token_type": "sliding", "jti": "x", "user_id": "7"}, ""},
		"SimpleJWT, Access":              {"preset simplejwt", object{"token_type": "Access", "jti": "x", "user_id": "7"}, hasWrongType},
		"SimpleJWT without a type":       {"preset simplejwt", object{"jti": "x", "user_id": "7"}, "Token has no type"},
		"SimpleJWT, type null":           {"preset simplejwt", object{"jti": "x", "user_id": "7", "token_type": []any{"access"}}, hasWrongType},
		"SimpleJWT without jti":          {"preset simplejwt", object{"token_type": "refresh", "user_id": "7"}, "Token has no id"},
		"SimpleJWT, jti a number":        {"preset simplejwt", object{"token_type": "access", "jti": 1, "user_id": "7"}, isInvalid},
		"SimpleJWT without exp":          {"preset simplejwt", object{"token_type": "access", "jti": "x", "user_id": "7", "exp": nil}, "Token has no 'exp' claim"},
		"SimpleJWT, own settings":        {"preset simplejwt\nuser uid", object{"token_type": "access", "jti": "x", "uid": "7"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := ask(t, withSecret(t, c.options), token("HS256", c.changes))
			if c.want != "" {
				assert.Equal(t, c.want, refusal(t, err).Messages[0].Message)
				return
			}
			require.NoError(t, err)
			if strings.HasPrefix(name, "SimpleJWT") {
				assert.Equal(t, "7", who.ID)
			}
		})
	}
}

func TestRequiredClaimsMustHold(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "require_claim tenant a b", "require_claim realm_access.roles admin", "require_claim email_verified true", "require_claim amr")
	good := object{"tenant": "a", "realm_access": object{"roles": []string{"x", "admin"}}, "email_verified": true, "amr": []string{}}
	for name, c := range map[string]struct {
		changes object
		good    bool
	}{
		"all":             {nil, true},
		"another value":   {object{"tenant": "b"}, true},
		"wrong value":     {object{"tenant": "c"}, false},
		"other case":      {object{"tenant": "A"}, false},
		"absent":          {object{"tenant": nil}, false},
		"null":            {object{"tenant": json.RawMessage("null")}, false},
		"an object":       {object{"tenant": object{"a": "a"}}, false},
		"not in the list": {object{"realm_access": object{"roles": []string{"x"}}}, false},
		"nested too deep": {object{"realm_access": object{"roles": []any{[]string{"admin"}}}}, false},
		"false":           {object{"email_verified": false}, false},
		"any value null":  {object{"amr": json.RawMessage("null")}, false},
		"any value":       {object{"amr": 1.5}, true},
	} {
		changes := maps.Clone(good)
		maps.Copy(changes, c.changes)
		_, err := ask(t, a, token("HS256", changes))
		assert.Equal(t, c.good, err == nil, "%s: %v", name, err)
	}
}

func TestUserIsATextOrAWholeNumber(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ options, claims, want string }{
		"sub":               {"", with("sub", `"alice"`), "alice"},
		"whole number":      {"user uid", with("uid", `42`), "42"},
		"number as sub":     {"", with("sub", `42`), ""},
		"one that is asked": {"user sub", with("sub", `42`), "42"},
		"sub beside it":     {"user uid", with("uid", `"bob","sub":42`), ""},
		"negative":          {"user uid", with("uid", `-1`), ""},
		"zero":              {"user uid", with("uid", `0`), "0"},
		"minus zero":        {"user uid", with("uid", `-0`), ""},
		"prefix":            {"id_prefix idp:", with("sub", `"alice"`), "idp:alice"},
		"nested":            {`user a.1.id`, with("a", `[0,{"id":"bob"}]`), "bob"},
		"name with dots":    {"user `\"https://example.com/id\"`", with("https://example.com/id", `"bob"`), "bob"},
		"255 bytes":         {"", with("sub", `"`+strings.Repeat("x", 255)+`"`), strings.Repeat("x", 255)},
		"not ASCII":         {"", with("sub", `"Zoë"`), "Zoë"},
		"256 bytes":         {"", with("sub", `"`+strings.Repeat("x", 256)+`"`), ""},
		"missing":           {"user uid", with("sub", `"alice"`), ""},
		"empty":             {"", with("sub", `""`), ""},
		"null":              {"", with("sub", `null`), ""},
		"true":              {"", with("sub", `true`), ""},
		"1.0":               {"", with("sub", `1.0`), ""},
		"1e3":               {"", with("sub", `1e3`), ""},
		"a list":            {"", with("sub", `["alice"]`), ""},
		"an object":         {"", with("sub", `{"id":"alice"}`), ""},
		"NUL":               {"", with("sub", `"alice\u0000"`), ""},
		"line break":        {"", with("sub", `"alice\r\nX-Admin: 1"`), ""},
		"blank at the end":  {"", with("sub", `"alice "`), ""},
		"lone surrogate":    {"", with("sub", `"alice\ud800"`), ""},
		"other case":        {"", with("SUB", `"alice","sub":""`), ""},
		"no falling back":   {"user uid", with("user_id", `"alice"`), ""},
		"twice":             {"", with("sub", `"alice","sub":"alice"`), ""},
		"twice, if escaped": {"", with("sub", `"alice","s\u0075b":"bob"`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := ask(t, withSecret(t, c.options), tokenOf(c.claims))
			if c.want != "" {
				require.NoError(t, err)
				assert.Equal(t, c.want, who.ID)
				return
			}
			assert.Equal(t, authenticators.CodeNotValid, refusal(t, err).Code)
		})
	}
	_, err := ask(t, withSecret(t), token("HS256", object{"sub": nil}))
	rejected := refusal(t, err)
	assert.Equal(t, "Token contained no recognizable user identification", rejected.Detail)
	assert.Empty(t, rejected.Messages)
}

func TestClaimsBecomeTheIdentity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options         string
		changes         object
		name, email     string
		groups, scopes  []string
		secondsAuthTime int64
	}{
		"all of them": {
			"",
			object{"name": "Alice", "email": "a@b.c", "groups": []string{"x", "y"}, "scope": "read  write", "auth_time": now.Unix() - 99},
			"Alice", "a@b.c",
			[]string{"x", "y"},
			[]string{"read", "write"},
			-99,
		},
		"none of them":        {"", nil, "", "", nil, nil, -10},
		"no iat":              {"", object{"iat": nil, "auth_time": "x"}, "", "", nil, nil, 0},
		"verified":            {"", object{"email": "a@b.c", "email_verified": true}, "", "a@b.c", nil, nil, -10},
		"not verified":        {"", object{"email": "a@b.c", "email_verified": false}, "", "", nil, nil, -10},
		"not verified, text":  {"", object{"email": "a@b.c", "email_verified": "false"}, "", "", nil, nil, -10},
		"verified by a 1":     {"", object{"email": "a@b.c", "email_verified": 1}, "", "", nil, nil, -10},
		"scp as a list":       {"", object{"scp": []string{"read", "write"}}, "", "", nil, []string{"read", "write"}, -10},
		"scope goes first":    {"", object{"scope": "", "scp": "all"}, "", "", nil, []string{}, -10},
		"a single group":      {"", object{"groups": "x"}, "", "", []string{"x"}, nil, -10},
		"groups of Keycloak":  {"claim groups realm_access.roles", object{"groups": "no", "realm_access": object{"roles": []string{"r"}}}, "", "", []string{"r"}, nil, -10},
		"mapped, not there":   {"claim name nick\nclaim groups roles", object{"name": "Alice", "groups": []string{"x"}}, "", "", nil, nil, -10},
		"name is no text":     {"", object{"name": 7, "email": []string{"a@b.c"}, "groups": object{"x": 1}}, "", "", nil, nil, -10},
		"mapped email counts": {"claim email mail", object{"mail": "a@b.c", "email_verified": false}, "", "a@b.c", nil, nil, -10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := ask(t, withSecret(t, c.options), token("HS256", c.changes))
			require.NoError(t, err)
			assert.Equal(t, c.name, who.Name)
			assert.Equal(t, c.email, who.Email)
			assert.Equal(t, c.groups, who.Groups)
			assert.Equal(t, c.scopes, who.Scopes)
			if c.secondsAuthTime == 0 {
				assert.Zero(t, who.AuthTime)
			} else {
				assert.Equal(t, now.Add(time.Duration(c.secondsAuthTime)*time.Second), who.AuthTime)
			}
			assert.Equal(t, "https://idp.example.com", who.Claims["iss"])
		})
	}
}

func TestClaimsMustBeOneStrictObject(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	good := string(must(json.Marshal(claimsWith(nil))))
	_, err := ask(t, a, tokenOf(good))
	require.NoError(t, err, "the baseline")
	for name, claims := range map[string]string{
		"garbage behind": good + "x", "object behind": good + "{}", "array": "[" + good + "]", "text": `"` + encode([]byte(good)) + `"`, "number": "1", "null": "null",
		"byte order mark": "\ufeff" + good, "NUL": good + "\x00", "not UTF-8": strings.Replace(good, "alice", "al\xffce", 1),
		"comma": strings.Replace(good, "}", ",}", 1), "comment": good + "//", "deep": with("x", strings.Repeat("[", 1000)+strings.Repeat("]", 1000)),
		"a token within": token("HS256", nil),
	} {
		_, err := ask(t, a, tokenOf(claims))
		assert.Equal(t, isInvalid, refusal(t, err).Messages[0].Message, name)
	}
}

func TestOwnTokensMustBeAccessTokens(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "jwt"))
	a.now = func() time.Time { return now }
	_, err := ask(t, a, token("EdDSA", nil))
	_, rejected := asRejection(err)
	require.False(t, rejected, "without keys nobody can tell: %v", err)

	host.Ring.Set(must(ownSigner()))
	for name, c := range map[string]struct {
		changes object
		want    string
	}{
		"access":       {object{"token_type": "access"}, ""},
		"refresh":      {object{"token_type": "refresh"}, hasWrongType},
		"Access":       {object{"token_type": "Access"}, hasWrongType},
		"something":    {object{"token_type": "csrf"}, hasWrongType},
		"an assertion": {nil, "Token has no type"},
	} {
		own, err := host.Ring.Sign(must(json.Marshal(claimsWith(c.changes))), "JWT")
		require.NoError(t, err)
		who, err := ask(t, a, own)
		if c.want == "" {
			require.NoError(t, err, name)
			assert.Equal(t, "alice", who.ID)
			continue
		}
		assert.Equal(t, c.want, refusal(t, err).Messages[0].Message, name)
	}
	_, err = ask(t, a, token("EdDSA", object{"token_type": "access"}))
	refusal(t, err)
}
