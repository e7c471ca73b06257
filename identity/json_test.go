package identity

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestS34S35J12JSONTestSuite(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/JSONTestSuite/test_parsing/*.json")
	require.NoError(t, err)
	require.Len(t, files, 318)
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		agreesWithEncodingJSON(t, text)
		asClaim := []byte(`{"claim":` + string(text) + `}`)
		agreesWithEncodingJSON(t, asClaim)
		_, err = ParseClaims(asClaim)
		switch {
		case strings.HasPrefix(name, "n_"):
			require.Error(t, err, name)
		case strings.HasPrefix(name, "y_object_duplicated_key"):
			require.ErrorIs(t, err, errTwice, name)
		case strings.HasPrefix(name, "y_"):
			require.NoError(t, err, name)
		}
	}
}

func FuzzParseClaims(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,{"b":null}]}`, `{"a":1,"a":2}`, "{", `{"\ud800":1}`, `{"a":"\ud83d\ude00","b":-0.5e+7,"c":[],"d":{}}`, `{"\u0061":1,"a":2}`, " {\t}\r\n ",
		`{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "}", `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { agreesWithEncodingJSON(t, data) })
}

// agreesWithEncodingJSON demands that ParseClaims takes the JSON objects that
// encoding/json takes, but for those that break its further rules, and finds the
// same in them.
func agreesWithEncodingJSON(t *testing.T, data []byte) {
	t.Helper()
	got, err := ParseClaims(data)
	var want any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	valid := json.Valid(data) && decoder.Decode(&want) == nil
	_, object := want.(map[string]any)
	rules := json.NewDecoder(bytes.NewReader(data))
	rules.UseNumber()
	if !valid || !object || !utf8.Valid(data) || !keepsRules(rules, 0) {
		require.Error(t, err, "%q", data)
		require.Nil(t, got, "%q", data)
		return
	}
	require.NoError(t, err, "%q", data)
	require.Equal(t, want, any(got), "%q", data)
}

// keepsRules reports whether a value nests no deeper than it may, and has no
// member twice.
func keepsRules(d *json.Decoder, depth int) bool {
	token, err := d.Token()
	open, nested := token.(json.Delim)
	if err != nil || !nested {
		return err == nil
	}
	if depth == maxDepth {
		return false
	}
	names := make(map[json.Token]bool)
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil || names[name] {
				return false
			}
			names[name] = true
		}
		if !keepsRules(d, depth+1) {
			return false
		}
	}
	_, err = d.Token()
	return err == nil
}
