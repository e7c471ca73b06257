package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// J61 to J63, J67: tokens that are meant for something else.
func kindRows(r *jwtRows, _ testing.TB) rowList {
	const wrongType = "Token has wrong type"
	type try struct {
		site, token string
		want        outcome
	}
	id := []string{"nonce", `"n"`, "at_hash", `"AAAA"`, "azp", `"api"`, "aud", `"api"`}
	ofClient := append(slices.Clone(id), "aud", `"client"`)
	tries := map[string]try{
		"J61 ID token":                       {"/a", r.ed(id...), refusedSaying("an ID token, which has at_hash", wrongType)},
		"J61 ID token with c_hash":           {"/a", r.ed("c_hash", `"AAAA"`), refusedSaying("an ID token, which has c_hash", wrongType)},
		"J61 ID token for the client":        {"/a", r.ed(ofClient...), refused("another audience")},
		"J61 ID token where it is asked for": {"/ids", r.ed(id...), accepted("alice")},
		"J61 access token where not":         {"/ids", r.ed(), refused("claim 'at_hash' is missing")},
		"J61 ID token where at+jwt is asked": {"/typ", r.ed(id...), refused("typ is that of a token for something else")},
		"J61 token_use id":                   {"/a", r.ed("token_use", `"id"`), refusedSaying("token_use says that it is not for access", wrongType)},
		"J61 typ ID":                         {"/a", r.ed("typ", `"ID"`), refusedSaying("typ says that it is not for access", wrongType)},

		"J62 own assertion for an upstream":      {"/own", r.byOwn("aud", `"upstream"`), refusedSaying("no token_type", "Token has no type")},
		"J62 own, as another issuer's":           {"/a", r.byOwn("token_type", `"access"`, "iss", `"`+issuerA+`"`, "aud", `"api"`), refused("signature does not fit")},
		"J62 another issuer's, as own":           {"/own", r.ed("token_type", `"access"`), refused("no key fits")},
		"J62 another issuer's without kid":       {"/own", jws(`{"alg":"EdDSA"}`, rowClaims("token_type", `"access"`), signEd(r.keys.ed)), refused("signature does not fit")},
		"J62 SimpleJWT's, as another issuer's":   {"/hs", r.hs("iss", "", "aud", "", "token_type", `"access"`), refused("issuer is none")},
		"J62 another issuer's, as SimpleJWT's":   {"/simple", r.hs(), refused("no jti")},
		"J63 own access token":                   {"/own", r.byOwn("token_type", `"access"`), accepted("alice")},
		"J63 own refresh token":                  {"/own", r.byOwn("token_type", `"refresh"`), refusedSaying("token_type is not access", wrongType)},
		"J63 own sliding token":                  {"/own", r.byOwn("token_type", `"sliding"`), refusedSaying("token_type is not access", wrongType)},
		"J63 own, Access":                        {"/own", r.byOwn("token_type", `"Access"`), refusedSaying("token_type is not access", wrongType)},
		"J63 own, a list":                        {"/own", r.byOwn("token_type", `["access"]`), refusedSaying("token_type is not access", wrongType)},
		"J63 own, null":                          {"/own", r.byOwn("token_type", `null`), refusedSaying("token_type", wrongType)},
		"J63 own, csrf":                          {"/own", r.byOwn("token_type", `"csrf"`), refusedSaying("token_type is not access", wrongType)},
		"J63 own, no token_type":                 {"/own", r.byOwn(), refusedSaying("no token_type", "Token has no type")},
		"J63 another issuer's refresh token":     {"/a", r.ed("token_type", `"refresh"`), refusedSaying("token_type says that it is not for access", wrongType)},
		"J63 another issuer's, Refresh":          {"/a", r.ed("typ", `"Refresh"`), refusedSaying("typ says that it is not for access", wrongType)},
		"J63 Keycloak's offline token":           {"/a", r.ed("typ", `"Offline"`), refusedSaying("typ says that it is not for access", wrongType)},
		"J63 Keycloak's logout token":            {"/a", r.ed("typ", `"Logout"`), refusedSaying("typ says that it is not for access", wrongType)},
		"J63 another issuer's access token":      {"/a", r.ed("token_type", `"access"`, "typ", `"Bearer"`, "token_use", `"access"`), accepted("alice")},
		"J67 azp and client_id":                  {"/a", r.ed("azp", `"app"`, "client_id", `"app"`), accepted("alice")},
		"J67 bound by DPoP":                      {"/a", r.ed("cnf", `{"jkt":"AAAA"}`), refused("bound to a key (cnf)")},
		"J67 bound by a certificate":             {"/a", r.ed("cnf", `{"x5t#S256":"AAAA"}`), refused("bound to a key (cnf)")},
		"J67 bound to nothing that can be read":  {"/a", r.ed("cnf", `null`), refused("bound to a key (cnf)")},
		"J67 bound, SimpleJWT's":                 {"/simple", r.hs("user_id", `"7"`, "token_type", `"access"`, "jti", `"1"`, "cnf", `{}`), refused("bound to a key (cnf)")},
		"optional is no excuse for a wrong one":  {"/optional", r.ed("exp", "1"), refused("expired")},
		"optional is no excuse for a forged one": {"/optional", jws(headEd, rowClaims("sub", `"admin"`), signEd(r.keys.own)), refused("signature does not fit")},
	}
	var rows rowList
	for name, c := range tries {
		rows.add(name, c.site, c.token, c.want)
	}
	return rows
}

// J60, J64, J66: whose it is.
func issuerRows(r *jwtRows, _ testing.TB) rowList {
	var rows rowList
	for _, iss := range []string{
		``, `""`, `null`, `1`, `true`, `{}`, `["` + issuerA + `"]`, `"` + issuerB + `"`, `"https://c.example.com"`,
		`"` + issuerA + `/"`, `"` + issuerA + `:443"`, `"` + issuerA + `?"`, `"` + issuerA + `#"`, `"` + issuerA + ` "`, `" ` + issuerA + `"`, `"` + issuerA + `\u0000"`,
		`"HTTPS://a.example.com"`, `"https://A.example.com"`, `"https://a.EXAMPLE.com"`, `"http://a.example.com"`, `"//a.example.com"`, `"a.example.com"`,
		`"` + issuerA + `.evil"`, `"` + issuerA + `@evil.example"`, `"x ` + issuerA + `"`, `"` + issuerA + ` x"`, `"` + issuerA + `,x"`, `"https://a.example.co"`,
		`"https://a"`, `"*"`, `"https://a.example.com\\.evil"`, `"https://а.example.com"`, // that а is Cyrillic
	} {
		for _, site := range []string{"/a", "/es", "/open"} {
			token := jws(headES, rowClaims("iss", iss), signEC(r.keys.es))
			rows.add("J64 J66 iss "+iss, site, token, refused("issuer is none of those that are trusted"))
		}
		if strings.Contains(iss, issuerB+`"`) {
			continue
		}
		token := jws(headES, rowClaims("iss", iss), signEC(r.keys.es))
		rows.add("J64 J66 one of several, iss "+iss, "/two", token, refused("issuer is none of those that are trusted"))
	}

	// Two issuers in one policy, of which both have a key "es".
	ofA, ofB := rowClaims(), rowClaims("iss", `"`+issuerB+`"`)
	byA, byB := signEC(r.keys.es), signEC(r.keys.b)
	unnamed := `{"alg":"ES256"}`
	const misfit = "signature does not fit"
	for name, c := range map[string]struct {
		token string
		want  outcome
	}{
		"A's":                        {jws(headES, ofA, byA), accepted("alice")},
		"B's":                        {jws(headES, ofB, byB), accepted("alice")},
		"B's, signed by A":           {jws(headES, ofB, byA), refused(misfit)},
		"A's, signed by B":           {jws(headES, ofA, byB), refused(misfit)},
		"B's, signed by A, no kid":   {jws(unnamed, ofB, byA), refused(misfit)},
		"A's, signed by B, no kid":   {jws(unnamed, ofA, byB), refused(misfit)},
		"B's, with A's other key":    {jws(headEd, ofB, signEd(r.keys.ed)), refused("no key fits")},
		"A's, for another audience":  {jws(headES, rowClaims("aud", `"other"`), byA), refused("another audience")},
		"B's, for another audience":  {jws(headES, rowClaims("iss", `"`+issuerB+`"`, "aud", `"other"`), byB), refused("another audience")},
		"the secret's, signed by A":  {jws(headES, rowClaims("iss", `"hs"`), byA), refused("no key fits")},
		"A's, signed by the secret":  {jws(headHS, ofA, harness.HS256(rowSecret).Sign), refused("no key fits")},
		"A's, its kid by the secret": {jws(`{"alg":"HS256","kid":"es"}`, ofA, harness.HS256(rowSecret).Sign), refused("no key fits")},
		"the attacker's own issuer":  {jws(headES, rowClaims("iss", `"`+r.idp.URL+`/mallory"`), signEC(r.keys.mallory)), refused("issuer is none")},
	} {
		rows.add("J60 "+name, "/two", c.token, c.want)
	}
	rows.add("J60 B's at A", "/a", jws(headES, ofB, byB), refused("issuer is none"))
	rows.add("J60 A's at B", "/b", jws(headES, ofA, byA), refused("issuer is none"))
	return rows
}

// J70 to J72: encrypted tokens, of which none is ever decrypted.
func encryptedRows(r *jwtRows, _ testing.TB) rowList {
	inner := jws(`{"alg":"none"}`, rowClaims("sub", `"admin"`), gives(nil))
	bomb := b64(strings.Repeat("\x00", 3000))
	var rows rowList
	for name, head := range map[string]string{
		"dir":         `{"alg":"dir","enc":"A256GCM"}`,
		"RSA-OAEP":    `{"alg":"RSA-OAEP","enc":"A128CBC-HS256","kid":"rs"}`,
		"RSA1_5":      `{"alg":"RSA1_5","enc":"A128CBC-HS256","kid":"rs"}`,
		"ECDH-ES":     `{"alg":"ECDH-ES","enc":"A128GCM","kid":"es","epk":` + jwkEC("", "", &r.keys.mallory.PublicKey) + `}`,
		"A128KW":      `{"alg":"A128KW","enc":"A128GCM"}`,
		"PBES2":       `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":1000000000,"p2s":"AAAA"}`,
		"zip":         `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`,
		"none":        `{"alg":"none","enc":"none"}`,
		"cty JWT":     `{"alg":"dir","enc":"A256GCM","cty":"JWT"}`,
		"a signature": headEd,
	} {
		for payload, text := range map[string]string{"empty": "", "short": "AAAA", "long": bomb, "a token": b64(inner)} {
			token := strings.Join([]string{b64(head), "AAAA", "AAAA", text, "AAAA"}, ".")
			rows.add("J70 "+name+", "+payload, "/a", token, refused("an encrypted token (JWE)"))
		}
	}
	encrypted := strings.Join([]string{b64(`{"alg":"dir","enc":"A256GCM","cty":"JWT"}`), "", "AAAA", b64(inner), "AAAA"}, ".")
	nested := func(payload string) string {
		return jws(`{"alg":"EdDSA","kid":"ed","cty":"JWT"}`, payload, signEd(r.keys.ed))
	}
	rows.add("J71 encrypted around an unsigned one", "/a", encrypted, refused("an encrypted token (JWE)"))
	rows.add("J71 signed around an unsigned one", "/a", nested(inner), refused("claims: not JSON"))
	rows.add("J71 signed around a signed one", "/a", nested(r.ed()), refused("claims: not JSON"))
	rows.add("J71 signed around one in quotes", "/a", nested(`"`+r.ed()+`"`), refused("claims: not a JSON object"))
	rows.add("J71 signed around an encrypted one", "/a", nested(encrypted), refused("claims: not JSON"))
	rows.add("J72 64 KB of dots", "/a", strings.Repeat(".", 64<<10), refused("at most 8192 are read"))
	rows.add("J72 five parts of 64 KB", "/big", strings.Repeat("."+strings.Repeat("A", 16<<10), 5)[1:], refused("an encrypted token (JWE)"))
	rows.addLines("J72 five parts in a cookie", "/cookie", absent(), "Cookie: access_token="+encrypted)
	return rows
}

// J77: SimpleJWT's claims, and its words.
func simpleRows(r *jwtRows, _ testing.TB) rowList {
	good := []string{"iss", "", "aud", "", "user_id", `"7"`, "token_type", `"access"`, "jti", `"1"`}
	const wrongType, noType = "Token has wrong type", "Token has no type"
	var rows rowList
	for change, want := range map[[2]string]outcome{
		{"jti", ""}:                  refusedSaying("no jti", "Token has no id"),
		{"jti", "null"}:              refused("jti"),
		{"jti", "7"}:                 refused("jti"),
		{"token_type", ""}:           refusedSaying("no token_type", noType),
		{"token_type", `"refresh"`}:  refusedSaying("token_type is not access", wrongType),
		{"token_type", `"sliding"`}:  refusedSaying("token_type is not access", wrongType),
		{"token_type", `"Access"`}:   refusedSaying("token_type is not access", wrongType),
		{"token_type", `"access "`}:  refusedSaying("token_type is not access", wrongType),
		{"token_type", `["access"]`}: refusedSaying("token_type is not access", wrongType),
		{"user_id", ""}:              refusedSaying("no user id", "Token contained no recognizable user identification"),
		{"user_id", `7`}:             accepted("7"),
		{"user_id", `"7"`}:           accepted("7"),
		{"exp", "1"}:                 refusedSaying("expired", "Token is expired"),
		{"exp", ""}:                  refusedSaying("no exp", "Token has no 'exp' claim"),
		{"exp", "0"}:                 refusedSaying("exp", "Token is expired"),
		{"sub", `"admin"`}:           accepted("7"),
	} {
		token := r.hs(append(append([]string(nil), good...), change[0], change[1])...)
		rows.add("J77 "+change[0]+" "+change[1], "/simple", token, want)
	}
	token := jws(`{"alg":"HS512"}`, rowClaims(good...), signHMAC("HS512", []byte(rowSecret)))
	rows.add("J77 HS512", "/simple", token, refused("HS512"))
	return rows
}
