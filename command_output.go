package edgeauth

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// memberOf shows one member of an answer.
func memberOf(name string) func(answer any) string {
	return func(answer any) string {
		object, _ := answer.(map[string]any)
		return cell(object[name])
	}
}

// lines shows the members of an object, a line each; those that are not there are
// left out.
func lines(names ...string) func(answer any) string {
	return func(answer any) string {
		var text strings.Builder
		w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		object, _ := answer.(map[string]any)
		for _, name := range names {
			if value, ok := object[name]; ok {
				fmt.Fprintf(w, "%s\t%s\n", strings.ToUpper(name), cell(value))
			}
		}
		_ = w.Flush() // into memory
		return strings.TrimRight(text.String(), "\n")
	}
}

// table shows a list of objects, a line each.
func table(columns ...string) func(answer any) string {
	return func(answer any) string {
		var text strings.Builder
		w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
		rows, _ := answer.([]any)
		for _, row := range rows {
			object, _ := row.(map[string]any)
			cells := make([]string, len(columns))
			for i, column := range columns {
				cells[i] = cell(object[column])
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		_ = w.Flush() // into memory
		return strings.TrimRight(text.String(), "\n")
	}
}

func cell(value any) string {
	switch v := value.(type) {
	case nil:
		return "-"
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = cell(item)
		}
		return strings.Join(items, ",")
	case string:
		return v
	}
	return fmt.Sprint(value)
}
