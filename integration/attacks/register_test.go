// Package attacks holds the built Caddy to the attack catalogue: whatever a
// stranger sends, what reaches the upstream is right.
package attacks

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// catalogue is the rows of the attack and fault catalogue: headers, where a
// credential stands, JWTs, keys, sessions, tokens, refresh, logins, caches,
// paths and protocols, what leaks, and faults.
const catalogue = "H01-18 H20-26 H30-37 H40-46 H50-57 H60-75 " +
	"C00-14 C18-24 C30-37 C40-44 C50-56 C60-66 C70-76 " +
	"J01-26 J30-38 J40-48 J50 J52 J56 J60-64 J66-67 J70-80 " +
	"K01-23 K30-37 " +
	"S01-07 S10-13 S20-23 S30-35 S40-48 S50-53 S60-67 " +
	"T01-05 T10-12 T20-21 T30-37 " +
	"R01-02 R10-15 R20-23 R30-34 R40-45 R50-51 " +
	"L10-15 L20-23 L30-44 " +
	"X01-15 X20-26 " +
	"P01-15 P20-25 P30-34 P40-51 P60-62 P70-72 " +
	"E01-03 E10-15 E20-23 E30-36 E40-46 " +
	"D01-46"

// notApplicable says of a row why no test holds it.
var notApplicable = map[string]string{
	"H17": "the FastCGI transport of Caddy drops Proxy; nothing of ours stands on that way",
	"C60": "an authenticator is given no ResponseWriter",
	"K17": "an issuer has no CA file of its own: the system's roots, or Caddy's, count",
	"S12": "of Flask's cookies only a signed session id is read: nothing in a cookie is inflated or has a time",
	"S47": "own records are not sealed: who may write to the store is trusted, as the threat model says",
	"S48": "as S47: the store's key is the digest of the session id, and who may write there may swap records",
	"S67": "sessions of one user are not capped; the account page and the admin API end them",
	"L34": "next is checked, not signed, and names no user",
	"P34": "a stream that is open stays open when its credential ends, as docs/upstreams.md says",
	"E15": "log sinks are Caddy's, and so is what becomes of a line that can't be written",
	"E33": "remote administration is Caddy's: our routes stand below its access rules",
	"E41": "no authenticator reads client certificates",
	"D24": "there is no durability option: a write that a failover loses is lost, as the threat model says",
	"D25": "no option reads from replicas",
	"D45": "bench/soak.sh: an hour is not for each run",
}

// TestEachRowOfTheCatalogueIsHeldByATest looks for the rows in the names of
// tests: TestH31ConnectionNeverTakesAHeaderAway, TestJ30J31What; or in those of
// cases, which begin with the row and a blank: "H31 what", "S03 S04 what",
// "J02-J06 what".
func TestEachRowOfTheCatalogueIsHeldByATest(t *testing.T) {
	t.Parallel()
	rows := rowsOf(t, catalogue)
	require.Len(t, rows, 465)
	held := heldRows(t, "../..", rows)
	for row, why := range notApplicable {
		assert.Contains(t, rows, row, "notApplicable names a row that the catalogue does not have")
		assert.NotContains(t, held, row, "a test holds this row, so it does apply")
		assert.NotEmpty(t, why, row)
	}
	var missing []string
	for _, row := range rows {
		if held[row] == "" && notApplicable[row] == "" {
			missing = append(missing, row)
		}
	}
	assert.Empty(t, missing, "%d rows have neither a test nor a reason: %s", len(missing), strings.Join(missing, " "))
	for _, row := range slices.Sorted(maps.Keys(held)) {
		assert.Contains(t, rows, row, "%s names a row that the catalogue does not have", held[row])
	}
}

func TestRowsAreReadFromNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"TestH31ConnectionTakesNothingAway": {"H31"},
		"TestJ30J31What":                    {"J30", "J31"},
		"TestJ30_AndMore":                   nil,
		"TestH2IsSpoken":                    nil,
		"TestHTTP":                          nil,
		"TestS256":                          nil,
	} {
		assert.Equal(t, want, rowsOfFunction(name), name)
	}
	for text, want := range map[string][]string{
		"H31 what":             {"H31"},
		"S03 S04 what":         {"S03", "S04"},
		"J02-J06 what":         {"J02", "J03", "J04", "J05", "J06"},
		"J02–J04 J09 K08 what": {"J02", "J03", "J04", "J09", "K08"},
		"H31: what":            nil,
		"H31":                  nil,
		"see H31 there":        nil,
		"HS256 what":           nil,
	} {
		assert.Equal(t, want, rowsOfText(text), text)
	}
}

// rowsOf spells ranges of rows out.
func rowsOf(t *testing.T, ranges string) []string {
	t.Helper()
	var rows []string
	for word := range strings.FieldsSeq(ranges) {
		first, last, _ := strings.Cut(word, "-")
		more, err := span(first, first[:1]+last)
		require.NoError(t, err)
		rows = append(rows, more...)
	}
	return rows
}

// span is the rows from one to another; of the first alone, where the other has
// no number.
func span(first, last string) ([]string, error) {
	if len(last) < 2 {
		last = first
	}
	from, err := strconv.Atoi(first[1:])
	if err != nil {
		return nil, err
	}
	to, err := strconv.Atoi(last[1:])
	if err != nil || last[0] != first[0] || to < from {
		return nil, fmt.Errorf("%s to %s is no span of rows", first, last)
	}
	var rows []string
	for n := from; n <= to; n++ {
		rows = append(rows, fmt.Sprintf("%c%02d", first[0], n))
	}
	return rows, nil
}

// heldRows says which test names each row. A span of rows may leap numbers that
// the catalogue does not have.
func heldRows(t *testing.T, root string, known []string) map[string]string {
	t.Helper()
	held := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		// A store is held to its contract by tests in a package of their own.
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") && entry.Name() != "storetest.go" || entry.Name() == "register_test.go" {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			var rows []string
			switch n := node.(type) {
			case *ast.FuncDecl:
				rows = rowsOfFunction(n.Name.Name)
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					rows = rowsOfText(text)
				}
			}
			for i, row := range rows {
				if i == 0 || i == len(rows)-1 || slices.Contains(known, row) {
					held[row] = set.Position(node.Pos()).String()
				}
			}
			return true
		})
		return nil
	}))
	return held
}

const row = `[HCJKSTRLXPED][0-9]{2}`

var (
	oneRow     = regexp.MustCompile(row)
	inFunction = regexp.MustCompile(`^(?:Test|Fuzz)((?:` + row + `)+)[A-Z]`)
	inText     = regexp.MustCompile(`^((?:` + row + `(?:[-–]` + row + `)? )+)`)
)

func rowsOfFunction(name string) []string {
	found := inFunction.FindStringSubmatch(name)
	if found == nil {
		return nil
	}
	return oneRow.FindAllString(found[1], -1)
}

func rowsOfText(text string) []string {
	var rows []string
	for word := range strings.FieldsSeq(inText.FindString(text)) {
		ends := oneRow.FindAllString(word, -1)
		more, err := span(ends[0], ends[len(ends)-1])
		if err == nil {
			rows = append(rows, more...)
		}
	}
	return rows
}
