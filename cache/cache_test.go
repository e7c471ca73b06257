package cache

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

var now = time.Unix(1_800_000_000, 0)

func keyOf(parts ...any) Key { return sha256.Sum256(fmt.Append(nil, parts...)) }

func put(c *Cache, key Key, value string) {
	c.Put(key, Entry{Value: value}, nil, store.Forever, time.Time{})
}

func TestX03EntryEndsWithWhatItRestsOn(t *testing.T) {
	t.Parallel()
	changes := store.NewChanges("")
	changes.Trust(store.Forever)
	other := store.NewChanges("")
	other.Trust(store.Forever)
	hour := store.Now() + time.Hour
	for name, test := range map[string]struct {
		happens func(c *Cache)
		stays   bool
	}{
		"nothing":                  {func(*Cache) {}, true},
		"a name it rests on":       {func(*Cache) { changes.Changed("b") }, false},
		"another name":             {func(*Cache) { changes.Changed("some other") }, true},
		"all names":                {func(*Cache) { changes.AllChanged() }, false},
		"another store":            {func(*Cache) { other.AllChanged(); other.Changed("a") }, true},
		"trust ends":               {func(*Cache) { changes.Trust(store.Now()) }, false},
		"trust ends and is back":   {func(*Cache) { changes.Trust(0); changes.Trust(store.Forever) }, true},
		"it is cleared":            {func(c *Cache) { c.Clear() }, false},
		"it is found out anew":     {func(c *Cache) { put(c, keyOf("k"), "value") }, true},
		"another is found out":     {func(c *Cache) { put(c, keyOf("l"), "other") }, true},
		"the store changes it not": {func(*Cache) { other.End() }, true},
	} { //nolint:paralleltest // they share what changes
		c := New(100)
		stamps := []store.Stamp{changes.Stamp("a"), changes.Stamp("b")}
		c.Put(keyOf("k"), Entry{Value: "value", Basis: 7}, stamps, hour, now.Add(time.Hour))
		entry, ok := c.Get(keyOf("k"), now)
		require.True(t, ok, name)
		require.Equal(t, Entry{Value: "value", Basis: 7}, entry)
		test.happens(c)
		entry, ok = c.Get(keyOf("k"), now)
		require.Equal(t, test.stays, ok, name)
		if ok {
			require.Equal(t, "value", entry.Value, name)
		}
		changes.Trust(store.Forever)
	}
	c := New(100)
	c.Put(keyOf("k"), Entry{}, []store.Stamp{changes.Stamp("a")}, hour, time.Time{})
	changes.End()
	_, ok := c.Get(keyOf("k"), now)
	assert.False(t, ok, "its store is gone")
}

func TestX05EntryEndsWithItsTime(t *testing.T) {
	t.Parallel()
	c := New(100)
	for name, test := range map[string]struct {
		old   time.Duration
		end   time.Time
		at    time.Time
		stays bool
	}{
		"before its end":     {store.Forever, now.Add(time.Nanosecond), now, true},
		"at its end":         {store.Forever, now, now, false},
		"no end":             {store.Forever, time.Time{}, now.AddDate(50, 0, 0), true},
		"old":                {store.Now(), now.Add(time.Hour), now, false},
		"an end before 1970": {store.Forever, time.Unix(-1, 0), now, false},
	} {
		c.Put(keyOf(name), Entry{}, nil, test.old, test.end)
		_, ok := c.Get(keyOf(name), test.at)
		assert.Equal(t, test.stays, ok, name)
	}
}

func TestWhatIsTooLargeIsNotKept(t *testing.T) {
	t.Parallel()
	c := New(100)
	put(c, keyOf("k"), strings.Repeat("x", maxEntry-headLen))
	entry, ok := c.Get(keyOf("k"), now)
	require.True(t, ok)
	assert.Len(t, entry.Value, maxEntry-headLen)
	put(c, keyOf("l"), strings.Repeat("x", maxEntry-headLen+1))
	_, ok = c.Get(keyOf("l"), now)
	assert.False(t, ok)
	c.Put(keyOf("m"), Entry{}, make([]store.Stamp, maxStamps+1), store.Forever, time.Time{})
	_, ok = c.Get(keyOf("m"), now)
	assert.False(t, ok)
}

// Two keys may share what the index has of them.
func TestX12KeysThatBeginAlikeAreNotTakenForEachOther(t *testing.T) {
	t.Parallel()
	c := New(100)
	one, two := keyOf("one"), keyOf("one")
	two[30]++
	put(c, one, "one")
	_, ok := c.Get(two, now)
	assert.False(t, ok)
	put(c, two, "two")
	_, ok = c.Get(one, now)
	assert.False(t, ok, "the one has taken the other's place")
	entry, ok := c.Get(two, now)
	assert.True(t, ok)
	assert.Equal(t, "two", entry.Value)
}

func TestBytesAreBoundedWhateverIsPutIn(t *testing.T) {
	t.Parallel()
	const entries = 20_000
	for _, size := range []int{0, 1, 200, 5_000, maxEntry - headLen} {
		c := New(entries)
		value := strings.Repeat("x", size)
		put(c, keyOf("hot"), "hot")
		for i := range 400_000 * 100 / (size + 100) {
			put(c, keyOf(i), value)
			if i%100 == 0 {
				_, ok := c.Get(keyOf("hot"), now)
				require.True(t, ok, "what is used stays: %d of %d bytes", i, size)
			}
		}
		stats := c.Stats()
		assert.LessOrEqual(t, stats.Bytes, entries*BytesPerEntry, size)
		assert.Greater(t, stats.Bytes, entries*BytesPerEntry/3, size)
		_, ok := c.Get(keyOf(0), now)
		assert.False(t, ok)
	}
}

// X25, D40: many identities, of which each is its own. EDGE_AUTH_LONG makes it a million.
func TestX25D40IdentitiesTakeNoMoreThanTheyAreReckonedAndAreNeverMixed(t *testing.T) {
	entries := 100_000
	if os.Getenv("EDGE_AUTH_LONG") != "" {
		entries = 1_000_000
	}
	before := heap()
	c := New(entries)
	valueOf := func(i int) string { return fmt.Sprintf("%032d%x", i, sha256.Sum256(fmt.Append(nil, i))) }
	for i := range entries {
		put(c, keyOf(i), valueOf(i))
	}
	taken := int64(heap()) - int64(before) //nolint:gosec // far less
	assert.Less(t, taken, int64(entries)*1000, "a million in a gigabyte")
	t.Logf("%d MiB", taken>>20)
	found := 0
	for i := range entries {
		if entry, ok := c.Get(keyOf(i), now); ok {
			found++
			if entry.Value != valueOf(i) {
				t.Fatalf("%d: %s", i, entry.Value)
			}
		}
	}
	assert.Equal(t, entries, found)
	for i := range entries / 10 { // D40: more again than there is room for, of users in 1,000 groups
		put(c, keyOf("large", i), strings.Repeat("x", 10_000))
	}
	assert.LessOrEqual(t, c.Stats().Bytes, entries*BytesPerEntry)
}

func TestEntryIsKnownAlsoWhenItIsNotTrueAnyMore(t *testing.T) {
	t.Parallel()
	c := New(100)
	assert.False(t, c.Knew(keyOf("k")))
	c.Put(keyOf("k"), Entry{}, nil, 0, time.Time{})
	_, ok := c.Get(keyOf("k"), now)
	assert.False(t, ok)
	assert.True(t, c.Knew(keyOf("k")))
	c.Clear()
	assert.False(t, c.Knew(keyOf("k")))
}

func TestValuesOutliveTheirEntries(t *testing.T) {
	t.Parallel()
	c := New(1)
	put(c, keyOf("k"), "value")
	entry, ok := c.Get(keyOf("k"), now)
	require.True(t, ok)
	for i := range 100_000 {
		put(c, keyOf(i), strings.Repeat("y", 100))
	}
	runtime.GC()
	assert.Equal(t, "value", entry.Value)
}

func TestStatsCount(t *testing.T) {
	t.Parallel()
	c := New(100)
	c.Get(keyOf("k"), now)
	put(c, keyOf("k"), "")
	c.Get(keyOf("k"), now)
	c.Put(keyOf("k"), Entry{}, nil, 0, time.Time{})
	c.Get(keyOf("k"), now)
	assert.Equal(t, Stats{Hits: 1, Stale: 1, Misses: 1, Entries: 1, Bytes: slabSize}, c.Stats())
}

func TestManyUseItAtOnce(t *testing.T) {
	t.Parallel()
	c := New(50)
	changes := store.NewChanges("")
	changes.Trust(store.Forever)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 20_000 {
				key := keyOf(i % 500)
				if entry, ok := c.Get(key, now); ok {
					assert.Equal(t, fmt.Sprint(i%500), entry.Value)
					continue
				}
				c.Put(key, Entry{Value: fmt.Sprint(i % 500)}, []store.Stamp{changes.Stamp(fmt.Sprint(i % 50))}, store.Forever, time.Time{})
				if g == 0 && i%100 == 0 {
					changes.Changed(fmt.Sprint(i % 50))
				}
			}
		})
	}
	all.Wait()
}

// FuzzCache compares the cache with a map.
func FuzzCache(f *testing.F) {
	f.Add([]byte("put, change, get, and so on, in any order there is"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		c := New(1 << 20) // more than there can be
		changes := store.NewChanges("")
		changes.Trust(store.Forever)
		defer changes.End()
		type entry struct {
			value   string
			of, all int
			name    string
			end     int
		}
		want := make(map[byte]entry)
		of, all := make(map[string]int), 0
		for i := 0; i+2 < len(steps); i += 3 {
			key, arg := steps[i+1], steps[i+2]
			name := fmt.Sprint(arg % 4)
			at := now.Add(time.Duration(i) * time.Second)
			switch steps[i] % 4 {
			case 0:
				value := strings.Repeat(string(rune(arg)), int(arg))
				want[key] = entry{value, of[name], all, name, i + int(key)}
				c.Put(keyOf(key), Entry{Value: value, Basis: uint64(arg)}, []store.Stamp{changes.Stamp(name)}, store.Forever, now.Add(time.Duration(i+int(key))*time.Second))
			case 1:
				of[name]++
				changes.Changed(name)
			case 2:
				if arg == 0 {
					all++
					changes.AllChanged()
				}
			case 3:
				got, ok := c.Get(keyOf(key), at)
				e, known := want[key]
				known = known && e.of == of[e.name] && e.all == all && i < e.end
				// A stamp may be shared with another name; then less is found, never more.
				if ok && (!known || got.Value != e.value) {
					t.Fatalf("%d: got %q, want %v %q", i, got.Value, known, e.value)
				}
				if !ok && known && len(of) == 0 {
					t.Fatalf("%d: not found", i)
				}
			}
		}
	})
}

// BenchmarkGet finds one of a million entries.
func BenchmarkGet(b *testing.B) {
	const entries = 1_000_000
	c, changes := full(entries)
	defer changes.End()
	keys := make([]Key, 1024)
	for i := range keys {
		keys[i] = keyOf(i * 900)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if _, ok := c.Get(keys[i%len(keys)], now); !ok {
			b.Fatal(i)
		}
	}
}

// BenchmarkCollection is a full garbage collection over a million entries.
func BenchmarkCollection(b *testing.B) {
	const entries = 1_000_000
	before := heap()
	c, changes := full(entries)
	defer changes.End()
	taken := float64(heap()-before) / entries
	b.ResetTimer()
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(taken, "B/entry")
	runtime.KeepAlive(c)
}

// full is a cache with entries of usual size: a session with a user record and a
// revocation to look after.
func full(entries int) (*Cache, *store.Changes) {
	c := New(entries)
	changes := store.NewChanges("")
	changes.Trust(store.Forever)
	value := strings.Repeat("v", 80)
	stamps := []store.Stamp{changes.Stamp("a"), changes.Stamp("b"), changes.Stamp("c")}
	for i := range entries {
		c.Put(keyOf(i), Entry{Value: value}, stamps, store.Forever, now.Add(time.Hour))
	}
	return c, changes
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
