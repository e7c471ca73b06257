package integration

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"strings"
	"testing"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// J13, J14, J15: extensions of the header, none of which is understood.
func criticalRows(r *jwtRows, _ testing.TB) rowList {
	var rows rowList
	for member, why := range map[string]string{
		`"crit":[]`:                                "crit",
		`"crit":["zz"]`:                            "crit",
		`"crit":["alg"]`:                           "crit",
		`"crit":null`:                              "crit",
		`"crit":"zz","zz":1`:                       "crit",
		`"crit":["zz"],"zz":1`:                     "crit",
		`"crit":["b64"],"b64":true`:                "crit",
		`"crit":["b64"],"b64":false`:               "crit",
		`"crit":["exp"],"exp":9999999999`:          "crit",
		`"crit":["` + mark + `"],"` + mark + `":1`: "crit",
		`"b64":false`:                              "b64",
		`"b64":true`:                               "b64",
	} {
		head := `{"alg":"EdDSA","kid":"ed",` + member + `}`
		rows.add("J13-J15 "+member, "/a", jws(head, rowClaims(), signEd(r.keys.ed)), refused("header with "+why))
	}
	for _, raw := range []string{`{"sub":"admin"}`, `{"sub":"admin","iss":"a.b"}`, "admin"} {
		for _, critical := range []string{"", `,"crit":["b64"]`} {
			input := b64(`{"alg":"EdDSA","kid":"ed","b64":false`+critical+`}`) + "." + raw
			token := input + "." + b64(signEd(r.keys.ed)([]byte(input)))
			want := refused("not canonical base64url")
			switch {
			case strings.Contains(raw, "."):
				want = refused("not three parts")
			case raw == "admin":
				want = refused("") // which of both is seen first does not matter
			}
			rows.add("J15 raw payload "+raw+critical, "/a", token, want)
		}
	}
	return rows
}

// J17, J18: the name of the algorithm.
func algorithmRows(r *jwtRows, _ testing.TB) rowList {
	good := r.ed()
	kept := decoded(r.T, good[strings.LastIndex(good, ".")+1:])
	const notText, unknown, spelling = "without a text alg", "none, or unknown", "alg in another spelling"
	var rows rowList
	for alg, why := range map[string]string{
		`"alg":"none",`: unknown, `"alg":"None",`: unknown, `"alg":"NONE",`: unknown, `"alg":"nOnE",`: unknown, `"alg":"none ",`: unknown,
		`"alg":"",`: unknown, `"alg":"eddsa",`: unknown, `"alg":"ES256K",`: unknown, `"alg":"Ed25519",`: unknown, `"alg":"` + mark + `",`: unknown,
		`"alg":null,`: notText, ``: notText, `"alg":1,`: notText, `"alg":["EdDSA"],`: notText, `"alg":{"alg":"EdDSA"},`: notText, `"alg":true,`: notText,
		`"Alg":"EdDSA",`: spelling, `"ALG":"EdDSA",`: spelling, `"alg":"none","Alg":"EdDSA",`: spelling,
		`"alg":"EdDSA","alg":"none",`: "stands twice", `"alg":"none","alg":"EdDSA",`: "stands twice", `"alg":"EdDSA","alg":"EdDSA",`: "stands twice",
		`"alg":"EdDSA","\u0061lg":"none",`: "stands twice",
	} {
		head := `{` + alg + `"kid":"ed"}`
		for name, sign := range map[string]signer{
			"signed": signEd(r.keys.ed), "signature of another": gives(kept), "garbage": gives([]byte("x")),
		} {
			rows.add("J17-J18 "+alg+" "+name, "/a", jws(head, rowClaims("sub", `"admin"`), sign), refused(why))
		}
		rows.add("J17 "+alg+" unsigned", "/a", jws(head, rowClaims(), gives(nil)), refused("a part is empty"))
		rows.add("J17 "+alg+" with a secret", "/hs", jws(head, rowClaims(), harness.HS256(rowSecret).Sign), refused(why))
	}
	// Readers that fold case would take this for "none".
	head := `{"Alg":"none","alg":"EdDSA","kid":"ed"}`
	rows.add("J18 Alg beside alg", "/a", jws(head, rowClaims(), signEd(r.keys.ed)), refused(spelling))
	return rows
}

// J19: what a token says to be.
func typRows(r *jwtRows, _ testing.TB) rowList {
	other := refused("typ is that of a token for something else")
	both, usual := [2]outcome{accepted("alice"), accepted("alice")}, [2]outcome{accepted("alice"), other}
	neither := [2]outcome{other, other}
	var rows rowList
	for typ, want := range map[string][2]outcome{ // usually, and where at+jwt is asked for
		``: usual, `,"typ":"JWT"`: usual, `,"typ":"jwt"`: usual, `,"typ":"application/jwt"`: usual,
		`,"typ":"at+jwt"`: both, `,"typ":"AT+JWT"`: both, `,"typ":"application/at+jwt"`: both,
		`,"typ":"dpop+jwt"`: neither, `,"typ":"secevent+jwt"`: neither, `,"typ":"logout+jwt"`: neither, `,"typ":"application/logout+jwt"`: neither,
		`,"typ":"JOSE"`: neither, `,"typ":"JOSE+JSON"`: neither, `,"typ":"text/at+jwt"`: neither, `,"typ":"at+jwt "`: neither,
		`,"typ":""`: neither, `,"typ":null`: neither, `,"typ":["at+jwt"]`: neither, `,"typ":"` + mark + `"`: neither,
	} {
		token := jws(`{"alg":"EdDSA","kid":"ed"`+typ+`}`, rowClaims(), signEd(r.keys.ed))
		rows.add("J19 usual"+typ, "/a", token, want[0])
		rows.add("J19 typ at+jwt"+typ, "/typ", token, want[1])
	}
	return rows
}

// hmacs are the algorithms of shared secrets.
var hmacs = map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}

func signHMAC(alg string, secret []byte) signer {
	return func(input []byte) []byte {
		mac := hmac.New(hmacs[alg], secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

// J20, J21: public keys are no secrets, in whatever form they are known.
func confusionRows(r *jwtRows, t testing.TB) rowList {
	k := r.keys
	forms := map[string][][]byte{"": {{0}}}
	for kid, public := range map[string]any{"rs": &k.rsa.PublicKey, "any": &k.any.PublicKey, "es": &k.es.PublicKey, "ed": k.ed.Public()} {
		text := harness.PublicPEM(t, public)
		block, _ := pem.Decode([]byte(text))
		bare := strings.TrimSuffix(text, "\n")
		forms[kid] = [][]byte{
			[]byte(text), []byte(bare), []byte(strings.ReplaceAll(text, "\n", "\r\n")), []byte(text + "\n"), []byte(" " + text), []byte(bare + " "),
			[]byte(strings.ReplaceAll(bare, "\n", "")), block.Bytes, []byte(base64.StdEncoding.EncodeToString(block.Bytes)),
		}
	}
	for kid, key := range map[string]*big.Int{"rs": k.rsa.N, "any": k.any.N} {
		forms[kid] = append(forms[kid], key.Bytes(), []byte(b64(key.Bytes())), []byte(jwkRSA(kid, "", key, 65537)))
	}
	der := x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)
	forms["rs"] = append(forms["rs"], der, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der}))
	x, y := pointOf(&k.es.PublicKey)
	point := append(append([]byte{4}, x...), y...)
	forms["es"] = append(forms["es"], x, point[1:], point, []byte(b64(x)), []byte(jwkEC("es", "", &k.es.PublicKey)))
	public := decoded(t, b64(k.ed[32:]))
	forms["ed"] = append(forms["ed"], public, []byte(b64(public)), []byte(jwkEd("ed", "", k.ed)))
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, &k.es.PublicKey, k.es))
	forms["es"] = append(forms["es"], certificate, []byte(base64.StdEncoding.EncodeToString(certificate)))

	var rows rowList
	for kid, secrets := range forms {
		for i, secret := range secrets {
			for alg := range hmacs {
				token := jws(fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, alg, kid), rowClaims("sub", `"admin"`), signHMAC(alg, secret))
				for _, site := range []string{"/a", "/pem", "/two"} {
					why := "no key fits, for algorithm " + alg
					rows.add(fmt.Sprintf("J20-J21 %s with form %d of key '%s' at %s", alg, i, kid, site), site, token, refused(why))
				}
			}
		}
	}
	return rows
}

// commonSecrets are some that tutorials and frameworks have made known.
var commonSecrets = []string{
	"", " ", "\n", "\x00", "secret", "Secret", "SECRET", "secret\n", "password", "changeme", "change-me", "123456", "12345678", "qwerty", "admin",
	"test", "key", "jwt", "token", "default", "root", "letmein", "mysecret", "my-secret", "my_secret_key", "secretkey", "secret-key", "secret_key",
	"your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret", "a-string-secret-at-least-256-bits-long", "supersecret", "super-secret",
	"supersecretkey", "jwtsecret", "jwt-secret", "jwt_secret", "JWT_SECRET", "shhhhh", "shared-secret", "signing-key", "private", "django-insecure",
	"keyboard cat", "AllYourBase", "gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", "ROW_SECRET", "{env.ROW_SECRET}", rowSecret + "\n", rowSecret[:32],
	strings.ToUpper(rowSecret), issuerA, "api", "alice", "00000000000000000000000000000000",
}

// J22: secrets that somebody may guess.
func guessRows(_ *jwtRows, _ testing.TB) rowList {
	guesses := append([]string{strings.Repeat("a", 1<<20), strings.Repeat("\x00", 32), strings.Repeat("\x00", 64)}, commonSecrets...)
	var rows rowList
	for i, guess := range guesses {
		token := jws(headHS, rowClaims("sub", `"admin"`), harness.HS256(guess).Sign)
		name := fmt.Sprintf("J22 guess %d, %.20q", i, guess)
		rows.add(name, "/hs", token, refused("signature does not fit"))
		other := jws(headHS, rowClaims("iss", `"hs"`), harness.HS256(guess).Sign)
		rows.add(name+", one of several", "/two", other, refused("signature does not fit"))
	}
	good := jws(headHS, rowClaims("iss", `"hs"`), harness.HS256(rowSecret).Sign)
	rows.add("J22 the secret itself", "/two", good, accepted("alice"))
	return rows
}

// J23 to J26: header, key and list must agree.
func familyRows(r *jwtRows, _ testing.TB) rowList {
	k, claims := r.keys, rowClaims()
	type try struct {
		site, alg, kid string
		sign           signer
		want           outcome
	}
	noKey := func(alg string) outcome { return refused("no key fits, for algorithm " + alg) }
	notHere := func(alg string) outcome { return refused("algorithm " + alg + " is not allowed here") }
	var rows rowList
	for name, c := range map[string]try{
		"J23 RS256, EC key":                  {"/a", "RS256", "es", signEC(k.es), noKey("RS256")},
		"J23 ES256, RSA key":                 {"/a", "ES256", "rs", signRSA(k.rsa), noKey("ES256")},
		"J23 PS256, key for RS256":           {"/a", "PS256", "rs", signPSS(k.rsa, 32), noKey("PS256")},
		"J23 ES384, P-256 key":               {"/a", "ES384", "es", signEC(k.es), noKey("ES384")},
		"J23 ES256, P-384 key":               {"/a", "ES256", "es384", signEC(k.es384), noKey("ES256")},
		"J23 ES256, P-384 key that is so":    {"/a", "ES256", "es384 for ES256", signEC(k.es384), noKey("ES256")},
		"J23 ES384, P-384 key for ES256":     {"/a", "ES384", "es384 for ES256", signEC(k.es384), noKey("ES384")},
		"J23 EdDSA, X25519 key":              {"/a", "EdDSA", "x25519", signEd(k.ed), noKey("EdDSA")},
		"J23 EdDSA, EC key":                  {"/a", "EdDSA", "es", signEd(k.ed), noKey("EdDSA")},
		"J24 HS256, key without alg":         {"/a", "HS256", "any", signHMAC("HS256", k.any.N.Bytes()), noKey("HS256")},
		"J24 PS512, key without alg":         {"/a", "PS512", "any", signPSS512(k.any), accepted("alice")},
		"J24 PS256, key without alg":         {"/a", "PS256", "any", signPSS(k.any, 32), accepted("alice")},
		"J24 RS256, key without alg":         {"/a", "RS256", "any", signRSA(k.any), accepted("alice")},
		"J24 none, key without alg":          {"/a", "none", "any", signRSA(k.any), refused("none, or unknown")},
		"J24 RS512 over RS256's":             {"/a", "RS512", "any", signRSA(k.any), refused("signature does not fit")},
		"J24 PS256, list of RS256":           {"/rs", "PS256", "any", signPSS(k.any, 32), notHere("PS256")},
		"J24 HS256, list of RS256":           {"/rs", "HS256", "any", signHMAC("HS256", k.any.N.Bytes()), notHere("HS256")},
		"J25 RS512, key for RS256":           {"/a", "RS512", "rs", signRSA(k.rsa), noKey("RS512")},
		"J25 HS256, key for RS256":           {"/a", "HS256", "rs", signHMAC("HS256", k.rsa.N.Bytes()), noKey("HS256")},
		"J25 HS512, secret for HS256":        {"/hs", "HS512", "", signHMAC("HS512", []byte(rowSecret)), noKey("HS512")},
		"J25 ES256, PEM for ES256":           {"/es", "ES256", "", signEC(k.es), accepted("alice")},
		"J25 EdDSA, PEM for ES256":           {"/es", "EdDSA", "", signEd(k.ed), noKey("EdDSA")},
		"J26 RS256, list of RS256":           {"/rs", "RS256", "rs", signRSA(k.rsa), accepted("alice")},
		"J26 good ES256, list of RS256":      {"/rs", "ES256", "es", signEC(k.es), notHere("ES256")},
		"J26 good EdDSA, list of RS256":      {"/rs", "EdDSA", "ed", signEd(k.ed), notHere("EdDSA")},
		"J26 good ES256, secrets only":       {"/hs", "ES256", "es", signEC(k.es), noKey("ES256")},
		"J24 unknown kind of key in the set": {"/a", "EdDSA", "later", signEd(k.ed), noKey("EdDSA")},
	} {
		token := jws(fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, c.alg, c.kid), claims, c.sign)
		rows.add(name, c.site, token, c.want)
	}
	return rows
}
