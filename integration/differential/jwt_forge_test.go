package differential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// forge makes tokens.
type forge struct {
	keys jwtKeys
	now  int64
	good map[bool][]string // some that are in order, by jwtCase.secret
}

func newForge(keys jwtKeys) *forge {
	return &forge{keys: keys, now: time.Now().Unix(), good: make(map[bool][]string)}
}

// draft is a token before it is signed.
type draft struct {
	alg            string
	header, claims object
	key            any // nil: none
}

func (f *forge) draft(random *rand.Rand) draft {
	d := draft{alg: of(random, "HS256", "HS256", "HS256", "HS256", "EdDSA", "EdDSA", "EdDSA", "ES256", "ES256")}
	if random.IntN(50) == 0 { // which is slow
		d.alg = "RS256"
	}
	kid := ""
	switch d.alg {
	case "HS256":
		d.key = []byte(secret)
	case "EdDSA":
		d.key, kid = f.keys.ed, "ed"
		if random.IntN(3) == 0 {
			d.key, kid = f.keys.ed2, "ed2"
		}
	case "ES256":
		d.key, kid = f.keys.es, "es"
	case "RS256":
		d.key, kid = f.keys.rs, "rs"
	}
	d.header = object{`"alg":"` + d.alg + `"`, `"typ":"` + of(random, "JWT", "at+jwt", "jwt") + `"`}
	if kid != "" && random.IntN(2) == 0 {
		d.header = d.header.with("kid", strconv.Quote(kid))
	}
	d.claims = object{
		`"sub":"` + of(random, "alice", "bob", "Zoë", "42", "a b") + `"`, `"iss":"https://idp.example.com"`, `"aud":` + of(random, `"api"`, `["api","web"]`),
		fmt.Sprintf(`"exp":%d`, f.now+3600+random.Int64N(86400)), fmt.Sprintf(`"iat":%d`, f.now-random.Int64N(86400)-1),
	}
	if random.IntN(3) == 0 {
		d.claims = d.claims.with("nbf", strconv.FormatInt(f.now-60, 10))
	}
	if random.IntN(3) == 0 {
		d.claims = d.claims.with("more", `{"groups":["a","b"],"x":[1,2.5e3,null,true]}`)
	}
	return d
}

func (f *forge) make(random *rand.Rand) jwtCase {
	d := f.draft(random)
	c := jwtCase{secret: d.alg == "HS256", cookie: random.IntN(10) == 0}
	kind := random.IntN(10)
	if kind == 0 || kind == 1 || kind == 2 && len(f.good[c.secret]) < 2 {
		c.token = join(d, sign(d))
		f.keep(random, c)
		return c
	}
	if kind >= 2 && kind <= 4 && len(f.good[c.secret]) > 1 {
		c.token = spoilToken(random, of(random, f.good[c.secret]...), of(random, f.good[c.secret]...))
		return c
	}
	for range 1 + random.IntN(4)/3 {
		switch random.IntN(4) {
		case 0:
			f.spoilHeader(random, &d)
		case 1:
			f.spoilKey(random, &d, &c)
		default:
			f.spoilClaims(random, &d)
		}
	}
	c.token = join(d, sign(d))
	switch random.IntN(8) {
	case 0: // the same in another spelling, and as whoever has the key would sign that
		parts := strings.SplitN(c.token, ".", 3)
		i := random.IntN(2)
		parts[i] = respell(random, parts[i])
		input := parts[0] + "." + parts[1]
		c.token = input + "." + b64(signatureOf(d.key, input))
	case 1:
		c.token = spoilToken(random, c.token, c.token)
	}
	return c
}

// keep keeps a few good ones to be spoiled.
func (f *forge) keep(random *rand.Rand, c jwtCase) {
	if some := f.good[c.secret]; len(some) < 100 {
		f.good[c.secret] = append(some, c.token)
	} else {
		some[random.IntN(len(some))] = c.token
	}
}

func join(d draft, signature []byte) string {
	return b64([]byte(d.header.String())) + "." + b64([]byte(d.claims.String())) + "." + b64(signature)
}

func sign(d draft) []byte {
	return signatureOf(d.key, b64([]byte(d.header.String()))+"."+b64([]byte(d.claims.String())))
}

// signatureOf signs as the key is meant to.
func signatureOf(key any, input string) []byte {
	digest := sha256.Sum256([]byte(input))
	switch key := key.(type) {
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	case ed25519.PrivateKey:
		return ed25519.Sign(key, []byte(input))
	case *rsa.PrivateKey:
		return must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]))
	case *ecdsa.PrivateKey:
		return rawOf(must(key.Sign(nil, digest[:], crypto.SHA256))) // without chance (RFC 6979)
	}
	return nil
}

type pair struct{ R, S *big.Int }

// rawOf is a signature as RFC 7518, section 3.4, has it.
func rawOf(der []byte) []byte {
	var p pair
	must(asn1.Unmarshal(der, &p))
	raw := make([]byte, 64)
	p.R.FillBytes(raw[:32])
	p.S.FillBytes(raw[32:])
	return raw
}

// respell writes base64url that decoders with patience take for the same.
func respell(random *rand.Rand, part string) string {
	at := random.IntN(len(part) + 1)
	switch random.IntN(6) {
	case 0:
		return part + strings.Repeat("=", 1+random.IntN(4))
	case 1:
		return strings.NewReplacer("-", "+", "_", "/").Replace(part) + of(random, "", "=")
	case 2:
		return part[:at] + of(random, "\n", "\r\n", " ", "\t", "!", "*", "\x00") + part[at:]
	case 3: // bits that nothing uses
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		if last := strings.IndexByte(alphabet, part[max(len(part)-1, 0)]); len(part)%4 != 0 && last >= 0 {
			return part[:len(part)-1] + string(alphabet[last^1])
		}
		return part
	case 4: // another part, which some skip
		return part[:at] + "." + part[at:]
	}
	return base64.URLEncoding.EncodeToString(must(base64.RawURLEncoding.DecodeString(part)))
}

// spoilToken changes a token without its key.
func spoilToken(random *rand.Rand, token, other string) string {
	parts, others := strings.SplitN(token, ".", 3), strings.SplitN(other, ".", 3)
	i := random.IntN(3)
	switch random.IntN(9) {
	case 0:
		return splice(random, token, other)
	case 1: // parts of both
		parts[i] = others[i]
	case 2: // what a part stands for
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return spoil(random, token)
		}
		parts[i] = b64([]byte(spoil(random, string(data))))
	case 3: // another spelling of the signature, which nothing protects
		if parts[2] == "" {
			return token
		}
		parts[2] = respell(random, parts[2])
	case 4:
		return of(random, " ", "  ", "\t", "\n", "") + token + of(random, " ", "\t", "\r\n", ".", "..", "=")
	case 5: // the other of the two signatures that ECDSA has, or its other form
		parts[2] = b64(respellECDSA(random, parts[2]))
	case 6:
		parts[i] = ""
	default:
		return spoil(random, token)
	}
	return strings.Join(parts, ".")
}

func respellECDSA(random *rand.Rand, part string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || len(raw) != 64 {
		return append(raw, 0)
	}
	r, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	order := elliptic.P256().Params().N
	switch random.IntN(4) {
	case 0:
		s.Mod(s.Neg(s), order)
	case 1:
		return must(asn1.Marshal(pair{r, s}))
	case 2:
		return make([]byte, 64)
	case 3: // the same numbers, with more zeros
		return append(append([]byte{0}, raw[:32]...), append([]byte{0}, raw[32:]...)...)
	}
	again := make([]byte, 64)
	r.FillBytes(again[:32])
	s.FillBytes(again[32:])
	return again
}

func (f *forge) spoilHeader(random *rand.Rand, d *draft) {
	switch random.IntN(8) {
	case 0:
		d.header = d.header.with("alg", of(random, `"none"`, `"None"`, `""`, `null`, `1`, `["HS256"]`, `"HS512"`, `"HS256 "`, `"hs256"`, `"RS256"`, `"RS512"`, `"PS256"`, `"ES256"`, `"ES256K"`, `"EdDSA"`, `"HS256"`))
	case 1:
		d.header = d.header.with("typ", of(random, `"JOSE"`, `"dpop+jwt"`, `"logout+jwt"`, `""`, `null`, `1`, `"application/JWT"`, `"JWT\u0000"`))
	case 2:
		d.header = d.header.with("kid", of(random, `"ed"`, `"es"`, `"rs"`, `"ED"`, `"other"`, `""`, `null`, `7`, `["ed"]`, `"../../dev/null"`, `"ed\u0000"`, `" ed"`))
	case 3:
		d.header = d.header.with("crit", of(random, `["b64"]`, `["exp"]`, `[]`, `"b64"`, `null`)).with("b64", of(random, "true", "false", `"true"`, "null"))
	case 4: // twice
		d.header = append(d.header, of(random, `"alg":"none"`, `"alg":"`+d.alg+`"`, `"kid":"ed"`, `"typ":"JWT"`, `"\u0061lg":"`+d.alg+`"`))
		if random.IntN(2) == 0 {
			d.header = append(object{of(random, `"alg":"none"`, `"kid":"es"`)}, d.header...)
		}
	case 5: // in another spelling
		d.header = append(d.header, of(random, `"ALG":"none"`, `"Kid":"es"`, `"TYP":"x"`, `"B64":false`, `"Crit":["x"]`))
	case 6:
		d.header = append(d.header, of(random, `"jwk":{"kty":"oct","k":"AA"}`, `"jku":"https://evil.example/"`, `"x5u":"https://evil.example/"`, `"x5c":["AA"]`, `"b64":true`, `"zip":"DEF"`, `"cty":"JWT"`, `"enc":"A128GCM"`))
	case 7:
		d.header = spoilJSON(random, d.header)
	}
}

func (f *forge) spoilKey(random *rand.Rand, d *draft, c *jwtCase) {
	switch random.IntN(5) {
	case 0:
		d.key = of[any](random, f.keys.otherEd, f.keys.otherES, []byte(secret+"x"), []byte(secret[1:]))
	case 1: // the public key as a secret
		d.key = f.keys.publicPEM()
		d.header = d.header.with("alg", `"HS256"`)
	case 2:
		d.key = of[any](random, f.keys.ed, f.keys.ed2, f.keys.es, []byte(secret))
	case 3:
		d.key = nil
	case 4: // checked with the other kind of key
		c.secret = !c.secret
	}
}

func (f *forge) spoilClaims(random *rand.Rand, d *draft) {
	at := func(seconds int64) string { return strconv.FormatInt(f.now+seconds, 10) }
	later := at(3600)
	switch random.IntN(10) {
	case 0, 1:
		d.claims = d.claims.with("exp", of(random, at(-10), at(-86400), "0", "-1", "1", "1e10", "9e99", "1e400", "99999999999", later+"000", `"`+later+`"`, later+".5",
			later+"e0", strings.Replace(later, "1", "1.", 1)+"e9", "true", "null", "[]", "{}", `"never"`, `""`, `" `+later+`"`, "0"+later, "+"+later, "-0", "NaN", "Infinity", "-Infinity", at(3*366*86400), at(300*86400)))
	case 2:
		d.claims = d.claims.with(of(random, "nbf", "iat"), of(random, later, at(-10), "0", "-1", "1.5", "-1e300", "true", "false", "null", `"1"`, `"`+later+`"`, "[]", "1e400", "NaN", "99999999999999999999"))
	case 3:
		d.claims = d.claims.with("sub", of(random, `""`, `null`, `1`, `-1`, `1.0`, `1e3`, `true`, `["alice"]`, `{"a":1}`, `"alice\n"`, `"\u0000"`, `" alice"`, `"alice "`, `"a\u00a0"`,
			`"\ud800"`, `"\ud83d\ude00"`, `"\ufffd"`, "\"\xff\"", `"`+strings.Repeat("a", 300)+`"`, `99999999999999999999`, `18446744073709551615`, `007`, `"{env.HOME}"`, `"\u2028"`, `"a\tb"`, "\"a\tb\"", `"\u007f"`, `"\u0085x"`))
	case 4:
		d.claims = d.claims.with("aud", of(random, `"web"`, `"api "`, `"API"`, `"apis"`, `[]`, `""`, `null`, `["web"]`, `["api",1]`, `["api",null]`, `[["api"]]`, `{"api":1}`, `1`, `"api web"`, `["web","api"]`))
	case 5:
		d.claims = d.claims.with("iss", of(random, `"https://idp.example.com/"`, `"https://evil.example"`, `"HTTPS://idp.example.com"`, `["https://idp.example.com"]`, `null`, `""`, `1`, `"https:\/\/idp.example.com"`))
	case 6:
		d.claims = d.claims.without(of(random, "sub", "exp", "iss", "aud", "iat"))
	case 7: // twice
		d.claims = append(d.claims, of(random, `"sub":"mallory"`, `"exp":1`, `"exp":`+later, `"aud":"web"`, `"\u0073ub":"mallory"`, `"x":{"y":1,"y":2}`, `"x":[{"y":1,"y":2}]`))
	case 8:
		d.claims = append(d.claims, of(random, `"cnf":{"jkt":"x"}`, `"token_type":"refresh"`, `"token_use":"id"`, `"typ":"ID"`, `"typ":"Refresh"`, `"at_hash":"x"`, `"token_type":"access"`, `"SUB":"mallory"`, `"__proto__":{"sub":"mallory"}`, `"":""`))
	case 9:
		d.claims = spoilJSON(random, d.claims)
	}
}

// spoilJSON makes an object that is odd, or none. It still prints as one.
func spoilJSON(random *rand.Rand, o object) object {
	text := strings.TrimSuffix(strings.TrimPrefix(o.String(), "{"), "}")
	switch random.IntN(9) {
	case 0: // trailing
		text += of(random, `}x`, `}{"a":1`, `} `, "}\x00", `},`, `}]`, `}`)
		return object{text}
	case 1:
		text = of(random, " ", "\n", "\r\t", "\u00a0", "/**/") + text + of(random, " ", ",", "\x0b")
	case 2:
		text += `,"deep":` + of(random, deep("[", "]", 60), deep("[", "]", 70), deep("[", "]", 1500), deep(`{"a":`, "}", 70))
	case 3:
		text += `,"n":` + of(random, "NaN", "Infinity", "-Infinity", "01", ".5", "5.", "1e", "0x10", "1_000", "+1", "-")
	case 4:
		text += `,"s":` + of(random, `"\x"`, `"\u12"`, "\"\x01\"", "\"\n\"", "\"\xc3\"", "\"\xed\xa0\x80\"", `'a'`, `"\ud800"`, `"`+strings.Repeat("a", 5000)+`"`, `"`+strings.Repeat("a", 9000)+`"`)
	case 5:
		text = strings.ReplaceAll(text, `"`, `'`)
	case 6:
		text += `,"t":` + of(random, "True", "None", "nul", "TRUE", "undefined", "")
	case 7:
		return object{spoil(random, text)}
	case 8:
		text = strings.Replace(text, "a", `\u0061`, 1)
	}
	return object{text}
}

func deep(open, end string, n int) string {
	return strings.Repeat(open, n) + "1" + strings.Repeat(end, n)
}
