package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// golden are bytes that real Djangos wrote.
type golden struct {
	Sessions []struct {
		Name    string          `json:"name"`
		Value   []byte          `json:"value"`
		Decoded json.RawMessage `json:"decoded"`
	} `json:"sessions"`
	Protocols []struct {
		Protocol int             `json:"protocol"`
		Value    []byte          `json:"value"`
		Decoded  json.RawMessage `json:"decoded"`
	} `json:"protocols"`
	Nasty []struct {
		Protocol int               `json:"protocol"`
		Value    []byte            `json:"value"`
		MustFind map[string]string `json:"must_find"`
	} `json:"nasty"`
}

func readGolden(t testing.TB) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/django.json")
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(data, &g))
	require.NotEmpty(t, g.Sessions)
	require.NotEmpty(t, g.Protocols)
	require.NotEmpty(t, g.Nasty)
	return g
}

func TestPickleOfEachProtocolIsRead(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Protocols {
		t.Run(fmt.Sprint("protocol ", c.Protocol), func(t *testing.T) {
			t.Parallel()
			session, err := Pickle(c.Value)
			require.NoError(t, err)
			got, err := json.Marshal(session)
			require.NoError(t, err)
			assert.JSONEq(t, string(c.Decoded), string(got))
		})
	}
}

func TestUserIsFoundBesideObjectsOfAllKinds(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Nasty {
		t.Run(fmt.Sprint("protocol ", c.Protocol), func(t *testing.T) {
			t.Parallel()
			session, err := Pickle(c.Value)
			require.NoError(t, err)
			for name, want := range c.MustFind {
				assert.Equal(t, want, session[name], name)
			}
		})
	}
}

func TestPickledValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, pickle string
		want         any
	}{
		{"INT", "I-7\n.", int64(-7)},
		{"INT for true", "I01\n.", true},
		{"INT for false", "I00\n.", false},
		{"LONG", "L9007199254740993L\n.", int64(9007199254740993)},
		{"LONG beyond 64 bits", "L18446744073709551616L\n.", json.Number("18446744073709551616")},
		{"BININT negative", "J\xff\xff\xff\xff.", int64(-1)},
		{"BININT1", "K\xff.", int64(255)},
		{"BININT2", "M\x10\x0e.", int64(3600)},
		{"LONG1 empty", "\x8a\x00.", int64(0)},
		{"LONG1 negative", "\x8a\x01\x80.", int64(-128)},
		{"LONG4", "\x8b\x02\x00\x00\x00\xff\x00.", int64(255)},
		{"LONG1 beyond 64 bits", "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", json.Number("18446744073709551616")},
		{"FLOAT", "F2.5\n.", 2.5},
		{"BINFLOAT", "G\x40\x04\x00\x00\x00\x00\x00\x00.", 2.5},
		{"NONE", "N.", nil},
		{"NEWTRUE", "\x80\x02\x88.", true},
		{"STRING", "S'it\\'s'\n.", "it's"},
		{"STRING with bytes", "S'\\xff'\n.", []byte{0xff}},
		{"SHORT_BINSTRING", "U\x02ab.", "ab"},
		{"UNICODE, Latin-1 and escaped", "Vzo\xeb \\u20ac \\U0001f600\n.", "zoë € 😀"},
		{"UNICODE, a backslash before the escape", "V\\\\u0041\n.", `\\u0041`}, // as Python reads it
		{"BINUNICODE8", "\x8d\x01\x00\x00\x00\x00\x00\x00\x00a.", "a"},
		{"BINBYTES8", "\x8e\x01\x00\x00\x00\x00\x00\x00\x00a.", []byte("a")},
		{"BYTEARRAY8", "\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", []byte("a")},
		{"LIST", "(K\x01K\x02l.", []any{int64(1), int64(2)}},
		{"TUPLE", "(K\x01t.", []any{int64(1)}},
		{"TUPLE3", "K\x01K\x02K\x03\x87.", []any{int64(1), int64(2), int64(3)}},
		{"set", "\x8f(K\x01\x90.", []any{int64(1)}},
		{"frozen set", "(K\x01\x91.", []any{int64(1)}},
		{"APPEND", "]K\x01a.", []any{int64(1)}},
		{"DICT", "(U\x01aK\x01d.", map[string]any{"a": int64(1)}},
		{"SETITEM", "}U\x01aK\x01s.", map[string]any{"a": int64(1)}},
		{"a later key wins", "}(U\x01aK\x01U\x01aK\x02u.", map[string]any{"a": int64(2)}},
		{"a whole number as a key", "}K\x05K\x01s.", map[string]any{"5": int64(1)}},
		{"keys that are no text", "}(NK\x01)K\x02U\x01aK\x03u.", map[string]any{"a": int64(3)}},
		{"POP", "K\x01K\x020.", int64(1)},
		{"POP_MARK", "K\x01(K\x02K\x031.", int64(1)},
		{"DUP", "K\x012\x86.", []any{int64(1), int64(1)}},
		{"PUT and GET", "K\x07p3\n0g3\n.", int64(7)},
		{"BINPUT and BINGET", "K\x07q\x030h\x03.", int64(7)},
		{"LONG_BINPUT and LONG_BINGET", "K\x07r\x03\x00\x00\x000j\x03\x00\x00\x00.", int64(7)},
		{"filled after it was kept", "]q\x00K\x01a0h\x00.", []any{int64(1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := unpickle([]byte(c.pickle))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

// beside pickles a login beside a value that was pickled by somebody else.
func beside(value string) []byte {
	return []byte("\x80\x02}(U\x05owner" + "U\x0242" + "U\x04evil" + value + "u.")
}

func TestS40NothingInAPickleIsEverRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value string }{
		{"os.system by GLOBAL and REDUCE", "cos\nsystem\nU\x02id\x85R"},
		{"os.system by STACK_GLOBAL", "\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R"},
		{"INST", "(U\x02idios\nsystem\n"},
		{"OBJ", "(cos\nsystem\nU\x02ido"},
		{"NEWOBJ", "cos\nsystem\n)\x81"},
		{"NEWOBJ_EX", "cos\nsystem\n)}\x92"},
		{"BUILD", "cos\nsystem\n)R}U\x01aK\x01sb"},
		{"items of an object", "ccollections\nOrderedDict\n)R(U\x01aK\x01u"},
		{"appended to an object", "cx\ny\n)R(K\x01e"},
		{"PERSID", "Pid\n"},
		{"BINPERSID", "U\x02idQ"},
		{"EXT1", "\x82\x01"},
		{"EXT2", "\x83\x01\x00"},
		{"EXT4", "\x84\x01\x00\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			session, err := Pickle(beside(c.value))
			require.NoError(t, err)
			assert.Equal(t, map[string]any{"owner": "42", "evil": Opaque{}}, session)
		})
	}
}

func TestS40BrokenPickleIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, pickle string }{
		{"nothing", ""},
		{"no STOP", "N"},
		{"STOP alone", "."},
		{"two values", "NN."},
		{"an open mark", "(N."},
		{"bytes after STOP", "N.N"},
		{"unknown opcode", "\xffN."},
		{"buffers that travel apart", "\x97."},
		{"a protocol after 5", "\x80\x06N."},
		{"POP of nothing", "0N."},
		{"POP through a mark", "N(0."},
		{"SETITEM without a value", "}Ns."},
		{"an odd number of items", "}(Nu."},
		{"APPEND to a number", "K\x01K\x02a."},
		{"SETITEM of a list", "]NNs."},
		{"no mark", "}u."},
		{"BINGET of what was never kept", "h\x00."},
		{"PUT without a number", "Np-1\n."},
		{"a line without an end", "I1"},
		{"INT that is none", "Ix\n."},
		{"an escape cut off", "V\\u12\n."},
		{"an escape beyond Unicode", "V\\U00110000\n."},
		{"a string without quotes", "Sab\n."},
		{"no dictionary, cut in the middle", "}U\x05a."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := unpickle([]byte(c.pickle))
			assert.Error(t, err)
		})
	}
}

func TestPickleCutAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range readGolden(t).Nasty {
		for n := range len(c.Value) {
			_, err := unpickle(c.Value[:n])
			require.Error(t, err, "protocol %d, %d bytes", c.Protocol, n)
		}
	}
}

// Causes go to the log, and a session may hold secrets.
func TestErrorsShowNothingOfAPickle(t *testing.T) {
	t.Parallel()
	for _, pickle := range []string{"FTOPSECRET\n.", "ITOPSECRET\n.", "LTOPSECRET\n.", "NpTOPSECRET\n.", "gTOPSECRET\n.", "STOPSECRET\n.", "VTOPSECRET\\u\n."} {
		_, err := unpickle([]byte(pickle))
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "TOPSECRET")
	}
}

// hostile are pickles that a little of would make much of.
func hostile() map[string][]byte {
	p := func(parts ...string) []byte { return []byte(strings.Join(parts, "")) }
	many := strings.Repeat
	doubling := "]q\x00"
	for range 60 {
		doubling += "0]q\x01h\x00ah\x00aq\x00"
	}
	return map[string][]byte{
		"LONG4 of 2 GB":                   p("\x8b\xff\xff\xff\x7f."),
		"LONG4 of a negative size":        p("\x8b\xff\xff\xff\xff."),
		"BINUNICODE8 of 2^63":             p("\x8d\x00\x00\x00\x00\x00\x00\x00\x80."),
		"BINBYTES8 of 2^64-1":             p("\x8e\xff\xff\xff\xff\xff\xff\xff\xff."),
		"BYTEARRAY8 of 2^40":              p("\x96\x00\x00\x00\x00\x00\x01\x00\x00."),
		"FRAME of 2^63":                   p("\x95\x00\x00\x00\x00\x00\x00\x00\x80"),
		"a million marks":                 p(many("(", 1_000_000)),
		"marks up to the limit":           p(many("(", store.MaxValue)),
		"nested lists":                    p(many("]", 30_000), many("a", 29_999), "."),
		"nested tuples":                   p("N", many("\x85", 65_000), "."),
		"a list in itself":                p("]q\x00h\x00a."),
		"a list often in itself":          p("]q\x00(", many("h\x00", 30_000), "e."),
		"a list in itself, after much":    p("]q\x00(h\x00", many("N", 19_000), "e."),
		"a dictionary in itself":          p("}q\x00U\x01ah\x00s."),
		"lists that double":               p(doubling, "."),
		"kept as often as can be":         p("}", many("\x94", 65_000), "."),
		"a large dictionary often":        p("}q\x00(", many("NN", 15_000), "u0(", many("h\x00", 15_000), "l."),
		"a large list often":              p("]q\x00(", many("N", 30_000), "e0(", many("h\x00", 15_000), "l."),
		"a long integer":                  p("I", many("9", 65_000), "\n."),
		"a long integer in bytes":         p("\x8b\x00\xf0\x00\x00", many("\x7f", 0xf000), "."),
		"a long text kept and often":      p("X\x00\x80\x00\x00", many("x", 0x8000), "q\x000(", many("h\x00", 15_000), "l."),
		"more bytes than a session has":   p(many("N0", store.MaxValue), "N."),
		"objects upon objects":            p("cx\ny\n", many(")R", 30_000), "."),
		"values that STOP leaves behind":  p(many("N", 65_000), "."),
		"a quote that is never closed":    p("S'", many("\\", 65_000), "\n."),
		"escapes that are never finished": p("V", many("\\u", 32_000), "\n."),
	}
}

// Redis is shared: who can write a value there must not be able to stop us.
// (Not parallel: it measures what is allocated.)
func TestS40HostilePickleCostsLittle(t *testing.T) { //nolint:paralleltest // see above
	for name, pickle := range hostile() {
		t.Run("S40 "+name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := unpickle(pickle)
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "bytes allocated; error: %v", err)
		})
	}
}

func TestS40PickleNestsToItsLimitOnly(t *testing.T) {
	t.Parallel()
	nested := func(depth int) []byte {
		return []byte("N" + strings.Repeat("\x85", depth) + ".")
	}
	_, err := unpickle(nested(maxDepth))
	require.NoError(t, err)
	_, err = unpickle(nested(maxDepth + 1))
	assert.Error(t, err)
}

func TestS40PickleLargerThanAnySessionIsRefused(t *testing.T) {
	t.Parallel()
	fits := append(bytes.Repeat([]byte("N0"), (store.MaxValue-2)/2), "N."...)
	_, err := unpickle(fits)
	require.NoError(t, err)
	_, err = unpickle(append([]byte("N0"), fits...))
	assert.Error(t, err)
}

func TestWhatPythonCannotReadIsNoPickle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pickle string
		good   bool
	}{
		"a frame":                     {"\x95\x02\x00\x00\x00\x00\x00\x00\x00}.", true},
		"a frame beyond the end":      {"\x95\x03\x00\x00\x00\x00\x00\x00\x00}.", false},
		"text":                        {"}\x8c\x02\xc3\xabNs.", true},
		"text that is not UTF-8":      {"}\x8c\x01\xffNs.", false},
		"text that is cut":            {"}\x8c\x01\xc3Ns.", false},
		"half a surrogate pair":       {"}\x8c\x03\xed\xa0\x80Ns.", true},
		"half a surrogate pair, cut":  {"}\x8c\x02\xed\xa0Ns.", false},
		"the beginning of one, alone": {"}\x8c\x03\xed\xc3\xabNs.", false},
	} {
		_, err := Pickle([]byte(c.pickle))
		assert.Equal(t, c.good, err == nil, "%s: %v", name, err)
	}
}
