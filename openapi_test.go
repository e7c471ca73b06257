package edgeauth

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store/redis"
)

// openAPI is as much of docs/reference/openapi.json as is compared with the code.
type openAPI struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string
		Parameters  []struct{ Name, In string }
	}
	Components struct{ Schemas map[string]schemaJSON }
}

type schemaJSON struct {
	Ref        string `json:"$ref"`
	Items      *schemaJSON
	Properties map[string]schemaJSON
}

func readOpenAPI(t *testing.T) (api openAPI, text string) {
	t.Helper()
	data, err := os.ReadFile("docs/reference/openapi.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &api))
	return api, string(data)
}

// The other half of this is in integration/openapi_test.go, which calls each path.
func TestOpenAPIFileAndRoutesAgree(t *testing.T) {
	t.Parallel()
	api, _ := readOpenAPI(t)
	var described, ids []string
	for path, operations := range api.Paths {
		for method, operation := range operations {
			route := strings.ToUpper(method) + " " + path
			described = append(described, route)
			ids = append(ids, operation.OperationID)
			assert.NotEmpty(t, operation.Summary, route)
			var parameters []string
			for _, p := range operation.Parameters {
				if p.In == "path" {
					parameters = append(parameters, "{"+p.Name+"}")
				}
			}
			assert.Equal(t, strings.Count(path, "{"), len(parameters), route)
			for _, parameter := range parameters {
				assert.Contains(t, path, parameter)
			}
		}
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(adminRoutes)), described)
	assert.Len(t, unique(ids), len(ids))
}

func TestSchemasOfTheOpenAPIFileAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	api, text := readOpenAPI(t)
	schemas := api.Components.Schemas
	for name, of := range map[string]any{
		"User": userInfo{}, "Token": records.Token{}, "MadeToken": madeToken{}, "Session": records.Session{},
		"ImportedUser": records.ImportedUser{}, "ImportedToken": records.ImportedToken{}, "Import": importBatch{},
		"ImportReport": importReport{}, "Refusal": records.Refusal{}, "Migration": migration{}, "Redis": redis.Config{},
		"Question": asked{}, "Explanation": explanation{}, "Step": step{}, "Header": shownHeader{},
	} {
		compareSchema(t, name, schemas[name], reflect.TypeOf(of))
	}
	for name := range schemas {
		assert.Contains(t, text, `"$ref": "#/components/schemas/`+name+`"`, "nothing uses it")
	}
	bodies := bodiesOfHandlers(t)
	require.Greater(t, len(bodies), 3)
	for where, members := range bodies {
		assert.True(t, slices.ContainsFunc(slices.Collect(maps.Values(schemas)), func(s schemaJSON) bool {
			return slices.Equal(members, slices.Sorted(maps.Keys(s.Properties)))
		}), "%s: no schema has just the members %v", where, members)
	}
}

// compareSchema compares the members of a schema with those of a struct, and theirs.
func compareSchema(t *testing.T, name string, s schemaJSON, of reflect.Type) {
	t.Helper()
	fields := jsonFields(of)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(fields)), slices.Collect(maps.Keys(s.Properties)), name)
	for member, field := range fields {
		if below := s.Properties[member]; below.Ref == "" && field.Kind() == reflect.Struct && field != reflect.TypeFor[time.Time]() {
			compareSchema(t, name+"."+member, below, field)
		}
	}
}

// jsonFields lists what encoding/json reads and writes of a struct.
func jsonFields(of reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || !field.IsExported() || name == "-" || name == "" {
			continue
		}
		kind := field.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		fields[name] = kind
	}
	return fields
}

// bodiesOfHandlers finds the structs without a name that requests are read into, and
// gives the members of each.
func bodiesOfHandlers(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("admin*.go")
	require.NoError(t, err)
	bodies := make(map[string][]string)
	for _, path := range files {
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			body, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			var members []string
			for _, field := range body.Fields.List {
				tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
				members = append(members, strings.TrimSuffix(tag, ",omitempty"))
			}
			slices.Sort(members)
			bodies[positions.Position(spec.Pos()).String()] = members
			return true
		})
	}
	return bodies
}
