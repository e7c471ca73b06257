package wire

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// real is a session that another language has written (testdata/make), and what
// is in it.
type real struct {
	Name    string          `json:"name"`
	Decoder string          `json:"decoder"`
	Value   []byte          `json:"value"`
	Want    json.RawMessage `json:"want"`
}

func reals(t testing.TB) []real {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	require.NoError(t, err)
	require.Len(t, files, 3)
	var all []real
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var r real
			require.NoError(t, json.Unmarshal([]byte(line), &r))
			all = append(all, r)
		}
	}
	return all
}

func decoderNamed(name string) Decoder {
	return map[string]Decoder{"django": Python, "php": PHP, "rails": Rack(time.Now), "gob": Gob, "json": JSON}[name]
}

func TestWhatOtherLanguagesWriteIsRead(t *testing.T) {
	t.Parallel()
	for _, r := range reals(t) {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			session, err := decoderNamed(r.Decoder)(r.Value)
			require.NoError(t, err)
			got, err := json.Marshal(session)
			require.NoError(t, err)
			assert.Equal(t, exactly(t, r.Want), exactly(t, got))
		})
	}
}

// exactly reads JSON with all digits of its numbers. 1 and 1.0 are alike.
func exactly(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var value any
	require.NoError(t, d.Decode(&value))
	return tidy(value)
}

func tidy(value any) any {
	switch v := value.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
				return json.Number(strconv.FormatInt(int64(f), 10))
			}
			return f
		}
		return v
	case map[string]any:
		for name, item := range v {
			v[name] = tidy(item)
		}
	case []any:
		for i, item := range v {
			v[i] = tidy(item)
		}
	}
	return value
}
