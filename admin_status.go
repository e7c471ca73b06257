package edgeauth

import (
	"net/http"

	"github.com/edgeauth/caddy-edgeauth/cache"
)

func showHealth(app *App, r *http.Request) (any, error) { return app.health(r.Context()), nil }

// showKeys lists what signatures are checked by: never a key itself.
func showKeys(app *App, _ *http.Request) (any, error) {
	sets := make([]keySetHealth, len(app.keySets))
	for i, set := range app.keySets {
		sets[i] = keySetHealthOf(set)
	}
	return map[string]any{"signing": app.ring.List(), "key_sets": sets}, nil
}

// cacheStats is how a cache fares, as the API shows it.
type cacheStats struct {
	Entries int    `json:"entries"`
	Bytes   int    `json:"bytes"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Stale   uint64 `json:"stale"`
}

func statsOf(c *cache.Cache) cacheStats {
	s := c.Stats()
	return cacheStats{Entries: s.Entries, Bytes: s.Bytes, Hits: s.Hits, Misses: s.Misses, Stale: s.Stale}
}

func showCache(app *App, _ *http.Request) (any, error) {
	answer := map[string]any{cacheOfFindings: statsOf(app.cache), cacheOfRefusals: statsOf(app.refusals)}
	if on, meant := app.store.tracking(); meant {
		answer["tracking"] = on
	}
	return answer, nil
}

// clearCache forgets all that was found out: each credential is looked up anew.
func clearCache(app *App, _ *http.Request) (any, error) {
	return map[string]map[string]int{"cleared": {cacheOfFindings: app.cache.Clear(), cacheOfRefusals: app.refusals.Clear()}}, nil
}
