package wire

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// hostileFormats are sessions that somebody made up, and the format that reads
// them. None is one.
func hostileFormats(t *testing.T) map[string]struct {
	decode Decoder
	value  string
} {
	t.Helper()
	many := strings.Repeat
	type row = struct {
		decode Decoder
		value  string
	}
	return map[string]row{
		"msgpack: 4 GB of list":             {Msgpack, "\xdd\xff\xff\xff\xf0"},
		"msgpack: 4 GB of map":              {Msgpack, "\xdf\xff\xff\xff\xff"},
		"msgpack: 4 GB of text":             {Msgpack, "\x81\xa1a\xdb\xff\xff\xff\xff"},
		"msgpack: 4 GB of bytes":            {Msgpack, "\x81\xa1a\xc6\xff\xff\xff\xff"},
		"msgpack: 4 GB of extension":        {Msgpack, "\x81\xa1a\xc9\xff\xff\xff\xff\x01"},
		"msgpack: lists of lists":           {Msgpack, many("\x91", 60_000)},
		"msgpack: maps of maps":             {Msgpack, many("\x81\xa1a", 20_000)},
		"msgpack: maps as keys":             {Msgpack, many("\x81", 60_000)},
		"msgpack: many large lists":         {Msgpack, "\xdc\x10\x00" + many("\xdc\x10\x00", 4096)},
		"msgpack: unused type":              {Msgpack, "\x81\xa1a\xc1"},
		"msgpack: a list":                   {Msgpack, "\xc0"},
		"msgpack: more behind":              {Msgpack, "\x80\x80"},
		"php: 2^31 entries":                 {PHP, "a:2147483647:{}"},
		"php: 2^64 entries":                 {PHP, "a:99999999999999999999:{}"},
		"php: short text":                   {PHP, `a:1:{i:0;s:99:"x";}`},
		"php: text of 4 GB":                 {PHP, `a:1:{i:0;s:4294967295:"x";}`},
		"php: negative length":              {PHP, `a:1:{i:0;s:-1:"x";}`},
		"php: arrays in arrays":             {PHP, many("a:1:{i:0;", 7000)},
		"php: objects in objects":           {PHP, "x|" + many(`O:1:"a":1:{s:1:"b";`, 3000)},
		"php: arrays as keys":               {PHP, many("a:1:{", 12_000)},
		"php: another after the end":        {PHP, "a:0:{}a:0:{}"},
		"php: a long number":                {PHP, "x|i:" + many("9", 60_000) + ";"},
		"php: a name without end":           {PHP, many("x", 60_000)},
		"php: a name made of values":        {PHP, `a|s:1:"x";b"c|i:1;`},
		"php: unknown type":                 {PHP, "x|Z:1;"},
		"php: an old object":                {PHP, `x|o:1:{i:0;}`},
		"php: custom of 4 GB":               {PHP, `x|C:1:"a":4294967295:{}`},
		"php_binary: a name cut off":        {PHP, "\x10abc"},
		"igbinary: 4 GB of array":           {PHP, "\x00\x00\x00\x02\x16\xff\xff\xff\xff"},
		"igbinary: 4 GB of text":            {PHP, "\x00\x00\x00\x02\x14\x01\x13\xff\xff\xff\xff"},
		"igbinary: text that is not there":  {PHP, "\x00\x00\x00\x02\x14\x01\x0e\x05\x00"},
		"igbinary: arrays in arrays":        {PHP, "\x00\x00\x00\x02" + many("\x14\x01\x06\x00", 15_000)},
		"igbinary: references upon another": {PHP, "\x00\x00\x00\x02" + many("\x25", 60_000)},
		"igbinary: another version":         {PHP, "\x00\x00\x00\x09\x14\x00"},
		"igbinary: a number":                {PHP, "\x00\x00\x00\x02\x06\x01"},
		"marshal: hashes in hashes":         {Marshal, "\x04\x08" + many("{\x06i\x00", 15_000)},
		"marshal: lists in lists":           {Marshal, "\x04\x08" + many("[\x06", 30_000)},
		"marshal: 2^31 entries":             {Marshal, "\x04\x08{\x04\xff\xff\xff\x7f"},
		"marshal: negative length":          {Marshal, "\x04\x08{\xfa"},
		"marshal: text of 2 GB":             {Marshal, "\x04\x08{\x06\"\x04\xff\xff\xff\x7f"},
		"marshal: bignum of 2 GB":           {Marshal, "\x04\x08{\x06i\x06l+\x04\xff\xff\xff\x7f"},
		"marshal: a long bignum":            {Marshal, "\x04\x08{\x06i\x06l+\x02\x00\x70" + many("\xff", 0xe000)},
		"marshal: a link to nothing":        {Marshal, "\x04\x08{\x06i\x00@\x7f"},
		"marshal: a link before all":        {Marshal, "\x04\x08{\x06i\x00@\xfa"},
		"marshal: a symbol of nothing":      {Marshal, "\x04\x08{\x06;\x7fi\x00"},
		"marshal: doubling":                 {Marshal, "\x04\x08{\x06i\x00[\x3f" + doublingLists(40)},
		"marshal: classes around nothing":   {Marshal, "\x04\x08" + many("C:\x06A", 10_000)},
		"marshal: variables of variables":   {Marshal, "\x04\x08" + many("I", 60_000)},
		"marshal: unknown type":             {Marshal, "\x04\x08{\x06i\x00Z"},
		"marshal: of another version":       {Marshal, "\x04\x09{\x00"},
		"rails: a version of 2 GB":          {Rack(time.Now), "\x00\x11\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x7f\x04\x08{\x00"},
		"rails: cut off":                    {Rack(time.Now), "\x00\x11\x01\x00"},
		"rails: text":                       {Rack(time.Now), "\x00\x11\x02" + many("\x00", 8) + "\xff\xff\xff\xffabc"},
		"rails: no list":                    {Rack(time.Now), "\x00\x04\x08{\x00"},
		"rails: no zlib":                    {Rack(time.Now), "\x01\x04\x08{\x00"},
		"gob: 2^63 bytes":                   {Gob, "\xf8\xff\xff\xff\xff\xff\xff\xff\xff"},
		"gob: a type that nobody described": {Gob, "\x05\xff\x80\x00\x01\x01"},
		"gob: a list of itself":             {Gob, "\x0c\x7f\x02\x01\x02\xff\x80\x00\x01\xff\x80\x00\x00\x10\xff\x80\x00" + many("\x01", 60_000)},
		"gob: types without end":            {Gob, many("\x01\x01", 30_000)},
		"gob: a number":                     {Gob, "\x03\x04\x00\x06"},
		"gob: a struct of many fields": {Gob, "\x05\x7f\x03\x01\x02\xff\x80\x00\x01" + "\xfd\x01\x00\x00" +
			many("\x00", 40_000)},
		"java":  {PHP, "\xac\xed\x00\x05sr"},
		"yaml":  {Rack(time.Now), "--- !ruby/object:A\n"},
		"large": {PHP, many(" ", store.MaxValue+1)},
		"lz4":   {Python, string(compressed(t, func(out *bytes.Buffer) writeCloser { return lz4.NewWriter(out) }))},
		"gzip":  {Python, string(compressed(t, func(out *bytes.Buffer) writeCloser { return gzip.NewWriter(out) }))},
		"zstd": {Python, string(compressed(t, func(out *bytes.Buffer) writeCloser {
			w, err := zstd.NewWriter(out)
			require.NoError(t, err)
			return w
		}))},
	}
}

// doublingLists are lists, each of which holds the one before twice.
func doublingLists(n int) string {
	var b strings.Builder
	b.WriteString("[\x00")
	for i := range n {
		link := "@" + string(rune(i+2+5))
		b.WriteString("[\x07" + link + link)
	}
	return b.String()
}

type writeCloser interface {
	Write(data []byte) (int, error)
	Close() error
}

// compressed is a bomb: 32 MiB of zeros.
func compressed(t *testing.T, to func(*bytes.Buffer) writeCloser) []byte {
	t.Helper()
	var out bytes.Buffer
	w := to(&out)
	for range 32 {
		_, err := w.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// The measure is of the whole process: nothing else may run meanwhile.
func TestS41S42S43S44S45HostileSessionCostsLittle(t *testing.T) { //nolint:paralleltest // see above
	_, err := zstdReader()
	require.NoError(t, err)
	for name, c := range hostileFormats(t) {
		t.Run(rowOf(name)+" "+name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := c.decode([]byte(c.value))
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "bytes allocated; error: %v", err)
		})
	}
}

// rowOf is the row of the attack catalogue that a hostile session is of.
func rowOf(name string) string {
	format, _, _ := strings.Cut(name, ":")
	switch format {
	case "php", "php_binary":
		return "S41"
	case "marshal", "rails":
		return "S42"
	case "java", "yaml":
		return "S43"
	case "lz4", "gzip", "zstd", "large":
		return "S45"
	}
	return "S44"
}

// Whatever is cut off anywhere is refused, and so is what has more behind it.
func TestS45SessionCutAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, r := range reals(t) {
		if len(r.Value) > 1000 || strings.HasPrefix(r.Name, "php:") || strings.HasPrefix(r.Name, "php_binary:") {
			continue // those of variables may end after each
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			decode := decoderNamed(r.Decoder)
			for i := 2; i < len(r.Value); i++ { // one byte may be a map of nothing
				_, err := decode(r.Value[:i])
				require.Error(t, err, i)
			}
			_, err := decode(append(bytes.Clone(r.Value), "\x00x"...))
			require.Error(t, err)
		})
	}
}

// Text that a visitor chose must not make a session of one format look like one
// of another.
func TestFormatsOfPHPCantBeMistaken(t *testing.T) {
	t.Parallel()
	evil := `x|user_id|i:1;y|s:0:"`
	for _, value := range []string{
		fmt.Sprintf("\x04names:%d:\"%s\";", len(evil), evil),
		fmt.Sprintf("name|s:%d:\"%s\";", len(evil), evil),
		fmt.Sprintf("a:1:{s:4:\"name\";s:%d:\"%s\";}", len(evil), evil),
	} {
		session, err := PHP([]byte(value))
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"name": evil}, session)
	}
	// A name of 32 characters makes php_binary look like php.
	long := strings.Repeat("n", 32)
	_, err := PHP([]byte(" " + long + fmt.Sprintf("s:%d:\"%s\";", len(evil), evil)))
	require.Error(t, err)
}

// compressedSessions are one session in each compression.
func compressedSessions(t *testing.T) map[string][]byte {
	t.Helper()
	sessions := make(map[string][]byte)
	for name, to := range map[string]func(*bytes.Buffer) writeCloser{
		"zlib": func(out *bytes.Buffer) writeCloser { return zlib.NewWriter(out) },
		"gzip": func(out *bytes.Buffer) writeCloser { return gzip.NewWriter(out) },
		"lz4": func(out *bytes.Buffer) writeCloser {
			w := lz4.NewWriter(out)
			require.NoError(t, w.Apply(lz4.BlockSizeOption(lz4.Block64Kb)))
			return w
		},
		"zstd": func(out *bytes.Buffer) writeCloser {
			w, err := zstd.NewWriter(out)
			require.NoError(t, err)
			return w
		},
	} {
		var out bytes.Buffer
		w := to(&out)
		_, err := w.Write([]byte(`{"_auth_user_id": "1", "text": "` + strings.Repeat("text ", 100) + `"}`))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		sessions[name] = out.Bytes()
	}
	return sessions
}

// Valid sessions that nest: some levels are fine, more than the limit are not.
func TestS35S41S42S44NestingHasALimit(t *testing.T) {
	t.Parallel()
	many := strings.Repeat
	for name, c := range map[string]struct {
		decode Decoder
		nested func(n int) string
	}{
		"msgpack":       {Msgpack, func(n int) string { return many("\x81\xa1a", n) + "\xc0" }},
		"php_serialize": {PHP, func(n int) string { return many(`a:1:{s:1:"a";`, n) + "N;" + many("}", n) }},
		"igbinary":      {PHP, func(n int) string { return "\x00\x00\x00\x02" + many("\x14\x01\x11\x01a", n) + "\x00" }},
		"marshal":       {Marshal, func(n int) string { return "\x04\x08" + many("{\x06:\x06a", n) + "0" }},
		"pickle":        {Pickle, func(n int) string { return "\x80\x04" + many("}\x8c\x01a", n) + "N" + many("s", n) + "." }},
		"json":          {JSON, func(n int) string { return many(`{"a":`, n) + "null" + many("}", n) }},
		"gob": {Gob, func(n int) string {
			var value any = 1
			for range n {
				value = map[string]any{"a": value}
			}
			return string(gobbed(t, value))
		}},
	} {
		_, err := c.decode([]byte(c.nested(30)))
		require.NoError(t, err, name)
		_, err = c.decode([]byte(c.nested(maxDepth + 2)))
		require.Error(t, err, name)
	}
	lists := "\xdc\x4e\x20" + many("\xc0", 20_000) // 20,000 values
	_, err := Msgpack([]byte("\x81\xa1a" + lists))
	require.ErrorIs(t, err, errTooMuch, "with the map, one too many")
	_, err = Msgpack([]byte("\x81\xa1a\xdc\x4e\x1f" + many("\xc0", 19_999)))
	require.NoError(t, err)
}
