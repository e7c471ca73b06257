package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// A file that is torn at any page, or has a bit that is not as it was written: a
// record is as it was, or unknown, and never another; the process lives, and a file
// that is refused stays as it is. A flipped bit in a record itself is beyond what any
// file format of this kind notices, so values are compared where they can be read.
func TestD32TornFilesAndFlippedBits(t *testing.T) {
	t.Parallel()
	whole := fill(t, filepath.Join(t.TempDir(), "edge_auth.db"))
	const page = 4096
	damages := make(map[string][]byte)
	for at := page; at < len(whole); at += 5 * page { // a sample: each costs an opening
		damages[fmt.Sprintf("cut at %d", at)] = whole[:at]
		flipped := bytes.Clone(whole)
		flipped[at+8] ^= 0x10 // the kind of the page
		damages[fmt.Sprintf("kind of page at %d", at)] = flipped
		flipped = bytes.Clone(whole)
		flipped[at+10] ^= 0x40 // how many are on it
		damages[fmt.Sprintf("count of page at %d", at)] = flipped
	}
	refused, lost := 0, 0
	for name, damaged := range damages {
		path := filepath.Join(t.TempDir(), "edge_auth.db")
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		s := newStore(path)
		for i := range 20 {
			record, err := s.Get(t.Context(), fmt.Sprintf("k%02d", i))
			switch {
			case err == nil:
				assert.Len(t, record.Value, 8000, name)
			case errors.Is(err, store.ErrNotFound):
				lost++ // a page that says it has fewer records can't be told from one that has
			default:
				refused++
			}
		}
		_ = s.Destruct()
		assert.FileExists(t, path, name)
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.NotZero(t, info.Size(), "%s: replaced by an empty one", name)
	}
	assert.Positive(t, refused)
	t.Logf("%d damaged files, %d reads refused, %d records lost", len(damages), refused, lost)
}
