package wire

import (
	"encoding/json"
	"os"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// addCaptures adds what real frameworks keep to a corpus.
func addCaptures(f *testing.F, frameworks ...string) {
	f.Helper()
	text, err := os.ReadFile("../testdata/captures.jsonl")
	require.NoError(f, err)
	for line := range strings.Lines(string(text)) {
		var c struct {
			ID    string `json:"id"`
			Value []byte `json:"value_base64"`
		}
		require.NoError(f, json.Unmarshal([]byte(line), &c))
		for _, framework := range frameworks {
			if strings.HasPrefix(c.ID, framework) && c.Value != nil && len(c.Value) < 1500 {
				f.Add(c.Value)
			}
		}
	}
	for _, r := range reals(f) {
		if len(r.Value) < 1500 {
			f.Add(r.Value)
		}
	}
}

// fuzz holds a decoder to what it promises: plain data, at a bounded cost. 10 ms
// would do; a machine that does much else at once gets more.
func fuzz(f *testing.F, decode Decoder) {
	f.Helper()
	f.Fuzz(func(t *testing.T, data []byte) {
		before, began := allocated(), time.Now()
		session, err := decode(data)
		if cost := allocated() - before; cost > 8<<20 {
			t.Fatalf("%d bytes allocated for %d", cost, len(data))
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("it took %v", took)
		}
		if err != nil {
			return
		}
		checkPlain(t, session, 0)
		if _, err := json.Marshal(session); err != nil {
			t.Fatal("no placeholder could show it: ", err)
		}
	})
}

// allocated is how many bytes the process has taken from the heap.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func FuzzS46Python(f *testing.F) {
	addCaptures(f, "django", "flask")
	fuzz(f, Python)
}

func FuzzS46Msgpack(f *testing.F) {
	addCaptures(f, "django32-django_redis-msgpack", "flask31", "php82-redis-msgpack")
	fuzz(f, Msgpack)
}

func FuzzS46PHP(f *testing.F) {
	addCaptures(f, "php")
	fuzz(f, PHP)
}

func FuzzS46PHPSerialize(f *testing.F) {
	addCaptures(f, "php82-redis-php_serialize", "symfony54-RedisSessionHandler-prefix")
	fuzz(f, PHPSerialize)
}

func FuzzS46Igbinary(f *testing.F) {
	addCaptures(f, "php82-redis-igbinary", "php84-redis-igbinary")
	fuzz(f, Igbinary)
}

func FuzzS46Symfony(f *testing.F) {
	addCaptures(f, "symfony")
	fuzz(f, Symfony)
}

func FuzzS46Laravel(f *testing.F) {
	addCaptures(f, "laravel")
	fuzz(f, func(session []byte) (map[string]any, error) {
		return Laravel(session, func(sealed []byte) ([]byte, error) { return sealed, nil })
	})
}

func FuzzS46Marshal(f *testing.F) {
	addCaptures(f, "sinatra", "rails61-redis_store")
	fuzz(f, Marshal)
}

func FuzzS46Rack(f *testing.F) {
	addCaptures(f, "rails", "sinatra")
	now := time.Now()
	fuzz(f, Rack(func() time.Time { return now }))
}

func FuzzS46Gob(f *testing.F) {
	addCaptures(f, "go-")
	fuzz(f, Gorilla)
}

func FuzzS46JSON(f *testing.F) {
	addCaptures(f, "express", "koa", "hapi")
	fuzz(f, JSON)
}

func FuzzS46Decompress(f *testing.F) {
	addCaptures(f, "django32-django_redis-zlib")
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00\x41\x00\x00hi\x00"))
	f.Add([]byte("\x04\x22\x4d\x18\x64\x40\xa7\x00\x00\x00\x00\x05\x5d\xcc\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := decompress(data)
		if err == nil && len(plain) > max(len(data), store.MaxValue) {
			t.Fatalf("%d bytes", len(plain))
		}
	})
}

func FuzzS46Pickle(f *testing.F) {
	g := readGolden(f)
	for _, c := range g.Protocols {
		f.Add(c.Value)
	}
	for _, c := range g.Nasty {
		f.Add(c.Value)
	}
	for _, pickle := range hostile() {
		if len(pickle) < 1024 {
			f.Add(pickle)
		}
	}
	f.Add(beside("cos\nsystem\nU\x02id\x85R"))
	addCaptures(f, "django", "flask")
	fuzz(f, Pickle)
}

// checkPlain fails on whatever the reader promises never to return.
func checkPlain(t *testing.T, value any, depth int) {
	t.Helper()
	if depth > maxDepth {
		t.Fatal("nests too deep")
	}
	switch v := value.(type) {
	case nil, bool, int64, float64, json.Number, string, []byte, Opaque:
	case []any:
		for _, item := range v {
			checkPlain(t, item, depth+1)
		}
	case map[string]any:
		for _, item := range v {
			checkPlain(t, item, depth+1)
		}
	default:
		t.Fatalf("a value of type %T", value)
	}
}
