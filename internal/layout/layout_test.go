// Package layout holds the tree to its rules: which way imports run, and what
// no source file may do.
package layout

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/edgeauth/caddy-edgeauth"

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// path is the package's folder, as seen from the module's.
func (p pkg) path() string { return ours(p.ImportPath) }

func ours(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	// `go list` reads the tree in a process of its own, which Go's test cache
	// doesn't see. What is listed here, it does: a changed or new file makes
	// the test run again.
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		return err
	}))
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"/...")
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.Greater(t, len(all), 10)
	return all
}

// layers from the top: a package imports only from layers below its own.
var layers = [][]string{
	{"", "integration", "bench"},
	{"issuer"},
	{"authenticators/session", "authenticators/token", "authenticators/jwt", "authenticators/basic", "internal/audit", "internal/guesttest", "internal/redistest"},
	{"authenticators", "authenticators/foreign", "internal/memstore", "internal/djangodump"},
	{"records", "keys"},
	{"identity", "passwords", "cache", "store/redis", "store/embedded", "store/storetest", "internal/faultstore"},
	{"store", "internal/queue", "internal/panics", "internal/words", "internal/freeport", "internal/layout", "internal/curl", "internal/flood"},
}

// layerOf returns the layer of a package, by its longest listed prefix.
func layerOf(path string) int {
	best, length := -1, -1
	for i, names := range layers {
		for _, name := range names {
			if (path == name || name != "" && strings.HasPrefix(path, name+"/") || name == "" && path == "") && len(name) > length {
				best, length = i, len(name)
			}
		}
	}
	return best
}

func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := p.path()
		layer := layerOf(from)
		require.GreaterOrEqual(t, layer, 0, "%s has no layer; say in this test where it belongs", from)
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			to := ours(imported)
			if strings.HasPrefix(to, from+"/") && from != "" || layer == 0 {
				continue
			}
			assert.Greater(t, layerOf(to), layer, "%s must not import %s", from, to)
		}
	}
}

// only says which packages may know a library.
var only = map[string][]string{
	"github.com/redis/go-redis": {"store/redis"},
	"github.com/lestrrat-go/":   {"keys"},
	"go.etcd.io/bbolt":          {"store/embedded"},
	"math/rand":                 {"bench/soak"}, // which load comes next is no secret
}

func TestLibrariesAreKnownInOnePlace(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := p.path()
		for _, imported := range p.Imports {
			for library, users := range only {
				if strings.HasPrefix(imported, library) {
					assert.Contains(t, users, from, "%s imports %s", from, imported)
				}
			}
		}
	}
}

// jwx is no longer maintained (SECURITY.md): one file knows it, and no more of it
// than three functions.
func TestJWXIsFenced(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../keys/*.go")
	require.NoError(t, err)
	used := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, imported := range file.Imports {
			if strings.HasPrefix(imported.Path.Value, `"github.com/lestrrat-go/`) && !strings.HasSuffix(name, "_test.go") {
				assert.Equal(t, "jwx.go", filepath.Base(name))
			}
		}
		if filepath.Base(name) != "jwx.go" {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"jwa", "jwk", "jws", "jwt"}, textOf(f.X)) {
				used[textOf(f)] = true
			}
			return true
		})
	}
	assert.Equal(t, map[string]bool{"jws.NewVerifier": true, "jws.NewSigner": true, "jwk.ParseKey": true, "jwa.SignatureAlgorithm": true}, used)
}

// testHelpers serve tests: none of them ends up in anybody's Caddy.
var testHelpers = []string{"integration/harness", "internal/faultstore", "internal/freeport", "internal/guesttest", "internal/memstore", "internal/redistest", "store/storetest"}

func TestHelpersOfTestsStayInTests(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := p.path()
		if slices.Contains(testHelpers, from) {
			continue
		}
		for _, imported := range p.Imports {
			assert.NotContains(t, testHelpers, ours(imported), "%s imports %s outside its tests", from, imported)
			assert.NotEqual(t, "testing", imported, "%s serves tests: list it in testHelpers", from)
		}
	}
}

// The config structs are the reference: each option says what it means.
func TestEveryOptionIsExplained(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := p.path()
		if from != "" && !strings.HasPrefix(from, "authenticators/") && !strings.HasPrefix(from, "store/") {
			continue
		}
		for _, name := range p.GoFiles {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			for _, declared := range file.Decls {
				checkOptions(t, set, declared)
			}
		}
	}
}

func checkOptions(t *testing.T, set *token.FileSet, declared ast.Decl) {
	t.Helper()
	general, ok := declared.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, spec := range general.Specs {
		named, ok := spec.(*ast.TypeSpec)
		if !ok || !named.Name.IsExported() {
			continue
		}
		fields, ok := named.Type.(*ast.StructType)
		if !ok {
			continue
		}
		explained := false // a comment may be for the fields right below it too
		for _, field := range fields.Fields.List {
			if field.Tag == nil || reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json") == "" {
				continue
			}
			explained = explained && field.Doc == nil || field.Doc != nil
			assert.True(t, explained, "%s: %s has an option without a comment", set.Position(field.Pos()), named.Name.Name)
		}
	}
}

// No file in the project names a place of one machine.
func TestNoFileNamesAPlaceOfOneMachine(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "-C", "../..", "ls-files", "-z").Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	forbidden := []string{"/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		assert.False(t, slices.ContainsFunc(forbidden, func(place string) bool { return strings.Contains(string(data), place) }), name)
	}
}
