package wire

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The types that an application might keep, some with encodings of their own.
type (
	gobRole    struct{ Name string }
	gobAccount struct {
		ID     int64
		Name   string
		Roles  []gobRole
		Parent *gobAccount
		Tags   map[string]int
		Pair   [2]string
		Extra  any
		Raw    []byte
		Since  time.Time
	}
	UUID    [16]byte
	gobText string
)

func (u UUID) MarshalBinary() ([]byte, error)     { return u[:], nil }
func (u *UUID) UnmarshalBinary(data []byte) error { copy(u[:], data); return nil }
func (g gobText) MarshalText() ([]byte, error)    { return []byte(g), nil }
func (g *gobText) UnmarshalText(text []byte) error {
	*g = gobText(text)
	return nil
}

func gobbed(t testing.TB, value any) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, gob.NewEncoder(&out).Encode(value))
	return out.Bytes()
}

func init() {
	for _, value := range []any{gobAccount{}, UUID{}, gobText(""), map[string]any{}, []any{}, map[int]string{}, time.Time{}, []string{}, complex(1, 2), gobRole{}, []gobRole{}} {
		gob.Register(value)
	}
}

// What encoding/gob writes is read without its types being known.
func TestGobsOfAllTypesAreRead(t *testing.T) {
	t.Parallel()
	since := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	account := gobAccount{
		ID: -77, Name: "zoë", Roles: []gobRole{{"a"}, {"b"}}, Parent: &gobAccount{ID: 1, Tags: map[string]int{"x": 1}},
		Pair: [2]string{"l", "r"}, Extra: []any{1, "two", nil, gobRole{"c"}}, Raw: []byte{0, 255}, Since: since,
	}
	numbers := map[string]any{
		"min": int64(math.MinInt64), "max": int64(math.MaxInt64), "umax": uint64(math.MaxUint64), "zero": 0, "neg": -1, "byte": uint8(200),
		"float": 1.5, "f32": float32(0.25), "huge": 1e300, "nan": math.NaN(), "inf": math.Inf(1), "true": true, "false": false, "c": complex(1, 2),
	}
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"numbers": {numbers, `{"min":-9223372036854775808,"max":9223372036854775807,"umax":18446744073709551615,"zero":0,"neg":-1,"byte":200,
			"float":1.5,"f32":0.25,"huge":1e300,"nan":{},"inf":{},"true":true,"false":false,"c":{}}`},
		"a struct": {account, `{"ID":-77,"Name":"zoë","Roles":[{"Name":"a"},{"Name":"b"}],"Parent":{"ID":1,"Pair":["",""],"Tags":{"x":1}},
			"Pair":["l","r"],"Extra":[1,"two",null,{"Name":"c"}],"Raw":"AP8=","Since":"AQAAAA7dynjZAAAAAP//"}`},
		"structs in a map": {map[string]any{"user": &account, "n": 1}, `{"n":1,"user":{"ID":-77,"Name":"zoë","Roles":[{"Name":"a"},{"Name":"b"}],"Parent":{"ID":1,"Pair":["",""],"Tags":{"x":1}},
			"Pair":["l","r"],"Extra":[1,"two",null,{"Name":"c"}],"Raw":"AP8=","Since":"AQAAAA7dynjZAAAAAP//"}}`},
		"own encodings": {
			map[string]any{"id": UUID{0x6f, 0x96, 0x19, 0xff, 0x8b, 0x86, 0xd0, 0x11, 0xb4, 0x2d, 0, 0xc0, 0x4f, 0xc9, 0x64, 0xff}, "text": gobText("t"), "z": 1},
			`{"id":"6f9619ff-8b86-d011-b42d-00c04fc964ff","text":"t","z":1}`,
		},
		"keys that are no text": {map[any]any{"a": 1, 7: "b", 1.5: "dropped", true: "dropped"}, `{"a":1,"7":"b"}`},
		"keys that are numbers": {map[int]string{1: "a", -2: "b"}, `{"1":"a","-2":"b"}`},
		"deep": {
			map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": []string{"d"}}, map[int]string{3: "x"}}}},
			`{"a":{"b":[{"c":["d"]},{"3":"x"}]}}`,
		},
		"nothing": {map[string]any{}, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := gobbed(t, c.value)
			session, err := Gob(data)
			require.NoError(t, err)
			got, err := json.Marshal(session)
			require.NoError(t, err)
			assert.JSONEq(t, c.want, string(got))
			for i := range data {
				_, err := Gob(data[:i])
				require.Error(t, err, i)
			}
			_, err = Gob(append(data, 0))
			require.Error(t, err)
		})
	}
}

func TestS45CompressedSessionsAreRead(t *testing.T) {
	t.Parallel()
	for name, session := range compressedSessions(t) {
		got, err := Python(session)
		require.NoError(t, err, name)
		assert.Equal(t, "1", got["_auth_user_id"], name)
		for i := 1; i < len(session); i++ {
			_, err := Python(session[:i])
			require.Error(t, err, "%s cut at %d", name, i)
		}
		_, err = Python(append(bytes.Clone(session), 'x'))
		require.Error(t, err, "%s with more behind", name)
	}
}
