package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// hostile are replies that would cost whoever believes them more than there is.
var hostile = map[string]string{
	"D44 text of a terabyte":         "$999999999999\r\nab",
	"D44 text of a gigabyte":         "$1073741824\r\n" + strings.Repeat("a", 1000),
	"D44 text beyond all numbers":    "$99999999999999999999\r\n",
	"D44 array of a trillion things": "*999999999999\r\n:1\r\n",
	"D44 map of a trillion things":   "%999999999999\r\n:1\r\n:1\r\n",
	"D44 map that counts twice":      "%200000\r\n:1\r\n:1\r\n",
	"D44 push without an end":        ">999999999999\r\n+invalidate\r\n",
	"D44 arrays in arrays":           strings.Repeat("*1\r\n", 1<<20),
	"D44 arrays beside arrays":       "*8\r\n" + strings.Repeat("*100000\r\n"+strings.Repeat(":1\r\n", 100_000), 8),
	"D44 attributes of attributes":   strings.Repeat("|0\r\n", 1<<20),
	"D44 line without an end":        "+" + strings.Repeat("a", 1<<20),
	"D44 texts beside texts":         "*100\r\n" + strings.Repeat("$1048576\r\n"+strings.Repeat("a", 1<<20)+"\r\n", 17),
	"D44 negative length":            "$-2\r\n",
	"D44 no length":                  "*\r\n",
	"D44 line that ends by half":     "+OK\n",
	"D44 web server":                 "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n",
}

// proper are replies as Redis gives them.
var proper = []string{
	"+OK\r\n", "-ERR unknown command\r\n", ":-12\r\n", "_\r\n", ",1.5\r\n", "#t\r\n", "(12345678901234567890\r\n",
	"$-1\r\n", "*-1\r\n", "$0\r\n\r\n", "$5\r\na\r\nb\n\r\n", "!5\r\nERR a\r\n", "=7\r\ntxt:a\r\n\r\n",
	"*0\r\n", "%0\r\n", "*2\r\n*1\r\n$1\r\na\r\n*0\r\n", "%1\r\n+server\r\n+redis\r\n", "~1\r\n:1\r\n",
	">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n",
	"*8\r\n" + strings.Repeat("$65536\r\n"+strings.Repeat("a", 65536)+"\r\n", 8),
}

func TestRepliesOfRedisPassHoweverTheyArrive(t *testing.T) {
	t.Parallel()
	all := strings.Join(proper, "")
	for _, size := range []int{1, 2, 3, 7, 4096, len(all)} {
		var r replies
		for chunk := range slices.Chunk([]byte(all), size) {
			require.NoError(t, r.check(chunk))
		}
		assert.Equal(t, replies{line: r.line, open: r.open}, r, "between replies, nothing is counted")
		assert.Empty(t, r.line)
		assert.Empty(t, r.open)
	}
	var r replies
	for range 3 {
		require.NoError(t, r.check([]byte("*200000\r\n"+strings.Repeat(":1\r\n", 200_000))), "each may be large")
	}
}

func TestRepliesThatAnnounceTooMuchAreRefused(t *testing.T) {
	t.Parallel()
	for name, reply := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{13, 1000, len(reply)} {
				var r replies
				var err error
				for chunk := range slices.Chunk([]byte(reply), size) {
					err = r.check(chunk)
				}
				require.ErrorAs(t, err, new(replyError))
				assert.LessOrEqual(t, len(r.line), maxLine)
				assert.LessOrEqual(t, len(r.open), maxNested)
				require.Error(t, r.check([]byte("+OK\r\n")), "nobody knows where the next one begins")
			}
		})
	}
}

// impostor answers in the place of Redis: set-up as one that knows RESP2 only would,
// the rest with reply; all of it so, where it is rude.
func impostor(t *testing.T, reply string, rude bool) string {
	t.Helper()
	return answering(t, func(command []string) string {
		switch name := strings.ToLower(command[0]); {
		case rude:
		case name == "hello":
			return "-ERR unknown command 'HELLO'\r\n"
		case name == "client", name == "ping", name == "select":
			return "+OK\r\n"
		}
		return reply
	})
}

// Whatever answers in the place of Redis: no call says that there is or is not a
// record, none hangs, and the process lives on.
func TestImpostorOfRedisIsAnOutage(t *testing.T) {
	t.Parallel()
	for name, reply := range hostile {
		for _, rude := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", rude ", rude), func(t *testing.T) {
				t.Parallel()
				s := open(t, &Config{URL: "redis://" + impostor(t, reply, rude), Timeout: caddy.Duration(5 * time.Second)})
				for call, err := range map[string]error{
					"Get":  second(s.Get(t.Context(), "k")),
					"List": second(s.List(t.Context(), "l")),
					"Add":  second(s.Add(t.Context(), "n", 1, time.Minute)),
					"Put":  s.Put(t.Context(), "k", []byte("v"), time.Minute, "l"),
					"Swap": s.Swap(t.Context(), "k", nil, []byte("v"), time.Minute),
				} {
					require.Error(t, err, call)
					require.NotErrorIs(t, err, store.ErrNotFound, call)
					assert.NotErrorIs(t, err, store.ErrChanged, call)
				}
			})
		}
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzReplies: what passes stays within the bounds, and how it is cut into reads
// makes no difference.
func FuzzReplies(f *testing.F) {
	for _, reply := range proper {
		f.Add([]byte(reply), uint8(3))
	}
	for _, reply := range hostile {
		f.Add([]byte(reply[:min(len(reply), 2000)]), uint8(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		var whole, cut replies
		err := whole.check(stream)
		var last error
		for chunk := range slices.Chunk(stream, int(size)+1) {
			last = cut.check(chunk)
		}
		require.Equal(t, err, last)
		if err != nil {
			return
		}
		require.Equal(t, whole.bytes, cut.bytes)
		require.Equal(t, whole.open, cut.open)
		require.LessOrEqual(t, whole.items, maxItems)
		require.LessOrEqual(t, whole.skip, maxBulk+2)
		require.LessOrEqual(t, len(whole.open), maxNested)
		if whole.bytes == 0 { // it ended between two replies
			require.NoError(t, whole.check([]byte("*1\r\n$"+strconv.Itoa(maxBulk)+"\r\n")))
			require.Error(t, whole.check([]byte(strings.Repeat("a", maxBulk)+"\r\n$"+strconv.Itoa(maxBulk+1)+"\r\n")))
		}
	})
}
