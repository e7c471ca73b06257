package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretName is how what must not be compared byte by byte is called.
var secretName = regexp.MustCompile(`(?i)(^code|secret|password|token|digest|signature|mac|csrf|hash|sum|typed|masked|pepper)s?$`)

// comparesByte are functions that stop at the first difference.
var comparesByte = []string{"bytes.Equal", "bytes.Compare", "strings.Compare", "strings.EqualFold", "strings.HasPrefix", "bytes.HasPrefix", "slices.Equal", "slices.Contains", "reflect.DeepEqual"}

// compared says why a comparison of what is called like a secret is none.
var compared = map[string]string{
	"command.go: bytes.Equal(typed[…], typed[…])":                            "both were typed by one person at one terminal",
	"loginloop.go: hash != addressHash(…)":                                   "a digest of an address, which the client knows",
	"authenticators/jwt/check.go: c.secret(…) != a.Keys[…].secret(…)":        "whether a key is a shared secret",
	"authenticators/jwt/find.go: a.bySecret(…) != rival.bySecret(…)":         "whether a key is a shared secret",
	"keys/read.go: k.Secret(…) != secret":                                    "whether a key is a shared secret",
	"authenticators/session/application.go: p.sealed.secrets == noSecrets":   "how many secrets a preset has",
	"authenticators/session/application.go: p.sealed.secrets == mustSecrets": "how many secrets a preset has",
	"internal/djangodump/djangodump.go: kind == hash":                        "reads a dump that an administrator has made",
	"respond.go: a.Code == codeLoginLoop":                                    "a word of an answer",
	"records/imports.go: before.Password != now.Password":                    "two hashes of the administrator's: the store's and the dump's",
	"records/tokens.go: strings.HasPrefix(t.digest, f.Prefix)":               "what lists show of a digest, asked for through the admin API",
}

// T10 and T20: how long a comparison takes tells nobody how much of a secret was
// right, and what is made by chance can't be guessed.
func TestT10T20SecretsAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range packages(t) {
		from := p.path()
		if slices.Contains(testHelpers, from) || strings.HasPrefix(from, "bench") || strings.HasPrefix(from, "integration") {
			continue
		}
		for _, name := range p.GoFiles {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, 0)
			require.NoError(t, err)
			for _, found := range comparisons(file) {
				key := filepath.ToSlash(filepath.Join(from, name)) + ": " + found.text
				used[key] = true
				assert.NotEmpty(t, compared[key], "%s compares a secret byte by byte: use subtle.ConstantTimeCompare, or say in this test why %q is no secret", set.Position(found.pos), key)
			}
		}
	}
	for key := range compared {
		assert.True(t, used[key], "there is no longer a comparison %q", key)
	}
}

type comparison struct {
	pos  token.Pos
	text string
}

// comparisons finds those of what is called like a secret with anything that is
// not a constant.
func comparisons(file *ast.File) []comparison {
	var found []comparison
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && !isConstant(n.X) && !isConstant(n.Y) && (isSecret(n.X) || isSecret(n.Y)) {
				found = append(found, comparison{n.Pos(), textOf(n.X) + " " + n.Op.String() + " " + textOf(n.Y)})
			}
		case *ast.CallExpr:
			name := textOf(n.Fun)
			if slices.Contains(comparesByte, name) && len(n.Args) == 2 && !isConstant(n.Args[1]) && (isSecret(n.Args[0]) || isSecret(n.Args[1])) {
				found = append(found, comparison{n.Pos(), name + "(" + textOf(n.Args[0]) + ", " + textOf(n.Args[1]) + ")"})
			}
		}
		return true
	})
	return found
}

func isSecret(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return secretName.MatchString(e.Name)
	case *ast.SelectorExpr:
		return secretName.MatchString(e.Sel.Name)
	case *ast.IndexExpr:
		return isSecret(e.X)
	case *ast.SliceExpr:
		return isSecret(e.X)
	case *ast.ParenExpr:
		return isSecret(e.X)
	case *ast.CallExpr:
		// A method of a secret, or a conversion: string(token), s.Reveal(), s.Sum().
		name := e.Fun
		if selector, ok := name.(*ast.SelectorExpr); ok && (selector.Sel.Name == "Reveal" || isSecret(selector.Sel)) {
			return true
		}
		return len(e.Args) == 1 && isSecret(e.Args[0])
	}
	return false
}

// isConstant reports whether an expression is a literal, nil, or looks like a
// constant of a package: http.StatusOK.
func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil" || e.Name == "true" || e.Name == "false"
	case *ast.CallExpr:
		return textOf(e.Fun) == "len"
	case *ast.CompositeLit:
		return len(e.Elts) == 0
	case *ast.ParenExpr:
		return isConstant(e.X)
	case *ast.UnaryExpr:
		return isConstant(e.X)
	}
	return false
}

func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.BasicLit:
		return e.Value
	case *ast.SelectorExpr:
		return textOf(e.X) + "." + e.Sel.Name
	case *ast.IndexExpr:
		return textOf(e.X) + "[…]"
	case *ast.SliceExpr:
		return textOf(e.X) + "[…]"
	case *ast.ParenExpr:
		return textOf(e.X)
	case *ast.CallExpr:
		return textOf(e.Fun) + "(…)"
	}
	return "…"
}

func TestComparisonsOfSecretsAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`token == given`:                     1,
		`c.Value.Reveal() != want`:           1,
		`string(password) == typed`:          1,
		`bytes.Equal(sum[:], other)`:         1,
		`strings.EqualFold(x.CSRF, y)`:       1,
		`c.Value.Digest() == d`:              1,
		`token == ""`:                        0,
		`token == nil`:                       0,
		`len(token) == n`:                    0,
		`name == other`:                      0,
		`strings.HasPrefix(token, "ea_")`:    0,
		`subtle.ConstantTimeCompare(a, sum)`: 0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar _ = "+text, 0)
		require.NoError(t, err, text)
		assert.Len(t, comparisons(file), want, text)
	}
}
