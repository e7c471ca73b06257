package integration

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goodRows are tokens that are as they should be.
func goodRows(r *jwtRows, t testing.TB) rowList {
	own := r.EdgeAuth("", "jwt", "create", "alice", "--lifetime", "10m")
	claims := rowClaims()
	rows := rowList{
		{name: "J01 RS256", site: "/a", token: jws(headRS, claims, signRSA(r.keys.rsa)), want: accepted("alice")},
		{name: "J01 ES256", site: "/a", token: jws(headES, claims, signEC(r.keys.es)), want: accepted("alice")},
		{name: "J01 EdDSA", site: "/a", token: r.ed(), want: accepted("alice")},
		{name: "J01 ES384", site: "/a", token: jws(`{"alg":"ES384","kid":"es384"}`, claims, signEC(r.keys.es384)), want: accepted("alice")},
		{name: "J01 RS256 by PEM", site: "/pem", token: jws(headRS, claims, signRSA(r.keys.rsa)), want: accepted("alice")},
		{name: "J01 HS256", site: "/hs", token: r.hs(), want: accepted("alice")},
		{name: "J01 own", site: "/own", token: own, want: accepted("alice")},
		{name: "J01 SimpleJWT's", site: "/simple", token: r.hs("iss", "", "aud", "", "user_id", `"7"`, "token_type", `"access"`, "jti", `"1"`), want: accepted("7")},
		{name: "J01 in a cookie", site: "/cookie", lines: []string{"Cookie: access_token=" + r.ed()}, want: accepted("alice")},
		{name: "J01 issuer B's", site: "/b", token: jws(headES, rowClaims("iss", `"`+issuerB+`"`), signEC(r.keys.b)), want: accepted("alice")},
		// Its signature fits, or it would be refused for that.
		{name: "J01 RFC 7515, A.1", site: "/rfc", token: rfc7515Token, want: refusedSaying("expired", "Token is expired")},
		{name: "J01 RFC 7515, A.1, changed", site: "/rfc", token: strings.Replace(rfc7515Token, "dBjf", "dCjf", 1), want: refused("signature does not fit")},
		{name: "no token", site: "/a", lines: []string{"Accept: */*"}, want: absent()},
	}
	require.NotEmpty(t, own)
	return rows
}

// J02, J03, J04, J06: other spellings of a token that is good.
func spellingRows(r *jwtRows, t testing.TB) rowList {
	const notCanonical = "not canonical base64url"
	good := r.ed()
	parts := strings.Split(good, ".")
	var rows rowList
	add := func(name, token string) {
		require.NotEqual(t, good, token, name)
		rows.add(name, "/a", token, refused(notCanonical))
		rows.addLines(name+", in a cookie", "/cookie", absent(), "Cookie: access_token="+token)
	}
	with := func(i int, part string) string {
		changed := append([]string(nil), parts...)
		changed[i] = part
		return strings.Join(changed, ".")
	}
	for i, name := range []string{"header", "claims", "signature"} {
		for _, padding := range []string{"=", "=="} {
			add("J02 "+padding+" after the "+name, with(i, parts[i]+padding))
		}
	}
	require.NotZero(t, len(parts[2])%4, "a signature with unused bits")
	for i, name := range []string{"header", "claims", "signature"} {
		part := parts[i]
		if len(part)%4 == 0 {
			continue // no unused bits; another token of this list has them
		}
		for _, other := range lastCharacters(part) {
			add(fmt.Sprintf("J04 unused bits of the %s, %c", name, other), with(i, part[:len(part)-1]+string(other)))
		}
	}

	// Headers and claims that need - and _, and unused bits in each part.
	head := `{"alg":"EdDSA","kid":"ed","?":"` + "~~~???>>>" + `"}`
	for _, filler := range []string{"", "x", "xx"} {
		token := jws(strings.Replace(head, "?", "?"+filler, 1), rowClaims("?", `"???~~~>>>`+filler+`"`), signEd(r.keys.ed))
		rows.add("J03 characters of base64url", "/a", token, accepted("alice"))
		require.True(t, strings.ContainsAny(token[:strings.LastIndex(token, ".")], "-_"))
		add("J03 + and / for - and _", strings.NewReplacer("-", "+", "_", "/").Replace(token))
		split := strings.Split(token, ".")
		for i, part := range split {
			if len(part)%4 == 0 {
				continue
			}
			changed := append([]string(nil), split...)
			changed[i] = part[:len(part)-1] + string(lastCharacters(part)[0])
			add(fmt.Sprintf("J04 unused bits of part %d", i+1), strings.Join(changed, "."))
		}
	}

	es := jws(headES, rowClaims(), signEC(r.keys.es))
	for name, token := range map[string]string{"J06 ES256": es, "J06 ES256 with s as n-s": otherSpelling(t, r, es)} {
		rows.add(name, "/a", token, accepted("alice"))
	}
	return rows
}

// lastCharacters are those that decode to the same bytes at the end of a part.
func lastCharacters(part string) []byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	want, _ := base64.RawURLEncoding.DecodeString(part)
	var same []byte
	for _, c := range []byte(alphabet) {
		other := part[:len(part)-1] + string(c)
		if got, _ := base64.RawURLEncoding.DecodeString(other); string(got) == string(want) && other != part {
			same = append(same, c)
		}
	}
	return same
}

// otherSpelling is an ES256 token with n-s for s, which is as valid.
func otherSpelling(t testing.TB, r *jwtRows, token string) string {
	t.Helper()
	at := strings.LastIndex(token, ".") + 1
	signature := decoded(t, token[at:])
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(r.keys.es.Params().N, s).FillBytes(signature[32:])
	return token[:at] + b64(signature)
}

// J05: white space. What stands around a header's value is not part of it (RFC
// 9110, section 5.5), and the server takes it off.
func whiteSpaceRows(r *jwtRows, _ testing.TB) rowList {
	good := r.ed()
	half := len(good) / 2
	front, back := good[:half], good[half:]
	rows := rowList{
		{name: "J05 blanks around the value", lines: []string{"Authorization:   Bearer " + good + "  "}, want: accepted("alice")},
		{name: "J05 two blanks after the scheme", lines: []string{"Authorization: Bearer  " + good}, want: accepted("alice")},
		{name: "J05 tab after the scheme", lines: []string{"Authorization: Bearer\t" + good}, want: refused("printable ASCII")},
		{name: "J05 blank inside", lines: []string{"Authorization: Bearer " + front + " " + back}, want: malformed("more than one value")},
		{name: "J05 tab inside", lines: []string{"Authorization: Bearer " + front + "\t" + back}, want: malformed("more than one value")},
		{name: "J05 folded line", lines: []string{"Authorization: Bearer " + front, " " + back}, want: malformed("more than one value")},
		{name: "J05 CR before", lines: []string{"Authorization: Bearer \r" + good}, want: noHTTP(400)},
		{name: "J05 CR inside", lines: []string{"Authorization: Bearer " + front + "\r" + back}, want: noHTTP(400)},
		{name: "J05 LF before", lines: []string{"Authorization: Bearer \n" + good}, want: noHTTP(400)},
		{name: "J05 LF inside", lines: []string{"Authorization: Bearer " + front + "\n" + back}, want: noHTTP(400)},
		{name: "J05 NUL inside", lines: []string{"Authorization: Bearer " + front + "\x00" + back}, want: noHTTP(400)},
		{name: "J05 no-break space inside", lines: []string{"Authorization: Bearer " + front + "\u00a0" + back}, want: refused("printable ASCII")},
		{name: "J05 vertical tab after", lines: []string{"Authorization: Bearer " + good + "\v"}, want: noHTTP(400)},
		{name: "J05 two headers", lines: []string{"Authorization: Bearer " + good, "Authorization: Bearer " + good}, want: malformed("sent twice")},
		{name: "J05 nothing after the scheme", lines: []string{"Authorization: Bearer "}, want: malformed("no value")},
	}
	for i := range rows {
		rows[i].site = "/a"
	}
	for name, value := range map[string]struct {
		text string
		want outcome
	}{
		"blank before":  {" " + good, absent()},
		"tab before":    {"\t" + good, absent()},
		"blank after":   {good + " ; x=1", absent()},
		"blank inside":  {front + " " + back, absent()},
		"tab inside":    {front + "\t" + back, absent()},
		"CR inside":     {front + "\r" + back, noHTTP(400)},
		"LF inside":     {front + "\n" + back, noHTTP(400)},
		"in quotes":     {`"` + good + `"`, absent()},
		"percent-coded": {front + "%20" + back, absent()},
	} {
		rows.addLines("J05 cookie, "+name, "/cookie", value.want, "Cookie: access_token="+value.text)
	}
	return rows
}

// J07, J10, J16, J38, J73: what is not three parts.
func partsRows(r *jwtRows, _ testing.TB) rowList {
	good := strings.Split(r.ed(), ".")
	const notThree, empty = "not three parts", "a part is empty"
	dots := func(n int) string { return strings.Repeat(".", n) }
	rows := rowList{
		{name: "J07 one part", token: good[1], want: refused(notThree)},
		{name: "J07 two parts", token: good[0] + "." + good[1], want: refused(notThree)},
		{name: "J07 four parts", token: strings.Join(good, ".") + "." + good[2], want: refused(notThree)},
		{name: "J07 four, the last empty", token: strings.Join(good, ".") + ".", want: refused(notThree)},
		{name: "J07 four, the first empty", token: "." + strings.Join(good, "."), want: refused(notThree)},
		{name: "J07 empty header", token: "." + good[1] + "." + good[2], want: refused(empty)},
		{name: "J07 empty signature", token: good[0] + "." + good[1] + ".", want: refused(empty)},
		{name: "J07 two dots", token: dots(2), want: refused(empty)},
		{name: "J07 dots to the bound", token: dots(8 << 10), want: refused(notThree)},
		{name: "J07 dots beyond the bound", token: dots(8<<10 + 1), want: refused("at most 8192 are read")},
		{name: "J07 1 MB of dots", token: dots(1 << 20), want: noHTTP(431)},
		{name: "J07 dots, a large bound", site: "/big", token: dots(900 << 10), want: refused(notThree)},
		{name: "J16 detached claims", token: good[0] + ".." + good[2], want: refused(empty)},
		{name: "J10 claims alone", token: strings.ReplaceAll(rowClaims("sub", `"admin"`, "iss", `"a"`), " ", ""), want: refused(notThree)},
		{name: "J10 aud alone", token: `{"aud":"x"}`, want: refused(notThree)},
		{name: "J10 claims alone in base64url", token: b64(rowClaims("sub", `"admin"`)), want: refused(notThree)},
		{name: "J73 signature alone", token: `{"signature":"AAAA"}`, want: refused(notThree)},
		{name: "J73 null header", token: b64("null") + "." + good[1] + "." + good[2], want: refused("header: not a JSON object")},
		{name: "J73 null header, signed", token: jws("null", rowClaims(), signEd(r.keys.ed)), want: refused("header: not a JSON object")},
		{name: "an opaque token", token: "abcdef0123456789", want: refused(notThree)},
	}
	for i := range rows {
		if rows[i].site == "" {
			rows[i].site = "/a"
		}
	}
	return rows
}

// J08, J09: the JSON serialisations (RFC 7515, section 7.2), with signatures
// that are good.
func jsonRows(r *jwtRows, _ testing.TB) rowList {
	good := strings.Split(r.ed(), ".")
	signature := fmt.Sprintf(`"protected":"%s","signature":"%s"`, good[0], good[2])
	flat := fmt.Sprintf(`{"payload":"%s",%s`, good[1], signature)
	general := func(n int) string {
		return fmt.Sprintf(`{"payload":"%s","signatures":[%s]}`, good[1], strings.TrimSuffix(strings.Repeat("{"+signature+"},", n), ","))
	}
	const notThree = "not three parts"
	texts := map[string]struct{ text, why string }{
		"J08 flattened":                    {flat + "}", notThree},
		"J08 flattened, other sub":         {flat + `,"sub":"admin","aud":"api","exp":9999999999}`, notThree},
		"J08 flattened, dots in a member":  {flat + `,"iss":"a.b.c"}`, "not canonical base64url"},
		"J08 flattened, four more dots":    {flat + `,"iss":"a.b.c.d.e"}`, "encrypted"},
		"J08 flattened, unprotected":       {flat + `,"header":{"alg":"none"}}`, notThree},
		"J08 general":                      {general(1), notThree},
		"J08 general, other sub":           {strings.TrimSuffix(general(1), "}") + `,"sub":"admin"}`, notThree},
		"J09 general, two signatures":      {general(2), notThree},
		"J09 general, 1,000 signatures":    {general(1000), "at most 8192 are read"},
		"J72 encrypted, in JSON":           {fmt.Sprintf(`{"protected":"%s","iv":"AAAA","ciphertext":"AAAA","tag":"AAAA"}`, good[0]), notThree},
		"J08 flattened, after the compact": {strings.Join(good, ".") + flat + "}", "not canonical base64url"},
	}
	var rows rowList
	for name, c := range texts {
		rows.add(name, "/a", c.text, refused(c.why))
		rows.addLines(name+", leading blanks", "/a", refused(c.why), "Authorization: Bearer    "+c.text)
		rows.add(name+", in base64url", "/big", b64(c.text), refused(notThree))
	}
	rows.add("J09 a large bound", "/big", general(1000), refused(notThree))
	rows.addLines("J08 in a cookie", "/cookie", absent(), "Cookie: access_token="+flat+"}")
	return rows
}
