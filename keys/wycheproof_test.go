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

func TestWycheproofKeySets(t *testing.T) {
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
