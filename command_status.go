package edgeauth

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/spf13/cobra"
)

func healthCommand() *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Says whether the gateway can do its work", Args: cobra.NoArgs,
		Long: `Says whether the gateway can do its work: whether its store answers and tells of
changes, and whether the keys of issuers are fresh. It fails where the store does
not answer.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call(cmd, http.MethodGet, "/health", nil, shownHealth)
		},
	}
}

func shownHealth(answer any) string {
	told, _ := answer.(map[string]any)
	stores := []any{told["store"]}
	if others, ok := told["other_stores"].([]any); ok {
		stores = append(stores, others...)
	}
	text := cell(told["status"]) + "\n\n" + table("name", "answers", "tracking", "error")(stores)
	return text + shownKeySets(told)
}

// shownKeySets shows the key sets of an answer; nothing if there are none.
func shownKeySets(told map[string]any) string {
	sets, _ := told["key_sets"].([]any)
	if len(sets) == 0 {
		return ""
	}
	return "\n\n" + table("url", "keys", "fresh", "failing", "fetched", "failures")(sets)
}

func keysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "Lists the keys that sign, and the key sets of issuers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call(cmd, http.MethodGet, "/keys", nil, func(answer any) string {
				told, _ := answer.(map[string]any)
				return table("kid", "alg", "signs")(told["signing"]) + shownKeySets(told)
			})
		},
	}
}

func cacheCommand() *cobra.Command {
	cmd := group("cache", "Shows or empties what is kept of findings", &cobra.Command{
		Use: "clear", Short: "Forgets all that was found out: each credential is looked up anew", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call(cmd, http.MethodDelete, "/cache", nil, func(answer any) string {
				told, _ := answer.(map[string]any)
				cleared, _ := told["cleared"].(map[string]any)
				return fmt.Sprintf("forgot %v findings and %v refusals", cleared[cacheOfFindings], cleared[cacheOfRefusals])
			})
		},
	})
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return call(cmd, http.MethodGet, "/cache", nil, shownCaches)
	}
	return cmd
}

func shownCaches(answer any) string {
	told, _ := answer.(map[string]any)
	var rows []any
	for _, name := range []string{cacheOfFindings, cacheOfRefusals} {
		row := map[string]any{"cache": name}
		stats, _ := told[name].(map[string]any)
		maps.Copy(row, stats)
		rows = append(rows, row)
	}
	text := table("cache", "entries", "bytes", "hits", "misses", "stale")(rows)
	if on, ok := told["tracking"].(bool); ok {
		text += fmt.Sprintf("\n\ntracking: %v", on)
	}
	return text
}
