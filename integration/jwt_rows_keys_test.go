package integration

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// J33: which key is tried where a token names none, or one of no name.
func pickRows(r *jwtRows, _ testing.TB) rowList {
	k, claims := r.keys, rowClaims()
	unnamed := func(alg string, sign signer) string { return jws(`{"alg":"`+alg+`"}`, claims, sign) }
	rows := rowList{
		{name: "J33 one key of the kind", site: "/a", token: unnamed("ES256", signEC(k.es)), want: accepted("alice")},
		{name: "J33 two keys of the kind, the first", site: "/a", token: unnamed("RS256", signRSA(k.rsa)), want: accepted("alice")},
		{name: "J33 two keys of the kind, the second", site: "/a", token: unnamed("RS256", signRSA(k.any)), want: accepted("alice")},
		{name: "J33 the only key", site: "/one", token: unnamed("ES256", signEC(k.fresh[0])), want: accepted("alice")},
		{name: "J33 the only key, which has no name", site: "/one", token: jws(headES, claims, signEC(k.fresh[0])), want: refused("no key fits")},
		{name: "J33 an empty kid", site: "/a", token: jws(`{"alg":"ES256","kid":""}`, claims, signEC(k.es)), want: accepted("alice")},
	}
	for i, key := range k.fresh {
		rows.add(fmt.Sprintf("J33 three keys, number %d", i), "/fresh", unnamed("ES256", signEC(key)), refused("at most 2 are tried"))
	}
	return rows
}

// J30, J31: keys that a token brings along. Addresses in it are those of a
// server that counts; see checkNetwork.
func embeddedRows(r *jwtRows, _ testing.TB) rowList {
	mine := jwkEC("es", `,"alg":"ES256"`, &r.keys.mallory.PublicKey)
	away := r.idp.URL + "/mallory"
	port := r.idp.URL[strings.LastIndex(r.idp.URL, ":"):]
	var rows rowList
	for _, member := range []string{
		`"jwk":` + mine, `"jwk":{}`, `"jwk":null`, `"jwk":"` + mark + `"`, `"jwks":{"keys":[` + mine + `]}`,
		`"jku":"` + away + `"`, `"jku":"http://localhost` + port + `/mallory"`, `"jku":"` + r.idp.URL + `/a"`, `"jku":"file:///etc/passwd"`, `"jku":"//169.254.169.254/"`,
		`"x5u":"` + away + `"`, `"x5u":"file:///etc/passwd"`, `"x5t":"AAAA","x5t#S256":"AAAA"`, `"x5c":["AAAA"]`, `"x5c":"` + mark + `"`, `"x5c":[]`,
		`"iss":"` + away + `"`, `"issuer":"` + away + `"`,
	} {
		// By the name of a good key, of none that there is, and of none at all.
		for kid, why := range map[string]string{`,"kid":"es"`: "signature does not fit", `,"kid":"mine"`: "no key fits", ``: "signature does not fit"} {
			head := `{"alg":"ES256"` + kid + `,` + member + `}`
			rows.add("J30-J31 "+head, "/a", jws(head, rowClaims("sub", `"admin"`), signEC(r.keys.mallory)), refused(why))
		}
		head := `{"alg":"ES256","kid":"es",` + member + `}`
		rows.add("J30-J31 unread beside a good signature: "+member, "/a", jws(head, rowClaims(), signEC(r.keys.es)), accepted("alice"))
	}
	return rows
}

// J32: names of keys that mean something to somebody else.
func kidRows(r *jwtRows, _ testing.TB) rowList {
	const noText = "kid that is no text"
	var rows rowList
	for _, kid := range []string{
		"../../dev/null", "/dev/null", "/etc/passwd", "file:///etc/passwd", "' OR 1=1--", "sess:*", "edge_auth:*", `\r\nDEL x`, `\u0000`, "__proto__",
		"constructor", r.idp.URL + "/mallory", "{env.ROW_SECRET}", "$(id)", "rs ", "RS", strings.Repeat("k", 5000), mark,
	} {
		for _, site := range []string{"/a", "/hs", "/pem", "/own"} {
			want := refused("signature does not fit")
			if site != "/hs" {
				want = refused("no key fits")
			}
			token := jws(`{"alg":"HS256","kid":"`+kid+`"}`, rowClaims("sub", `"admin"`), harness.HS256("").Sign)
			rows.add(fmt.Sprintf("J32 kid %.30s at %s", kid, site), site, token, want)
		}
		token := jws(`{"alg":"EdDSA","kid":"`+kid+`"}`, rowClaims(), signEd(r.keys.ed))
		rows.add(fmt.Sprintf("J32 kid %.30s, the issuer's signature", kid), "/a", token, refused("no key fits"))
	}
	for _, kid := range []string{`1`, `null`, `{}`, `["ed"]`, `true`} {
		token := jws(`{"alg":"EdDSA","kid":`+kid+`}`, rowClaims(), signEd(r.keys.ed))
		rows.add("J32 kid "+kid, "/a", token, refused(noText))
	}
	rows.add("J32 kid of 1 MB", "/a", jws(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 1<<20)+`"}`, "{}", signEd(r.keys.ed)), noHTTP(431))
	rows.add("J32 kid of 500 KB", "/big", jws(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 500<<10)+`"}`, rowClaims(), signEd(r.keys.ed)), refused("no key fits"))
	return rows
}

// J34: keys that nobody should use, though their issuer signs with them. That
// each is warned about is in checkWarnings.
func weakKeyRows(r *jwtRows, _ testing.TB) rowList {
	var rows rowList
	for kid, key := range r.keys.weak {
		token := jws(`{"alg":"RS256","kid":"`+kid+`"}`, rowClaims("sub", `"admin"`), key.sign)
		rows.add("J34 "+kid, "/weak", token, refused("no key fits"))
	}
	good := jws(headRS, rowClaims(), signRSA(r.keys.rsa))
	rows.add("J34 a good key beside them", "/weak", good, accepted("alice"))
	for _, kid := range []string{"enc", "ops", "off"} {
		token := jws(`{"alg":"ES256","kid":"`+kid+`"}`, rowClaims("sub", `"admin"`), signEC(r.keys.es))
		rows.add("J34 "+kid, "/a", token, refused("no key fits"))
	}
	return rows
}

// J35: ECDSA.
func ecdsaRows(r *jwtRows, _ testing.TB) rowList {
	n, zero := r.keys.es.Params().N, new(big.Int)
	one := big.NewInt(1)
	mangle := func(change func(r, s *big.Int) []byte) signer {
		return func(input []byte) []byte {
			a, b, _ := hashAndSign(r.keys.es, input)
			return change(a, b)
		}
	}
	join := func(r, s *big.Int) []byte { return joinRS(r, s, 32) }
	var rows rowList
	for name, sign := range map[string]signer{
		"r=0":               mangle(func(_, s *big.Int) []byte { return join(zero, s) }),
		"s=0":               mangle(func(r, _ *big.Int) []byte { return join(r, zero) }),
		"r=s=0":             gives(make([]byte, 64)),
		"r=n":               mangle(func(_, s *big.Int) []byte { return join(n, s) }),
		"s=n":               mangle(func(r, _ *big.Int) []byte { return join(r, n) }),
		"r=s=n":             gives(join(n, n)),
		"r=s=1":             gives(join(one, one)),
		"r=s=n-1":           gives(join(new(big.Int).Sub(n, one), new(big.Int).Sub(n, one))),
		"all ones":          gives([]byte(strings.Repeat("\xff", 64))),
		"r and s swapped":   mangle(func(r, s *big.Int) []byte { return join(s, r) }),
		"n-r":               mangle(func(r, s *big.Int) []byte { return join(new(big.Int).Sub(n, r), s) }),
		"DER":               mangle(derRS),
		"63 bytes":          mangle(func(r, s *big.Int) []byte { return join(r, s)[:63] }),
		"65 bytes":          mangle(func(r, s *big.Int) []byte { return append(join(r, s), 0) }),
		"leading zero":      mangle(func(r, s *big.Int) []byte { return append([]byte{0}, join(r, s)...) }),
		"a zero before all": mangle(func(r, s *big.Int) []byte { return joinRS(r, s, 33) }),
		"96 bytes":          mangle(func(r, s *big.Int) []byte { return joinRS(r, s, 48) }),
		"only r":            mangle(func(r, _ *big.Int) []byte { return r.FillBytes(make([]byte, 32)) }),
		"of another":        signEC(r.keys.mallory),
	} {
		for _, site := range []string{"/a", "/es"} {
			rows.add("J35 "+name, site, jws(headES, rowClaims("sub", `"admin"`), sign), refused("signature does not fit"))
		}
	}
	return rows
}

// derRS is a signature as X.509 has it.
func derRS(r, s *big.Int) []byte {
	number := func(i *big.Int) []byte {
		data := append([]byte{0}, i.Bytes()...)
		return append([]byte{2, byte(len(data))}, data...)
	}
	body := append(number(r), number(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// rawRSA signs without the checks that libraries make.
type rawRSA struct {
	n *big.Int
	e int64
	d *big.Int
}

// newRawRSA makes a key of any size and exponent.
func newRawRSA(t testing.TB, bits int, e int64) rawRSA {
	t.Helper()
	one := big.NewInt(1)
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		require.NoError(t, err)
		q, err := rand.Prime(rand.Reader, bits/2)
		require.NoError(t, err)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		n := new(big.Int).Mul(p, q)
		if d := new(big.Int).ModInverse(big.NewInt(e), phi); d != nil && n.BitLen() == bits {
			return rawRSA{n, e, d}
		}
	}
}

// newROCA makes a key like those of CVE-2017-15361, whose primes are powers of
// 65537 modulo many small primes, and can be found for that reason.
func newROCA(t testing.TB) rawRSA {
	t.Helper()
	one, generator := big.NewInt(1), big.NewInt(65537)
	m := big.NewInt(1)
	for i, found := int64(2), 0; found < 126; i++ { // as for 2048 bits
		if p := big.NewInt(i); p.ProbablyPrime(0) {
			m.Mul(m, p)
			found++
		}
	}
	prime := func() *big.Int {
		for {
			a, err := rand.Int(rand.Reader, m)
			require.NoError(t, err)
			k, err := rand.Int(rand.Reader, new(big.Int).Lsh(one, uint(1024-m.BitLen())))
			require.NoError(t, err)
			p := new(big.Int).Mul(k, m)
			p.Add(p, new(big.Int).Exp(generator, a, m))
			if p.BitLen() == 1024 && p.Bit(1022) == 1 && p.ProbablyPrime(1) {
				return p
			}
		}
	}
	for {
		p, q := prime(), prime()
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d := new(big.Int).ModInverse(generator, phi); d != nil {
			return rawRSA{new(big.Int).Mul(p, q), 65537, d}
		}
	}
}

// digestInfo goes before a SHA-256 digest (RFC 8017, section 9.2).
const digestInfo = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

func (k rawRSA) sign(input []byte) []byte {
	sum := sha256.Sum256(input)
	return k.signBlock(k.block("\x00\x01", digestInfo+string(sum[:])))
}

// block is text at the end of a block, with padding before it.
func (k rawRSA) block(start, text string) string {
	return start + strings.Repeat("\xff", (k.n.BitLen()+7)/8-len(start)-1-len(text)) + "\x00" + text
}

func (k rawRSA) signBlock(block string) []byte {
	c := new(big.Int).SetBytes([]byte(block))
	return c.Exp(c, k.d, k.n).FillBytes(make([]byte, (k.n.BitLen()+7)/8))
}

func signPSS(key *rsa.PrivateKey, salt int) signer {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		return must(rsa.SignPSS(rand.Reader, key, 5, sum[:], &rsa.PSSOptions{SaltLength: salt})) // crypto.SHA256
	}
}

func signPSS512(key *rsa.PrivateKey) signer {
	return func(input []byte) []byte {
		sum := sha512.Sum512(input)
		return must(rsa.SignPSS(rand.Reader, key, 7, sum[:], &rsa.PSSOptions{SaltLength: 64})) // crypto.SHA512
	}
}

// J36: RSA.
func rsaRows(r *jwtRows, _ testing.TB) rowList {
	key := r.keys.any
	raw := rawRSA{n: key.N, d: key.D}
	padded := func(change func(sum string) string) signer {
		return func(input []byte) []byte {
			sum := sha256.Sum256(input)
			return raw.signBlock(change(string(sum[:])))
		}
	}
	type try struct {
		alg  string
		sign signer
		want outcome
	}
	bad := refused("signature does not fit")
	tries := map[string]try{
		"PKCS #1 by hand": {"RS256", raw.sign, accepted("alice")},
		"salt of 32":      {"PS256", signPSS(key, 32), accepted("alice")},
		"PSS as PKCS #1":  {"RS256", signPSS(key, 32), bad},
		"PKCS #1 as PSS":  {"PS256", raw.sign, bad},
		"no NULL": {"RS256", padded(func(s string) string {
			return raw.block("\x00\x01", "\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20"+s)
		}), bad},
		"long form of a length":   {"RS256", padded(func(s string) string { return raw.block("\x00\x01", "\x30\x81"+digestInfo[1:]+s) }), bad},
		"digest without its name": {"RS256", padded(func(s string) string { return raw.block("\x00\x01", s) }), bad},
		"name of SHA-1": {"RS256", padded(func(s string) string {
			return raw.block("\x00\x01", "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"+s[:20])
		}), bad},
		"block type 2": {"RS256", padded(func(s string) string { return raw.block("\x00\x02", digestInfo+s) }), bad},
		"block type 0": {"RS256", padded(func(s string) string {
			return strings.ReplaceAll(raw.block("\x00\x00", ""), "\xff", "\x00")[:len(raw.block("", ""))-len(digestInfo+s)] + digestInfo + s
		}), bad},
		"text after the digest": {"RS256", padded(func(s string) string { return raw.block("\x00\x01", digestInfo+s+strings.Repeat("\x00", 180)) }), bad},
		"zero in the padding":   {"RS256", padded(func(s string) string { return "\x00\x01\xff\x00" + raw.block("\x00\x01", digestInfo+s)[4:] }), bad},
		"all zero":              {"RS256", gives(make([]byte, 256)), bad},
		"one":                   {"RS256", gives(append(make([]byte, 255), 1)), bad},
		"the modulus":           {"RS256", gives(key.N.Bytes()), bad},
		"255 bytes":             {"RS256", func(input []byte) []byte { return raw.sign(input)[:255] }, bad},
		"257 bytes":             {"RS256", func(input []byte) []byte { return append([]byte{0}, raw.sign(input)...) }, bad},
	}
	for _, salt := range []int{1, 20, 31, 33, 64, 222} {
		tries[fmt.Sprintf("salt of %d", salt)] = try{"PS256", signPSS(key, salt), bad}
	}
	var rows rowList
	for name, c := range tries {
		token := jws(`{"alg":"`+c.alg+`","kid":"any"}`, rowClaims(), c.sign)
		rows.add("J36 "+name, "/a", token, c.want)
	}
	return rows
}

// J37: Ed25519.
func edwardsRows(r *jwtRows, _ testing.TB) rowList {
	// The order of the group (RFC 8032, section 5.1).
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))
	mangle := func(change func(signature []byte) []byte) signer {
		return func(input []byte) []byte { return change(signEd(r.keys.ed)(input)) }
	}
	var rows rowList
	for name, sign := range map[string]signer{
		"s+L": mangle(func(signature []byte) []byte {
			s := new(big.Int).SetBytes(reversed(signature[32:]))
			return append(signature[:32:32], reversed(s.Add(s, order).FillBytes(make([]byte, 32)))...)
		}),
		"s=0":           mangle(func(signature []byte) []byte { return append(signature[:32:32], make([]byte, 32)...) }),
		"all zero":      gives(make([]byte, 64)),
		"R is no point": mangle(func(signature []byte) []byte { return append([]byte(strings.Repeat("\xff", 32)), signature[32:]...) }),
		"R is neutral": mangle(func(signature []byte) []byte {
			return append(append([]byte{1}, make([]byte, 31)...), signature[32:]...)
		}),
		"R is not -R":    mangle(func(signature []byte) []byte { signature[31] ^= 0x80; return signature }),
		"63 bytes":       mangle(func(signature []byte) []byte { return signature[:63] }),
		"65 bytes":       mangle(func(signature []byte) []byte { return append(signature, 0) }),
		"of the key own": signEd(r.keys.own),
	} {
		rows.add("J37 "+name, "/a", jws(headEd, rowClaims("sub", `"admin"`), sign), refused("signature does not fit"))
	}
	return rows
}

func reversed(data []byte) []byte {
	back := make([]byte, len(data))
	for i, b := range data {
		back[len(data)-1-i] = b
	}
	return back
}

// J38: signatures that are too short, or those of other tokens.
func signatureRows(r *jwtRows, _ testing.TB) rowList {
	type try struct {
		site, head string
		sign       signer
	}
	var rows rowList
	for name, c := range map[string]try{
		"one byte":               {"/a", headEd, gives([]byte{0})},
		"one byte, HMAC":         {"/hs", headHS, gives([]byte{0})},
		"HMAC of 16 bytes":       {"/hs", headHS, func(input []byte) []byte { return harness.HS256(rowSecret).Sign(input)[:16] }},
		"HMAC of 31 bytes":       {"/hs", headHS, func(input []byte) []byte { return harness.HS256(rowSecret).Sign(input)[:31] }},
		"HMAC and a byte":        {"/hs", headHS, func(input []byte) []byte { return append(harness.HS256(rowSecret).Sign(input), 0) }},
		"HMAC of another token":  {"/hs", headHS, gives(harness.HS256(rowSecret).Sign([]byte("other")))},
		"EdDSA of another token": {"/a", headEd, gives(signEd(r.keys.ed)([]byte("other")))},
		"RSA of another token":   {"/a", headRS, gives(signRSA(r.keys.rsa)([]byte("other")))},
	} {
		rows.add("J38 "+name, c.site, jws(c.head, rowClaims("sub", `"admin"`), c.sign), refused("signature does not fit"))
	}
	rows.add("J38 empty", "/hs", jws(headHS, rowClaims(), gives(nil)), refused("a part is empty"))
	return rows
}
