package keys

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Vectors that we answer otherwise than they ask, and why.
var ours = map[int]string{
	4: "two keys share an id, which they only should not (RFC 7517, section 4.5): both are tried",
}

func TestK08WycheproofKeySets(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/wycheproof/json_web_key_test.json")
	require.NoError(t, err)
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Comment         string
			Public, Private json.RawMessage
			Tests           []struct {
				TCID            int
				Comment, Result string
				JWS             string
			}
		}
	}
	require.NoError(t, json.Unmarshal(data, &file))
	run := 0
	for _, group := range file.TestGroups {
		set := group.Public
		if set == nil {
			set = group.Private // of secrets
		}
		for _, c := range group.Tests {
			run++
			err := verifyWith(t, set, c.JWS)
			want := c.Result == "valid"
			if reason, other := ours[c.TCID]; other {
				want = !want
				t.Logf("tcId %d: %s", c.TCID, reason)
			}
			assert.Equal(t, want, err == nil, "tcId %d, %s, %s: %v", c.TCID, group.Comment, c.Comment, err)
		}
	}
	assert.Equal(t, file.NumberOfTests, run)
}

// verifyWith checks the signature of a compact JWS with the keys of a set.
func verifyWith(t *testing.T, set []byte, jws string) error {
	t.Helper()
	parts := strings.Split(jws, ".")
	require.Len(t, parts, 3)
	var header struct{ Alg, Kid string }
	require.NoError(t, json.Unmarshal(b64(t, parts[0]), &header))
	loaded, err := Read(set, "")
	if err != nil {
		return err
	}
	found, err := Static(loaded.Keys).Find(t.Context(), header.Kid, header.Alg)
	for _, key := range found {
		if err = key.Verify(header.Alg, []byte(parts[0]+"."+parts[1]), b64(t, parts[2])); err == nil {
			return nil
		}
	}
	return err
}

// weakKeys are the vectors with keys that we take for nothing: RSA with an
// exponent of 3, and secrets of less than 32 bytes (RFC 7518, section 3.2).
var weakKeys = map[string]int{"RS256": 2, "HS256": 6}

// TestJ35J36J37J74WycheproofSignatures checks bare signatures, by algorithm.
func TestJ35J36J37J74WycheproofSignatures(t *testing.T) {
	t.Parallel()
	for name, alg := range map[string]string{
		"ecdsa_secp256r1_sha256_p1363": "ES256", "ecdsa_secp384r1_sha384_p1363": "ES384", "ecdsa_secp521r1_sha512_p1363": "ES512",
		"ed25519": "EdDSA", "hmac_sha256": "HS256", "rsa_signature_2048_sha256": "RS256", "rsa_pss_2048_sha256_mgf1_32": "PS256",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile("testdata/wycheproof/" + name + "_test.json")
			require.NoError(t, err)
			var file struct {
				NumberOfTests int
				TestGroups    []struct {
					PublicKeyPEM string
					TagSize      int
					Tests        []signatureVector
				}
			}
			require.NoError(t, json.Unmarshal(data, &file))
			run, weak := 0, 0
			for _, group := range file.TestGroups {
				for _, c := range group.Tests {
					run++
					key, err := keyOf(t, alg, group.PublicKeyPEM, unhex(t, c.Key))
					if err != nil {
						weak++
						continue
					}
					want := c.Result == "valid" && (group.TagSize == 0 || group.TagSize == 256) // RFC 7518, section 3.2: a tag is not cut
					err = key.Verify(alg, unhex(t, c.Msg), unhex(t, c.Sig+c.Tag))
					assert.Equal(t, want, err == nil, "tcId %d, %s", c.TCID, c.Comment)
				}
			}
			assert.Equal(t, file.NumberOfTests, run)
			assert.Equal(t, weakKeys[alg], weak)
		})
	}
}

// signatureVector is a message and its signature, in hex.
type signatureVector struct {
	TCID            int
	Comment, Result string
	Msg, Sig        string
	Key, Tag        string // of HMAC
}

func keyOf(t *testing.T, alg, public string, secret []byte) (*Key, error) {
	t.Helper()
	if public == "" {
		return NewKey("", alg, secret)
	}
	loaded, err := Read([]byte(public), alg)
	if err != nil {
		return nil, err
	}
	return loaded.Keys[0], nil
}
