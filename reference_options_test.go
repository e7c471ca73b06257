package edgeauth

import (
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

// compareOptions holds each function that reads options of a Caddyfile to the table
// that names it, as in <!-- options: authenticators/jwt Authenticator.unmarshalOption -->.
func compareOptions(t *testing.T, pages reference, code *source) {
	described := make(map[string]bool)
	for mark := range pages.marked {
		list, ok := strings.CutPrefix(mark, "options: ")
		if !ok {
			continue
		}
		want := make(map[string]bool)
		for function := range strings.SplitSeq(list, ", ") {
			described[function] = true
			assert.NotEmpty(t, code.labels[function], "the code has no function '%s' that reads options", function)
			maps.Copy(want, code.labels[function])
		}
		got := make(map[string]bool)
		for _, span := range pages.firstCells(t, mark) {
			if !strings.HasPrefix(span, "<") { // such as <user> <hash>
				got[firstWord(span)] = true
			}
		}
		assert.Equal(t, want, got, "options of %s", list)
	}
	for function := range code.labels {
		if code.reads[function] {
			assert.True(t, described[function], "docs/reference has no table below <!-- options: %s -->", function)
		}
	}
	// What is suggested for a mistyped word is what is read.
	for name, words := range code.lists {
		folder, _, _ := strings.Cut(name, " ")
		assert.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(code.labels)), func(function string) bool {
			of, _, below := strings.Cut(function, " ")
			return (of == folder || folder == "." && !below) && maps.Equal(words, code.labels[function])
		}), "%s lists other options than are read", name)
	}
}

// source is what the test knows of the code by reading it: no list of ours can be
// behind what a switch says.
type source struct {
	directives []string
	labels     map[string]map[string]bool // by function: the words that it tells apart
	reads      map[string]bool            // the functions that read a Caddyfile
	lists      map[string]map[string]bool // variables with the names of options
}

func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{labels: make(map[string]map[string]bool), reads: make(map[string]bool), lists: make(map[string]map[string]bool)}
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{"internal", "integration", "bench", "tools", "docs", ".git"}, path):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.add(filepath.ToSlash(filepath.Dir(path)), file)
		return nil
	}))
	require.Greater(t, len(s.reads), 10)
	return s
}

func (s *source) add(folder string, file *ast.File) {
	for _, declared := range file.Decls {
		switch d := declared.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = strings.TrimLeft(typeName(d.Recv.List[0].Type), "*") + "." + name
			}
			if folder != "." {
				name = folder + " " + name
			}
			if labels := labelsOf(d); len(labels) > 0 {
				s.labels[name] = labels
				s.reads[name] = readsCaddyfile(d)
			}
		case *ast.GenDecl:
			s.addLists(folder, d)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok && len(call.Args) == 2 {
			switch selected(call) {
			case "RegisterDirective", "RegisterHandlerDirective", "RegisterGlobalOption":
				s.directives = append(s.directives, text(call.Args[0]))
			}
		}
		return true
	})
}

// listsWords are the names of variables such as policyOptions.
var listsWords = regexp.MustCompile(`([oO]ptions|requirementKinds)$`)

func (s *source) addLists(folder string, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, name := range value.Names {
			if !listsWords.MatchString(name.Name) || i >= len(value.Values) {
				continue
			}
			if list, ok := value.Values[i].(*ast.CompositeLit); ok {
				words := make(map[string]bool)
				for _, item := range list.Elts {
					words[text(item)] = true
				}
				s.lists[folder+" "+name.Name] = words
			}
		}
	}
}

func typeName(of ast.Expr) string {
	switch e := of.(type) {
	case *ast.StarExpr:
		return "*" + typeName(e.X)
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func readsCaddyfile(function *ast.FuncDecl) bool {
	return slices.ContainsFunc(function.Type.Params.List, func(field *ast.Field) bool {
		return slices.Contains([]string{"*caddyfile.Dispenser", "httpcaddyfile.Helper"}, typeName(field.Type))
	})
}

// labelsOf lists the words that a function tells apart: by a switch, by a map of
// texts, or by comparing them while it reads a block.
func labelsOf(function *ast.FuncDecl) map[string]bool {
	words := make(map[string]bool)
	note := func(expressions ...ast.Expr) {
		for _, e := range expressions {
			if word := text(e); word != "" {
				words[word] = true
			}
		}
	}
	ast.Inspect(function, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.CaseClause:
			note(n.List...)
			for _, e := range n.List {
				ast.Inspect(e, func(node ast.Node) bool {
					noteCompared(node, note)
					return true
				})
			}
		case *ast.ForStmt:
			if n.Cond != nil && calls(n.Cond, "NextBlock") {
				for _, statement := range n.Body.List {
					if choice, ok := statement.(*ast.IfStmt); ok {
						noteCompared(choice.Cond, note)
					}
				}
			}
		case *ast.CompositeLit:
			if kind, ok := n.Type.(*ast.MapType); ok && typeName(kind.Key) == "string" && typeName(kind.Value) == "*string" {
				for _, item := range n.Elts {
					note(item.(*ast.KeyValueExpr).Key)
				}
			}
		}
		return true
	})
	return words
}

// noteCompared notes the text that a variable, or what was read last, is compared with.
func noteCompared(condition ast.Node, note func(...ast.Expr)) {
	if comparison, ok := condition.(*ast.BinaryExpr); ok && (comparison.Op == token.EQL || comparison.Op == token.NEQ) {
		if _, variable := comparison.X.(*ast.Ident); variable || calls(comparison.X, "Val") {
			note(comparison.Y)
		}
	}
}

func calls(in ast.Expr, method string) bool {
	call, ok := in.(*ast.CallExpr)
	return ok && selected(call) == method
}

func selected(call *ast.CallExpr) string {
	if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
		return selector.Sel.Name
	}
	return ""
}

// text is that of a literal, or nothing.
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	word, _ := strconv.Unquote(literal.Value)
	return word
}
