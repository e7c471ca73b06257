package jwt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/keys"
)

// checkForm is the part of a check that the payload has no part in: the form,
// the header and the signature. Most published examples sign no claims.
func checkForm(t *testing.T, jwk json.RawMessage, token string) error {
	t.Helper()
	a := withSecret(t)
	p, err := split(token)
	if err != nil {
		return err
	}
	h, err := a.readHeader(p.header)
	if err != nil {
		return err
	}
	loaded, err := keys.Read(jwk, "")
	if err != nil {
		return err
	}
	_, err = checkSignature(t.Context(), keys.Static(loaded.Keys), h, p)
	return err
}

// differently lists the vectors of Wycheproof that we answer otherwise, and why.
var differently = map[int]string{
	259: emptyPayload, 264: emptyPayload, 268: emptyPayload, 272: emptyPayload, 320: emptyPayload, 325: emptyPayload,
	346: otherAlg, 350: otherAlg,
	347: unknownAlg, 351: unknownAlg,
	367: noPadding, 370: noPadding,
	372: inserted, 373: inserted,
}

const (
	emptyPayload = "an empty payload holds no claims"
	otherAlg     = "the key's alg is PS256, and the token's PS384 (RFC 7517, section 4.4)"
	unknownAlg   = "the key's alg is ES521, which is none"
	noPadding    = "stands for a token with padding, but holds none: it is that of the valid ones"
	inserted     = "called valid, with a '?' in it that is to be skipped: a second spelling of one token"
)

func TestJ74WycheproofJWS(t *testing.T) {
	t.Parallel()
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Comment         string
			Public, Private json.RawMessage
			Tests           []struct {
				TCID            int
				Comment, Result string
				JWS             any
			}
		}
	}
	readJSON(t, "testdata/wycheproof/json_web_signature_test.json", &file)
	run := 0
	for _, group := range file.TestGroups {
		jwk := group.Public
		if jwk == nil {
			jwk = group.Private // a secret
		}
		for _, c := range group.Tests {
			run++
			token, isText := c.JWS.(string)
			if !isText {
				token = string(must(json.Marshal(c.JWS))) // the JSON serialisation
			}
			want := c.Result == "valid"
			if differently[c.TCID] != "" {
				want = !want
			}
			err := checkForm(t, jwk, token)
			assert.Equal(t, want, err == nil, "tcId %d, %s, %s: %v", c.TCID, group.Comment, c.Comment, err)
		}
	}
	assert.Equal(t, file.NumberOfTests, run)
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, to))
}

func TestJ01J74ExamplesOfRFC7520And8037(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"4_1.rsa_v15_signature":                 "",
		"4_2.rsa-pss_signature":                 "",
		"4_3.ecdsa_signature":                   "",
		"4_4.hmac-sha2_integrity_protection":    "",
		"4_5.signature_with_detached_content":   "empty",
		"4_6.protecting_specific_header_fields": "not three parts",
		"4_7.protecting_content_only":           "not three parts",
		"4_8.multiple_signatures":               "only signed ones are taken",
		"rfc7797_b64_false":                     "not canonical base64url",
		"rfc8037_ed25519":                       "",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			var example struct {
				Input  struct{ Key any }
				Output struct {
					Compact        string
					JSON, JSONFlat json.RawMessage
				}
			}
			readJSON(t, filepath.Join("testdata/cookbook", file+".json"), &example)
			token := example.Output.Compact
			if token == "" {
				token = string(example.Output.JSON)
			}
			err := checkForm(t, publicJWK(example.Input.Key), token)
			if want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// publicJWK takes the private members out of the first key.
func publicJWK(key any) json.RawMessage {
	if list, ok := key.([]any); ok {
		key = list[0]
	}
	members := key.(map[string]any)
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		delete(members, private)
	}
	return must(json.Marshal(members))
}

// TestJ01ExamplesOfRFC7515 checks those of its appendix A that sign claims, a
// second before they expire.
func TestJ01ExamplesOfRFC7515(t *testing.T) {
	t.Parallel()
	const claims = ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	for name, c := range map[string]struct{ jwk, header, signature string }{
		"A.1": {
			`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`,
			"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
			"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		},
		"A.2": {
			`{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`,
			"eyJhbGciOiJSUzI1NiJ9",
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		},
		"A.3": {
			`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9",
			"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := withSecret(t, "user iss")
			a.sets[""] = keys.Static(must(keys.Read([]byte(c.jwk), "")).Keys)
			a.now = func() time.Time { return time.Unix(1300819379, 0) }
			who, err := ask(t, a, c.header+claims+c.signature)
			require.NoError(t, err)
			assert.Equal(t, "joe", who.ID)
			a.now = func() time.Time { return time.Unix(1300819380, 0) }
			_, err = ask(t, a, c.header+claims+c.signature)
			assert.Equal(t, isExpired, refusal(t, err).Messages[0].Message)
		})
	}
}
