package integration

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// J11, J12, J45, J46: what is one strict JSON object, as header and as claims.
func memberRows(r *jwtRows, _ testing.TB) rowList {
	good := rowClaims()
	const notJSON, notObject, notUTF8, twice = "not JSON", "not a JSON object", "not UTF-8", "a member stands twice"
	var rows rowList
	whole := map[string]struct{ text, why string }{
		"empty object":    {`{}`, ""},
		"list":            {`[]`, notObject},
		"text":            {`"alice"`, notObject},
		"number":          {`1`, notObject},
		"null":            {`null`, notObject},
		"true":            {`true`, notObject},
		"no JSON":         {mark, notJSON},
		"a blank":         {` `, notJSON},
		"BOM":             {"\ufeff" + good, notJSON},
		"UTF-16":          {"\xff\xfe{\x00}\x00", notUTF8},
		"NUL":             {"\x00", notJSON},
		"a list around":   {"[" + good + "]", notObject},
		"in quotes":       {`"{}"`, notObject},
		"unknown literal": {`nul`, notJSON},
	}
	for name, c := range whole {
		rows.add("J11 header: "+name, "/a", jws(c.text, good, signEd(r.keys.ed)), refused("header"))
		rows.add("J11 claims: "+name, "/a", jws(headEd, c.text, signEd(r.keys.ed)), refused(c.why))
	}

	// What follows or spoils an object that is good but for it.
	open := strings.TrimSuffix(good, "}")
	spoiled := map[string]struct{ text, why string }{
		"J11 text after":               {good + "x", notJSON},
		"J11 another object after":     {good + `{"sub":"admin"}`, notJSON},
		"J11 bracket after":            {good + "}", notJSON},
		"J11 comma after":              {good + ",", notJSON},
		"J11 NUL after":                {good + "\x00", notJSON},
		"J11 comment after":            {good + "//x", notJSON},
		"J11 hash after":               {good + "#", notJSON},
		"J11 not closed":               {open, notJSON},
		"J11 comma at the end":         {open + ",}", notJSON},
		"J11 invalid UTF-8 in a text":  {open + ",\"x\":\"\xb9\"}", notUTF8},
		"J11 invalid UTF-8 in a name":  {open + ",\"\xb9\":0}", notUTF8},
		"J11 surrogate in UTF-8":       {open + ",\"x\":\"\xed\xa0\x80\"}", notUTF8},
		"J11 overlong UTF-8":           {open + ",\"x\":\"\xc0\xaf\"}", notUTF8},
		"J12 two commas":               {open + `,,"x":0}`, notJSON},
		"J12 no colon":                 {open + `,"x" 0}`, notJSON},
		"J12 two colons":               {open + `,"x"::0}`, notJSON},
		"J12 no value":                 {open + `,"x":}`, notJSON},
		"J12 name without quotes":      {open + `,x:0}`, notJSON},
		"J12 name in single quotes":    {open + `,'x':0}`, notJSON},
		"J12 name that is a number":    {open + `,1:1}`, notJSON},
		"J12 comment":                  {open + `,/**/"x":0}`, notJSON},
		"J12 garbage within":           {open + `,"x":0 garbage}`, notJSON},
		"J45 sub twice":                {open + `,"sub":"admin"}`, twice},
		"J45 exp twice":                {open + `,"exp":9999999999}`, twice},
		"J45 aud twice":                {open + `,"aud":"api"}`, twice},
		"J45 iss twice":                {open + `,"iss":"` + issuerA + `"}`, twice},
		"J45 the same again":           {open + `,"note":"` + mark + `"}`, twice},
		"J45 an escape in the name":    {open + `,"s\u0075b":"admin"}`, twice},
		"J45 all of the name escaped":  {open + `,"\u0073\u0075\u0062":"admin"}`, twice},
		"J45 twice further down":       {open + `,"x":[{"y":{"z":1,"z":2}}]}`, twice},
		"J12 65 deep":                  {open + `,"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "nested deeper"},
		"J12 as deep as a token holds": {open + `,"x":` + strings.Repeat(`{"x":`, 900), "nested deeper"},
	}
	for name, c := range spoiled {
		rows.add(name, "/a", jws(headEd, c.text, signEd(r.keys.ed)), refused("claims: "+c.why))
		if header, ok := strings.CutPrefix(c.text, open); ok && !strings.HasPrefix(name, "J45") {
			token := jws(strings.TrimSuffix(headEd, "}")+header, good, signEd(r.keys.ed))
			rows.add(name+", header", "/a", token, refused("header: "+c.why))
		}
	}

	many := func(n int) string {
		text := strings.TrimSuffix(good, "}")
		var members strings.Builder
		for i := range n {
			fmt.Fprintf(&members, `,"c%d":1`, i)
		}
		return jws(headEd, text+members.String()+"}", signEd(r.keys.ed))
	}
	deep := strings.Repeat("[", 10001)
	tooLarge := refused("at most 8192 are read")
	rows.add("J12 20,000 claims", "/a", many(20000), tooLarge)
	rows.add("J12 10,001 deep", "/a", r.ed("x", deep), tooLarge)
	rows.add("J12 10,001 deep, a large bound", "/big", r.ed("x", deep), refused("nested deeper"))
	rows.add("J12 1 MB", "/a", r.ed("x", `"`+strings.Repeat("x", 1<<20)+`"`), noHTTP(431))
	rows.add("J12 as many claims as fit", "/a", many(500), accepted("alice"))
	rows.add("J46 Sub and SUB beside sub", "/a", r.ed("Sub", `"admin"`, "SUB", `"admin"`, "sub ", `"admin"`), accepted("alice"))
	rows.add("J46 Sub only", "/a", r.ed("sub", "", "Sub", `"admin"`), refused("no user id"))
	rows.add("J46 Exp only", "/a", r.ed("exp", "", "Exp", "9999999999"), refused("no exp"))
	rows.add("J46 Aud only", "/a", r.ed("aud", "", "Aud", `"api"`), refused("another audience"))
	rows.add("J46 Iss only", "/a", r.ed("iss", "", "Iss", `"`+issuerA+`"`), refused("issuer is none"))
	return rows
}

// valueRows are values that are no JSON (JSONTestSuite, n_*), as one member of
// a token that is good but for it.
func valueRows(r *jwtRows, _ testing.TB) rowList {
	var rows rowList
	for _, value := range []string{
		`NaN`, `Infinity`, `-Infinity`, `+1`, `-012`, `01`, `-`, `.5`, `1.`, `1.e3`, `1e`, `1e+`, `0x1`, `1_000`, `1 000`, "１", `--1`,
		`[1,]`, `[,1]`, `[1,,2]`, `[1 2]`, `[1:2]`, `[1`, `[}`, `[`, `]`, `{"a":1,}`, `{"a"}`, `{,}`,
		`"`, `"a`, `'a'`, `"\x00"`, `"\a"`, `"\u12"`, `"\u00g0"`, `"\ud800\u"`, `"\`, "\"\t\"", "\"\n\"", "\"\x00\"", "\"\x1f\"", "`a`",
		`tru`, `True`, `FALSE`, `nil`, `undefined`, `<null>`, "\u2060", "\f1", "\u00a01",
	} {
		const note = `"note":"` + mark + `"`
		claims := strings.Replace(rowClaims(), note, `"note":`+value, 1)
		rows.add(fmt.Sprintf("J12 claim %q", value), "/a", jws(headEd, claims, signEd(r.keys.ed)), refused("claims: not JSON"))
		rows.add(fmt.Sprintf("J12 header %q", value), "/a", jws(`{"note":`+value+`,"alg":"EdDSA","kid":"ed"}`, rowClaims(), signEd(r.keys.ed)), refused("header: not JSON"))
	}
	return rows
}

// J40, J42, J43: times.
func timeRows(r *jwtRows, _ testing.TB) rowList {
	now := time.Now().Unix()
	at := func(seconds int64) string { return fmt.Sprint(now + seconds) }
	const notNumber, notTime, future = "is not a number", "is not a time in seconds", "is in the future"
	power := func(n int) string { return fmt.Sprintf("%.0f", math.Pow(2, float64(n))) }
	huge := power(1023) + "0"
	const day = 24 * 3600
	var rows rowList
	for change, want := range map[[2]string]outcome{
		{"exp", "0"}: refused("exp " + notTime), {"exp", "-1"}: refused("exp " + notTime), {"exp", "-0"}: refused("exp " + notTime),
		{"exp", "0.5"}: refused("exp " + notTime), {"exp", "1e300"}: refused("exp " + notTime), {"exp", "9e18"}: refused("exp " + notTime),
		{"exp", "1e400"}: refused("exp " + notTime), {"exp", "-1e400"}: refused("exp " + notTime), {"exp", huge}: refused("exp " + notTime),
		{"exp", "1e-400"}: refused("exp " + notTime), {"exp", power(63)}: refused("exp " + notTime), {"exp", power(64)}: refused("exp " + notTime),
		{"exp", power(53)}: refused("exp " + notTime), {"exp", "-" + power(53)}: refused("exp " + notTime), {"exp", "-" + power(63)}: refused("exp " + notTime),
		{"exp", at(3600) + "000"}:     refused("exp " + notTime), // in milliseconds
		{"exp", `"` + at(3600) + `"`}: refused("exp " + notNumber), {"exp", `""`}: refused("exp " + notNumber), {"exp", `"2030-01-01T00:00:00Z"`}: refused("exp " + notNumber),
		{"exp", "null"}: refused("exp " + notNumber), {"exp", "{}"}: refused("exp " + notNumber), {"exp", "true"}: refusedSaying("exp "+notTime, "Token is expired"),
		{"exp", "[" + at(3600) + "]"}: refused("exp " + notNumber),
		{"exp", ""}:                   refusedSaying("no exp", "Token has no 'exp' claim"),
		{"exp", at(3600) + ".5"}:      accepted("alice"), {"exp", at(3600) + "e0"}: accepted("alice"),
		{"exp", at(365 * day)}: accepted("alice"), {"exp", at(367 * day)}: refused("max_lifetime"),
		{"exp", power(32)}: refused("max_lifetime"), {"exp", "253402300799"}: refused("max_lifetime"),
		{"exp", at(-1)}: refusedSaying("expired", "Token is expired"), {"exp", "1"}: refused("expired"), {"exp", at(-3600)}: refused("expired"),

		{"nbf", at(600)}: refused("nbf " + future), {"nbf", at(86400)}: refused("nbf " + future), {"nbf", power(33)}: refused("nbf " + future),
		{"nbf", at(0)}: accepted("alice"), {"nbf", at(-60)}: accepted("alice"),
		{"nbf", `"` + at(-60) + `"`}: refused("nbf " + notNumber), {"nbf", "null"}: refused("nbf " + notNumber), {"nbf", "[]"}: refused("nbf " + notNumber),
		{"nbf", "-1"}: refused("nbf " + notTime), {"nbf", "1e400"}: refused("nbf " + notTime), {"nbf", power(53)}: refused("nbf " + notTime),
		{"nbf", "-" + power(63)}: refused("nbf " + notTime), {"nbf", power(63)}: refused("nbf " + notTime), {"nbf", huge}: refused("nbf " + notTime),

		{"iat", at(600)}: refused("iat " + future), {"iat", at(0)}: accepted("alice"), {"iat", ""}: accepted("alice"), {"iat", "1"}: accepted("alice"),
		{"iat", `"` + at(0) + `"`}: refused("iat " + notNumber), {"iat", "false"}: refused("iat " + notNumber),
		{"iat", power(63)}: refused("iat " + notTime), {"iat", "-" + power(53)}: refused("iat " + notTime), {"iat", "1e400"}: refused("iat " + notTime),
	} {
		rows.add(fmt.Sprintf("J40 J42 J43 %s: %.30s", change[0], change[1]), "/a", r.ed(change[0], change[1]), want)
	}
	rows.add("J40 max_lifetime 2h, 1 h ahead", "/life", r.ed("exp", at(3600)), accepted("alice"))
	rows.add("J40 max_lifetime 2h, 3 h ahead", "/life", r.ed("exp", at(3*3600)), refused("max_lifetime"))
	rows.add("J42 iat within the leeway", "/leeway", r.ed("iat", at(8)), accepted("alice"))
	rows.add("J42 nbf within the leeway", "/leeway", r.ed("nbf", at(8)), accepted("alice"))
	rows.add("J42 iat beyond the leeway", "/leeway", r.ed("iat", at(600)), refused("iat "+future))
	rows.add("J56 expired", "/a", r.ed("exp", at(-1)), refused("expired"))
	rows.add("J56 expired, bad signature", "/a", jws(headEd, rowClaims("exp", at(-1)), signEd(r.keys.own)), refused("signature does not fit"))
	rows.add("J56 bad signature", "/a", jws(headEd, rowClaims(), signEd(r.keys.own)), refused("signature does not fit"))
	return rows
}

// J47, J48: who it is.
func userRows(r *jwtRows, _ testing.TB) rowList {
	nobody := refusedSaying("no user id", "Token contained no recognizable user identification")
	noText := refused("sub is no text")
	bytes := func(n int) string { return `"` + strings.Repeat("u", n) + `"` }
	var rows rowList
	for sub, want := range map[string]outcome{
		"": nobody, `""`: nobody, `null`: nobody,
		`true`: noText, `[]`: noText, `["alice"]`: noText, `{}`: noText, `{"sub":"alice"}`: noText,
		`42`: noText, `-1`: noText, `1.0`: noText, `1e3`: noText,
		bytes(1): accepted("u"), bytes(255): accepted(strings.Repeat("u", 255)), bytes(256): nobody, bytes(4096): nobody, bytes(5000): nobody,
		`"a\u0000b"`: nobody, `"\u0000"`: nobody, `"alice\r\nRemote-User: admin"`: nobody, `"alice\n"`: nobody, `"a\tb"`: nobody, `"\u007f"`: nobody, `"\u0085"`: nobody,
		`" alice"`: nobody, `"alice "`: nobody, `" "`: nobody, `"\u00a0alice"`: nobody,
		`"\ud800"`: nobody, `"a\udc00"`: nobody, `"\ufffd"`: nobody,
		`"42"`: accepted("42"), `"\u0061lice"`: accepted("alice"), `"a b"`: accepted("a b"), `"a,b"`: accepted("a,b"), `"auth0|5f7c"`: accepted("auth0|5f7c"),
		`"José"`:         accepted("José"),
		`"Jose\u0301"`:   accepted("Jose\u0301"), // another person (NFD)
		`"\ud83d\ude00"`: accepted("\U0001F600"),
	} {
		rows.add(fmt.Sprintf("J47 sub %.40s", sub), "/a", r.ed("sub", sub), want)
	}
	rows.add("J47 sub of 8 KB", "/a", r.ed("sub", bytes(8<<10)), refused("at most 8192 are read"))
	rows.add("J47 sub of 8 KB, a large bound", "/big", r.ed("sub", bytes(8<<10)), nobody)

	for id, want := range map[string]outcome{
		`7`: accepted("7"), `"7"`: accepted("7"), `"alice"`: accepted("alice"), `18446744073709551615`: accepted("18446744073709551615"), `0`: accepted("0"),
		`1e3`: nobody, `1.0`: nobody, `1.5`: nobody, `-1`: nobody, `-0`: nobody, `1e400`: nobody, `18446744073709551616`: nobody,
		`true`: nobody, `null`: nobody, `[7]`: nobody, `{"id":7}`: nobody, `""`: nobody, ``: nobody,
	} {
		token := r.hs("iss", "", "aud", "", "user_id", id, "token_type", `"access"`, "jti", `"1"`)
		rows.add("J47 user_id "+id, "/simple", token, want)
	}
	for person, want := range map[string]outcome{
		`{"ids":["bob"]}`: accepted("bob"), `{"ids":["bob","eve"]}`: accepted("bob"),
		"": nobody, `null`: nobody, `"bob"`: nobody, `{}`: nobody, `{"ids":[]}`: nobody, `{"ids":"bob"}`: nobody, `{"ids":null}`: nobody,
		`{"ids":[["bob"]]}`: nobody, `{"ids":[{"0":"bob"}]}`: nobody, `{"ids":[null,"bob"]}`: nobody, `{"ids":[""]}`: nobody, `{"ids.0":"bob"}`: nobody, `["bob"]`: nobody,
	} {
		rows.add("J48 person "+person, "/nested", r.ed("person", person), want)
	}
	rows.add("J48 a name with dots", "/nested", r.ed("person.ids.0", `"bob"`), nobody)
	return rows
}

// J50, J52: whom it is for.
func audienceRows(r *jwtRows, _ testing.TB) rowList {
	other := refused("another audience")
	var rows rowList
	for aud, want := range map[string]outcome{
		`"api"`: accepted("alice"), `["x","api"]`: accepted("alice"), `["api"]`: accepted("alice"), `["api","api"]`: accepted("alice"),
		``: other, `""`: other, `"api "`: other, `" api"`: other, `"API"`: other, `"apix"`: other, `"ap"`: other, `"x api"`: other, `"api,x"`: other, `"api\u0000"`: other,
		`[]`: other, `null`: other, `[null]`: other, `0`: other, `true`: other, `[["api"]]`: other, `{"api":"api"}`: other, `["x"]`: other, `[""]`: other, `"*"`: other, `[1,null,"api"]`: other, `["api",1]`: other,
		`[` + strings.TrimSuffix(strings.Repeat(`"a",`, 1000), ",") + `]`: other,
	} {
		name := fmt.Sprintf("%.30s", aud)
		rows.add("J50 aud "+name, "/a", r.ed("aud", aud), want)
		rows.add("J52 no audience asked, aud "+name, "/open", r.ed("aud", aud), accepted("alice"))
	}
	many := `[` + strings.Repeat(`"a",`, 10000) + `"apix"]`
	rows.add("J50 10,000 audiences", "/a", r.ed("aud", many), refused("at most 8192 are read"))
	rows.add("J50 10,000 audiences, a large bound", "/big", r.ed("aud", many), other)
	return rows
}
