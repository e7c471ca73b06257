package wire

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestSessionsThatDjangoWroteAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Sessions {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			session, err := Python(c.Value)
			require.NoError(t, err)
			got, err := json.Marshal(session)
			require.NoError(t, err)
			assert.JSONEq(t, string(c.Decoded), string(got))
		})
	}
}

func deflate(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestWhatIsNoSessionIsRefused(t *testing.T) {
	t.Parallel()
	session := []byte(`{"a": 1}`)
	full := `{"a": "` + strings.Repeat("x", store.MaxValue-len(`{"a": ""}`)) + `"}`
	got, err := Python(deflate(t, []byte(full)))
	require.NoError(t, err, "64 KiB inflated are still read")
	require.Len(t, got, 1)

	for _, c := range []struct {
		name  string
		value []byte
	}{
		{"nothing", nil},
		{"a whole number, which Django keeps as text", []byte("5")},
		{"a pickled truth value", []byte("\x80\x05\x88.")},
		{"a list", []byte("[1]")},
		{"JSON cut off", []byte(`{"a": 1`)},
		{"JSON with more behind", []byte(`{"a": 1} x`)},
		{"a name that stands twice", []byte(`{"_auth_user_id": "1", "_auth_user_id": "2"}`)},
		{"JSON that nests too deep", []byte(strings.Repeat(`{"a":`, 30_000) + "1" + strings.Repeat("}", 30_000))},
		{"one byte more inflated than is read", deflate(t, []byte(" "+full))},
		{"a bomb", deflate(t, make([]byte, 64<<20))},
		{"compressed twice", deflate(t, deflate(t, session))},
		{"compressed and cut off", deflate(t, session)[:8]},
		{"compressed with a wrong checksum", append(deflate(t, session)[:len(deflate(t, session))-1], 0xff)},
		{"gzip cut off", []byte("\x1f\x8b\x08\x00")},
		{"Java's serialization", []byte("\xac\xed\x00\x05")},
		{"PHP's", []byte(`user_id|s:1:"1";`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Python(c.value)
			assert.Error(t, err)
		})
	}
}
