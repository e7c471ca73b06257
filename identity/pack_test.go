package identity

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPackedIdentityIsTheSame(t *testing.T) {
	t.Parallel()
	deep := any("end")
	for range maxPacked - 2 {
		deep = []any{deep}
	}
	for name, who := range map[string]Identity{
		"id":     {ID: "alice"},
		"all":    {ID: "ålice", Name: "Alice\nL", Email: "a@b", Groups: []string{"staff", "sales"}, Scopes: []string{"read", "write"}, Method: "jwt", Expires: time.Unix(1_800_000_000, 5), AuthTime: time.Unix(0, 0)},
		"groups": {ID: "a", Groups: []string{"a,b", "", "50%", " x"}},
		"times":  {ID: "a", Expires: time.Unix(math.MaxInt32*1000, 999_999_999), AuthTime: time.Unix(-5, 1)},
		"claims": {ID: "a", Claims: map[string]any{
			"nil": nil, "yes": true, "no": false, "text": "x", "number": json.Number("1.50"), "int": -7, "int64": int64(math.MinInt64),
			"uint64": uint64(math.MaxUint64), "float": 1.5, "list": []any{"a", []any{}, map[string]any{}}, "": map[string]any{"k": map[string]any{"l": 1}},
		}},
		"deep": {ID: "a", Claims: map[string]any{"deep": deep}},
	} {
		packed, err := Pack([]byte("before"), &who)
		require.NoError(t, err, name)
		var got Identity
		require.NoError(t, Unpack(strings.TrimPrefix(string(packed), "before"), &got), name)
		assert.Equal(t, JoinList(who.Groups), got.joinedGroups(), name)
		for claim, value := range who.Claims {
			read, ok := got.Claim(Path{claim})
			assert.True(t, ok, name)
			assert.Equal(t, value, read, name)
		}
		assert.Empty(t, got.packed)
		got.joined = ""
		assert.True(t, who.Expires.Equal(got.Expires) && who.AuthTime.Equal(got.AuthTime), name)
		got.Expires, got.AuthTime = who.Expires, who.AuthTime
		assert.Equal(t, who, got, name)
	}
}

func TestWhatCannotBePackedIsSaid(t *testing.T) {
	t.Parallel()
	deep := any("end")
	for range maxPacked {
		deep = []any{deep}
	}
	for _, value := range []any{[]byte("x"), time.Now(), struct{}{}, int32(1), deep, map[string]any{"a": []any{[]string{"x"}}}} {
		_, err := Pack(nil, &Identity{ID: "a", Claims: map[string]any{"x": value}})
		require.Error(t, err, "%T", value)
	}
}

func TestTornPackIsSaid(t *testing.T) {
	t.Parallel()
	who := Identity{ID: "alice", Groups: []string{"a,b"}, Scopes: []string{"s"}, Expires: time.Unix(1e9, 1), Claims: map[string]any{"k": []any{"v"}}}
	packed, err := Pack(nil, &who)
	require.NoError(t, err)
	claims, err := packValue(nil, who.Claims, maxPacked)
	require.NoError(t, err)
	for end := range len(packed) - len(claims) {
		require.Error(t, Unpack(string(packed[:end]), new(Identity)), "%d", end)
	}
	for end := len(packed) - len(claims); end < len(packed); end++ {
		var got Identity
		require.NoError(t, Unpack(string(packed[:end]), &got))
		_, ok := got.Claim(Path{"k"})
		require.False(t, ok, "%d", end)
	}
}

func FuzzUnpack(f *testing.F) {
	packed, _ := Pack(nil, &Identity{ID: "alice", Groups: []string{"a", "b"}, Claims: map[string]any{"k": []any{1, "v", 1.5}}})
	f.Add(string(packed))
	f.Fuzz(func(_ *testing.T, packed string) {
		var who Identity
		if Unpack(packed, &who) == nil {
			who.Claim(Path{"k", "0"})
		}
	})
}

func BenchmarkUnpack(b *testing.B) {
	packed, err := Pack(nil, &Identity{
		ID: "4711", Name: "Alice Liddell", Email: "alice@example.com", Groups: []string{"staff", "sales"},
		Expires: time.Unix(1_800_000_000, 0), Claims: map[string]any{"a": "b"},
	})
	require.NoError(b, err)
	text := string(packed)
	b.ReportAllocs()
	var who Identity
	for b.Loop() {
		if Unpack(text, &who) != nil {
			b.Fatal()
		}
	}
	b.ReportMetric(float64(len(text)), "B/identity")
}
