package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// schemaOf is that of a body.
func schemaOf(body map[string]any) map[string]any {
	content, _ := body["content"].(map[string]any)
	for _, kind := range content {
		schema, _ := kind.(map[string]any)["schema"].(map[string]any)
		return schema
	}
	return nil
}

// resolved follows a $ref.
func resolved(file, schema map[string]any) map[string]any {
	reference, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	at := file
	for name := range strings.SplitSeq(strings.TrimPrefix(reference, "#/"), "/") {
		at, _ = at[name].(map[string]any)
	}
	return resolved(file, at)
}

// conforms says what of value is against a schema, with no member but those that the
// schema has.
func conforms(file, schema map[string]any, value any, where string) error {
	schema = resolved(file, schema)
	if schema == nil {
		return fmt.Errorf("%s: there is no schema", where)
	}
	kinds, several := schema["type"].([]any)
	if !several {
		kinds = []any{schema["type"]}
	}
	if !slices.ContainsFunc(kinds, func(kind any) bool { return isOfType(value, kind) }) {
		return fmt.Errorf("%s: %v is no %v", where, value, kinds)
	}
	if words, ok := schema["enum"].([]any); ok && !slices.Contains(words, value) {
		return fmt.Errorf("%s: '%v' is none of %v", where, value, words)
	}
	switch v := value.(type) {
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, item := range v {
			if err := conforms(file, items, item, where+"."+strconv.Itoa(i)); err != nil {
				return err
			}
		}
	case map[string]any:
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s: %v is missing", where, name)
			}
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, member := range v {
			of, ok := properties[name].(map[string]any)
			if !ok {
				of, _ = schema["additionalProperties"].(map[string]any)
			}
			if err := conforms(file, of, member, where+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func isOfType(value, kind any) bool {
	switch v := value.(type) {
	case string:
		return kind == "string"
	case bool:
		return kind == "boolean"
	case float64:
		return kind == "number" || kind == "integer" && v == float64(int64(v))
	case []any:
		return kind == "array"
	case map[string]any:
		return kind == "object"
	}
	return value == nil && kind == "null"
}
