package jwt

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

const (
	isInvalid = "Token is invalid"
	isExpired = "Token is expired"
)

func TestGoodTokenOfEachAlgorithmIsAccepted(t *testing.T) {
	t.Parallel()
	for _, alg := range keys.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			value := secret
			if !isSecret(alg) {
				value = keyFile(t, alg)
			}
			a := ready(t, "jwt {\n key "+alg+" "+value+"\n}")
			who, err := ask(t, a, token(alg, nil))
			require.NoError(t, err)
			assert.Equal(t, "alice", who.ID)
			assert.Equal(t, "jwt", who.Method)

			for _, other := range keys.Algorithms() {
				if other == alg {
					continue
				}
				_, err := ask(t, a, token(other, nil))
				assert.Equal(t, authenticators.CodeNotValid, refusal(t, err).Code, "a good token by %s", other)
			}
		})
	}
}

// RFC 7515, appendices A.1 and A.3: line breaks within the JSON, and a claim
// with a URL as its name.
func TestExamplesOfTheRFCAreAccepted(t *testing.T) {
	t.Parallel()
	const claims = ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	for name, c := range map[string]struct{ key, token string }{
		"A.1": {
			"key HS256 `" + `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}` + "`",
			"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" + claims + "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		},
		"A.3": {
			"key ES256 `" + `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}` + "`",
			"eyJhbGciOiJFUzI1NiJ9" + claims + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ready(t, "jwt {\n"+c.key+"\nuser iss\n}")
			a.now = func() time.Time { return time.Unix(1300819379, 0) }
			who, err := ask(t, a, c.token)
			require.NoError(t, err)
			assert.Equal(t, "joe", who.ID)
			assert.Equal(t, true, who.Claims["http://example.com/is_root"])
		})
	}
}

func TestTokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	// Claims whose base64url holds both - and _, and a signature with bits to spare.
	good := token("HS256", object{"name": "\u00ff\u00fe\u00ff???>>>~~~"})
	_, err := ask(t, a, good)
	require.NoError(t, err, "the baseline")
	require.Contains(t, good, "-")
	require.Contains(t, good, "_")
	parts := strings.Split(good, ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	spare := func(part string) string { // another last character, the same bytes
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, part[len(part)-1])
		other := part[:len(part)-1] + string(alphabet[last+1])
		require.Equal(t, must(base64.RawURLEncoding.DecodeString(part)), must(base64.RawURLEncoding.DecodeString(other)))
		return other
	}
	for name, value := range map[string]string{
		"padding":               good + "=",
		"padding twice":         good + "==",
		"padded header":         join(parts[0]+"=", parts[1], parts[2]),
		"padded claims":         join(parts[0], parts[1]+"==", parts[2]),
		"plus":                  strings.ReplaceAll(good, "-", "+"),
		"slash":                 strings.ReplaceAll(good, "_", "/"),
		"unused bits":           join(parts[0], parts[1], spare(parts[2])),
		"line break at the end": good + "\n",
		"return at the end":     good + "\r",
		"blank at the end":      good + " ",
		"blank at the start":    " " + good,
		"tab":                   good[:9] + "\t" + good[9:],
		"line break inside":     good[:9] + "\n" + good[9:],
		"break in signature":    good[:len(good)-4] + "\r\n" + good[len(good)-4:],
		"NUL":                   good + "\x00",
		"not ASCII":             good + "é",
		"percent":               strings.Replace(good, ".", "%2E", 1),
		"two parts":             join(parts[0], parts[1]),
		"no signature":          join(parts[0], parts[1], ""),
		"four parts":            good + ".AAAA",
		"four, the last empty":  good + ".",
		"no header":             join("", parts[1], parts[2]),
		"detached":              join(parts[0], "", parts[2]),
		"empty parts":           "..",
		"one part":              parts[1],
		"nothing":               "",
		"dots":                  strings.Repeat(".", 8000),
		"signature cut":         good[:len(good)-1],
		"HMAC of 16 bytes":      join(parts[0], parts[1], encode(must(base64.RawURLEncoding.DecodeString(parts[2]))[:16])),
		"flattened JSON":        fmt.Sprintf(`{"protected":"%s","payload":"%s","signature":"%s"}`, parts[0], parts[1], parts[2]),
		"general JSON":          fmt.Sprintf(`{"payload":"%s","signatures":[{"protected":"%s","signature":"%s"}]}`, parts[1], parts[0], parts[2]),
		"bare claims":           `{"sub":"alice","exp":9999999999}`,
		"quoted":                `"` + good + `"`,
		"too long":              token("HS256", object{"x": strings.Repeat("x", defaultMaxSize)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := a.Verify(t.Context(), authenticators.Credential{Value: authenticators.Secret(value)})
			assert.Equal(t, isInvalid, refusal(t, err).Messages[0].Message)
		})
	}
}

func TestEncryptedTokenIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA", encode([]byte(`{"alg":"PBES2-HS256+A128KW","p2c":1000000000}`)) + ".A.A.A.A", "....",
	} {
		_, err := ask(t, withSecret(t), value)
		require.ErrorContains(t, refusal(t, err).Cause, "JWE")
	}
}

func TestECDSATokenOfEitherSpellingIsAccepted(t *testing.T) {
	t.Parallel()
	a := ready(t, "jwt {\n key ES256 "+keyFile(t, "ES256")+"\n}")
	good := token("ES256", nil)
	dot := strings.LastIndexByte(good, '.')
	signature := must(base64.RawURLEncoding.DecodeString(good[dot+1:]))
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	for _, value := range []string{good, good[:dot+1] + encode(signature)} {
		_, err := ask(t, a, value)
		require.NoError(t, err)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	evil := `{"kty":"oct","k":"` + encode([]byte(secret)) + `"}`
	for name, c := range map[string]struct {
		header string
		good   bool
	}{
		"plain":                 {`{"alg":"HS256"}`, true},
		"JWT":                   {`{"alg":"HS256","typ":"JWT"}`, true},
		"jwt":                   {`{"alg":"HS256","typ":"jwt"}`, true},
		"access token":          {`{"alg":"HS256","typ":"at+JWT"}`, true},
		"in full":               {`{"alg":"HS256","typ":"application/at+jwt"}`, true},
		"blanks in the JSON":    {" {\r\n\"alg\" : \"HS256\" } ", true},
		"a key of a stranger":   {`{"alg":"HS256","jwk":` + evil + `,"jku":"http://127.0.0.1:1/","x5u":"file:///etc/passwd","x5c":["AA"],"x5t":"A"}`, true},
		"kid that is unknown":   {`{"alg":"HS256","kid":"../../dev/null"}`, true}, // our key has no id, so theirs says nothing
		"empty kid":             {`{"alg":"HS256","kid":""}`, true},
		"unknown member":        {`{"alg":"HS256","zz":[1],"Zip":"DEF"}`, true},
		"alg in another case":   {`{"alg":"HS256","Alg":"none"}`, false},
		"KID":                   {`{"alg":"HS256","KID":"x"}`, false},
		"DPoP proof":            {`{"alg":"HS256","typ":"dpop+jwt"}`, false},
		"event":                 {`{"alg":"HS256","typ":"secevent+jwt"}`, false},
		"logout":                {`{"alg":"HS256","typ":"logout+jwt"}`, false},
		"empty typ":             {`{"alg":"HS256","typ":""}`, false},
		"typ null":              {`{"alg":"HS256","typ":null}`, false},
		"typ a list":            {`{"alg":"HS256","typ":["JWT"]}`, false},
		"crit empty":            {`{"alg":"HS256","crit":[]}`, false},
		"crit unknown":          {`{"alg":"HS256","crit":["zz"],"zz":1}`, false},
		"crit of b64":           {`{"alg":"HS256","crit":["b64"],"b64":true}`, false},
		"crit of exp":           {`{"alg":"HS256","crit":["exp"],"exp":1}`, false},
		"crit null":             {`{"alg":"HS256","crit":null}`, false},
		"b64 alone":             {`{"alg":"HS256","b64":false}`, false},
		"none":                  {`{"alg":"none"}`, false},
		"None":                  {`{"alg":"None"}`, false},
		"nOnE":                  {`{"alg":"nOnE"}`, false},
		"alg empty":             {`{"alg":""}`, false},
		"alg null":              {`{"alg":null}`, false},
		"alg a number":          {`{"alg":256}`, false},
		"alg a list":            {`{"alg":["HS256"]}`, false},
		"alg absent":            {`{}`, false},
		"alg in capitals":       {`{"ALG":"HS256"}`, false},
		"alg in lower case":     {`{"alg":"hs256"}`, false},
		"alg twice":             {`{"alg":"none","alg":"HS256"}`, false},
		"alg twice, other way":  {`{"alg":"HS256","alg":"none"}`, false},
		"alg twice, escaped":    {`{"alg":"HS256","\u0061lg":"HS256"}`, false},
		"alg of another length": {`{"alg":"HS512"}`, false},
		"alg of a public key":   {`{"alg":"RS256"}`, false},
		"kid a number":          {`{"alg":"HS256","kid":1}`, false},
		"kid null":              {`{"alg":"HS256","kid":null}`, false},
		"kid an object":         {`{"alg":"HS256","kid":{}}`, false},
		"kid a list":            {`{"alg":"HS256","kid":["a"]}`, false},
		"not JSON":              {`alg`, false},
		"empty text":            {`""`, false},
		"a list":                {`[{"alg":"HS256"}]`, false},
		"null":                  {`null`, false},
		"two objects":           {`{"alg":"HS256"}{}`, false},
		"byte order mark":       {"\ufeff" + `{"alg":"HS256"}`, false},
		"not UTF-8":             {"{\"alg\":\"HS256\",\"a\":\"\xff\"}", false},
		"NUL":                   {`{"alg":"HS256"}` + "\x00", false},
		"too deep":              {`{"alg":"HS256","a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := compact("HS256", c.header, string(must(json.Marshal(claimsWith(nil)))), []byte(secret))
			_, err := ask(t, a, value)
			if c.good {
				require.NoError(t, err)
				return
			}
			assert.Equal(t, isInvalid, refusal(t, err).Messages[0].Message)
		})
	}
}

// What is for all to know must never serve as a secret.
func TestPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	pkix := publicPEM(rsaKey().Public())
	pkcs1 := x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)
	modulus := rsaKey().N.Bytes()
	point := must(p256().PublicKey.Bytes())
	for name, c := range map[string]struct {
		alg    string
		secret []byte
	}{
		"PEM":              {"RS256", pkix},
		"PEM, no last LF":  {"RS256", bytes.TrimSpace(pkix)},
		"PEM with CRLF":    {"RS256", bytes.ReplaceAll(pkix, []byte("\n"), []byte("\r\n"))},
		"PKCS #1":          {"RS256", pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})},
		"DER":              {"RS256", must(x509.MarshalPKIXPublicKey(rsaKey().Public()))},
		"DER of PKCS #1":   {"RS256", pkcs1},
		"modulus":          {"RS256", modulus},
		"n":                {"RS256", []byte(encode(modulus))},
		"PS256":            {"PS256", pkix},
		"ES256":            {"ES256", publicPEM(p256().Public())},
		"point":            {"ES256", point},
		"EdDSA":            {"EdDSA", publicPEM(edKey().Public())},
		"bytes of Ed25519": {"EdDSA", edKey()[32:]},
		"certificate's DER": {"ES256", must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)},
			&x509.Certificate{SerialNumber: big.NewInt(1)}, p256().Public(), p256()))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ready(t, "jwt {\n key "+c.alg+" "+keyFile(t, c.alg)+"\n}")
			_, err := ask(t, a, token(c.alg, nil))
			require.NoError(t, err, "the baseline")
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				claims := string(must(json.Marshal(claimsWith(nil))))
				_, err := ask(t, a, compact(alg, `{"alg":"`+alg+`"}`, claims, c.secret))
				require.ErrorContains(t, refusal(t, err).Cause, "no key fits")
			}
		})
	}
}

func TestEmptyAndCommonSecretsNeverVerify(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	claims := string(must(json.Marshal(claimsWith(nil))))
	for _, guess := range []string{"", "secret", "your-256-bit-secret", "changeme", "null", strings.Repeat("\x00", 32)} {
		_, err := ask(t, a, compact("HS256", `{"alg":"HS256"}`, claims, []byte(guess)))
		assert.Equal(t, isInvalid, refusal(t, err).Messages[0].Message, guess)
	}
}

func TestKeyOfAWeakOrOtherKindIsNotUsed(t *testing.T) {
	t.Parallel()
	jwk := func(public *rsa.PublicKey, more string) string {
		return fmt.Sprintf(`{"kty":"RSA","n":"%s","e":"AQAB"%s}`, encode(public.N.Bytes()), more)
	}
	path := filepath.Join(t.TempDir(), "set.jwks")
	require.NoError(t, os.WriteFile(path, []byte(`{"keys":[`+strings.Join([]string{
		jwk(&rsaKey().PublicKey, `,"kid":"rs","alg":"RS256"`), jwk(&rsaKey().PublicKey, `,"kid":"enc","use":"enc"`),
		jwk(&rsaKey().PublicKey, `,"kid":"ops","key_ops":["encrypt"]`), jwk(&rsaKey().PublicKey, `,"kid":"any"`),
		`{"kty":"AKP","kid":"new"}`,
	}, ",")+`]}`), 0o600))
	a := ready(t, "jwt {\n jwks "+path+"\n}")
	limited := ready(t, "jwt {\n jwks "+path+"\n algorithms RS256 RS384\n}")
	for name, c := range map[string]struct {
		alg, kid      string
		good, limited bool
	}{
		"its own algorithm":  {"RS256", "rs", true, true},
		"another algorithm":  {"RS512", "rs", false, false},
		"padding of PSS":     {"PS256", "rs", false, false},
		"no alg in the key":  {"PS512", "any", true, false},
		"one of the list":    {"RS384", "any", true, true},
		"key for encryption": {"RS256", "enc", false, false},
		"key_ops":            {"RS256", "ops", false, false},
		"unknown kind":       {"RS256", "new", false, false},
		"unknown kid":        {"RS256", "zz", false, false},
		"no kid, one fits":   {"PS256", "", true, false},
		"no kid, two fit":    {"RS256", "", true, true},
	} {
		header := fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, c.alg, c.kid)
		value := compact(c.alg, header, string(must(json.Marshal(claimsWith(nil)))), rsaKey())
		_, err := ask(t, a, value)
		assert.Equal(t, c.good, err == nil, "%s: %v", name, err)
		_, err = ask(t, limited, value)
		assert.Equal(t, c.limited, err == nil, "%s, algorithms RS256 RS384: %v", name, err)
	}
}

func TestJ75EachBitOfATokenCounts(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	good := []byte(token("HS256", nil))
	for i := range good {
		for bit := range 8 {
			forged := slices.Clone(good)
			forged[i] ^= 1 << bit
			_, err := a.Verify(t.Context(), authenticators.Credential{Value: authenticators.Secret(forged)})
			require.Error(t, err, "byte %d, bit %d", i, bit)
		}
	}
}

func TestJ56E22RefusalsTellTheClientNothingOfTheSignature(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	forge := func(token string) string { return token[:len(token)-8] + "AAAAAAAA" }
	_, err := ask(t, a, forge(token("HS256", object{"exp": now.Unix() - 1})))
	assert.Equal(t, isInvalid, refusal(t, err).Messages[0].Message, "expired, but who says so?")
	_, err = ask(t, a, token("HS256", object{"exp": now.Unix() - 1}))
	rejected := refusal(t, err)
	assert.Equal(t, &authenticators.RejectedError{
		Code: "token_not_valid", Detail: "Given token not valid for any token type",
		Messages:  []authenticators.Message{{TokenClass: "AccessToken", TokenType: "access", Message: isExpired}},
		Challenge: `Bearer realm="api", error="invalid_token", error_description="Token is expired"`, Cause: rejected.Cause,
	}, rejected)
	require.EqualError(t, rejected.Cause, "expired")
}

func TestReasonsHoldNothingOfTheToken(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "audience api")
	for _, value := range []string{
		compact("HS256", `{"alg":"hunter2"}`, `{}`, []byte(secret)), compact("HS256", `{"alg":"HS256","typ":"hunter2"}`, `{}`, []byte(secret)),
		compact("HS256", `{"alg":"HS256","kid":"hunter2"}`, `{"exp":"hunter2"}`, []byte(secret)), tokenOf(`{"exp":1,"sub":"hunter2"}`),
		token("HS256", object{"aud": "hunter2"}), token("HS256", object{"sub": "hunter2\n"}), token("HS256", object{"token_type": "hunter2"}) + "A",
		"hunter2", "hunter2.hunter2.hunter2",
	} {
		_, err := ask(t, a, value)
		require.NotContains(t, refusal(t, err).Error(), "hunter2")
	}
}

func FuzzVerify(f *testing.F) {
	good := token("HS256", nil)
	for _, seed := range []string{
		good, good + "=", good[:40], "..", "....", "eyJhbGciOiJub25lIn0.e30.", tokenOf(`{}`), tokenOf(`{"exp":1e400}`), tokenOf(`{"exp":9999999999,"sub":1}`),
		tokenOf(`{"exp":9999999999,"sub":"a","aud":["x"],"scope":["a"],"groups":{"a":1},"email_verified":0}`), token("RS256", nil), strings.ToUpper(good),
	} {
		f.Add(seed)
	}
	a := withSecret(f)
	credentialOf := func(value string) authenticators.Credential {
		return authenticators.Credential{Value: authenticators.Secret(value)}
	}
	f.Fuzz(func(t *testing.T, value string) {
		who, err := a.Verify(t.Context(), credentialOf(value))
		if err != nil {
			refusal(t, err) // static keys are never unavailable
		} else if who.ID == "" {
			t.Fatal("an identity without an id")
		}
		// What was fuzzed as claims, signed: whatever it says, an id is needed.
		if who, err := a.Verify(t.Context(), credentialOf(tokenOf(value))); err != nil {
			refusal(t, err)
		} else if who.ID == "" || !json.Valid([]byte(value)) || !who.Expires.After(now) || claimIn(value, "sub") != who.ID {
			t.Fatalf("%q became %+v", value, who)
		}
	})
}

// claimIn is a text in JSON, as encoding/json reads it.
func claimIn(text, name string) string {
	var claims map[string]any
	_ = json.Unmarshal([]byte(text), &claims)
	value, _ := claims[name].(string)
	return value
}

// FuzzHeader signs any header with the one key that there is: only one that says so
// in plain words is taken.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		`{"alg":"HS256"}`, `{"alg":"HS256","typ":"JWT","kid":"x"}`, `{"alg":"none"}`, `{"alg":"HS256","alg":"none"}`, `{"ALG":"none","alg":"HS256"}`, `{"alg":"HS256","crit":["b64"],"b64":false}`,
		`{"alg":"RS256"}`, `{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}`, `{"\u0061lg":"HS256"}`, `{"alg":"HS256"}x`, `{"alg":"HS256","kid":null}`, `[]`, ``, `{"alg":["HS256"]}`,
		`{"alg":"HS256","crit":["x"],"x":1}`, `{"alg":"HS256","b64":true}`,
		`{"alg":"HS256","zip":"DEF"}`, `{"alg":"HS256","typ":"JOSE"}`, " {\"alg\" :\t\"HS256\"}\n",
	} {
		f.Add(seed)
	}
	a := withSecret(f)
	claims := string(must(json.Marshal(claimsWith(nil))))
	f.Fuzz(func(t *testing.T, header string) {
		who, err := a.Verify(t.Context(), authenticators.Credential{Value: authenticators.Secret(compact("HS256", header, claims, []byte(secret)))})
		if err != nil {
			refusal(t, err)
			return
		}
		var members map[string]any
		if json.Unmarshal([]byte(header), &members) != nil || members["alg"] != "HS256" || who.ID != "alice" {
			t.Fatalf("%q is taken", header)
		}
		for name, value := range members {
			switch strings.ToLower(name) {
			case "crit", "b64":
				t.Fatalf("%q is taken", header)
			case "alg", "kid", "typ":
				if _, ok := value.(string); !ok || strings.ToLower(name) != name {
					t.Fatalf("%q is taken", header)
				}
			}
		}
	})
}
