package edgeauth

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	testName  = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	guarantee = regexp.MustCompile(`(?m)^\| (G\d+) \|.*$`)
)

// What the threat model and SECURITY.md promise is held by tests that exist.
func TestThreatModelNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	tests := testsInTheTree(t)
	require.Greater(t, len(tests), 300)
	for _, page := range []string{"docs/threat-model.md", "SECURITY.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, name := range testName.FindAllStringSubmatch(string(text), -1) {
			assert.NotEmpty(t, tests[withoutRows(name[1])], "%s names %s, which is no test", page, name[1])
		}
	}
	text, err := os.ReadFile("docs/threat-model.md")
	require.NoError(t, err)
	found := guarantee.FindAllStringSubmatch(string(text), -1)
	require.Len(t, found, 15)
	for i, line := range found {
		assert.Equal(t, fmt.Sprintf("G%d", i+1), line[1])
		assert.NotEmpty(t, testName.FindAllString(line[0], -1), "%s names no test", line[1])
	}
}

var rowsOfTest = regexp.MustCompile(`^(Test|Fuzz)(?:[A-Z]\d\d)+`)

// withoutRows is the name of a test without the rows of the attack catalogue that
// it begins with: more may come, and the sentence stays.
func withoutRows(name string) string { return rowsOfTest.ReplaceAllString(name, "$1") }

// testsInTheTree are the names of all test functions, without rows.
func testsInTheTree(t *testing.T) map[string]string {
	t.Helper()
	tests := make(map[string]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			if err == nil {
				return filepath.SkipDir
			}
			return err
		}
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declared := range file.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[withoutRows(f.Name.Name)] = path
			}
		}
		return nil
	}))
	return tests
}
