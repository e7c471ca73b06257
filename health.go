package edgeauth

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/edgeauth/caddy-edgeauth/keys"
)

// health says whether the gateway can do its work.
type health struct {
	Status string `json:"status"`

	Store       storeHealth    `json:"store"`
	OtherStores []storeHealth  `json:"other_stores,omitempty"` // that authenticators name
	Tracking    *bool          `json:"tracking,omitempty"`     // of the store
	KeySets     []keySetHealth `json:"key_sets"`
}

// What Status can be.
const (
	healthOK          = "ok"
	healthDegraded    = "degraded"    // all is authenticated, or nearly all, and not as well as usual
	healthUnavailable = "unavailable" // the store does not answer: what needs it gets 503
)

// storeHealth is how a store fares.
type storeHealth struct {
	Name    string `json:"name"`
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty"`

	// Tracking is whether news of changes is trusted; none where nothing is kept.
	Tracking *bool `json:"tracking,omitempty"`
}

// keySetHealth is how a key set fares.
type keySetHealth struct {
	URL      string     `json:"url"`
	Keys     int        `json:"keys"`
	Usable   bool       `json:"usable"`
	Fresh    bool       `json:"fresh"`
	Failing  bool       `json:"failing"`
	Fetched  *time.Time `json:"fetched,omitempty"`
	Fetches  uint64     `json:"fetches"`
	Failures uint64     `json:"failures"`
}

// health asks the stores, and looks at what is known of the key sets. Of those that
// nobody has needed yet, it begins the first fetch: otherwise a gateway that waits for
// its first request would never be ready for it.
func (a *App) health(ctx context.Context) health {
	told := health{Status: healthOK, Store: a.store.health(ctx), KeySets: []keySetHealth{}}
	told.Tracking = told.Store.Tracking
	for _, s := range a.stores {
		if s.sharedStore != a.store.sharedStore {
			told.OtherStores = append(told.OtherStores, s.health(ctx))
		}
	}
	for _, set := range a.keySets {
		set.Want()
		told.KeySets = append(told.KeySets, keySetHealthOf(set))
	}
	switch {
	case !told.Store.Answers:
		told.Status = healthUnavailable
	case !told.Store.well() || slices.ContainsFunc(told.OtherStores, func(s storeHealth) bool { return !s.well() }) ||
		slices.ContainsFunc(told.KeySets, func(k keySetHealth) bool { return !k.well() }):
		told.Status = healthDegraded
	}
	return told
}

func (w *watchedStore) health(ctx context.Context) storeHealth {
	err := w.probe.ask(ctx, w.Ping)
	told := storeHealth{Name: w.name, Answers: isAnswer(err)}
	if !told.Answers {
		told.Error = err.Error()
	}
	if on, meant := w.tracking(); meant {
		told.Tracking = &on
	}
	return told
}

// well reports whether a store fares as it should. Without tracking all is looked up
// anew, which is slow, and right.
func (s storeHealth) well() bool { return s.Answers && (s.Tracking == nil || *s.Tracking) }

func keySetHealthOf(set *keys.Remote) keySetHealth {
	s := set.Status()
	told := keySetHealth{URL: s.URL, Keys: s.Keys, Usable: s.Usable, Fresh: s.Fresh, Failing: s.Failing, Fetches: s.Fetches, Failures: s.Failures}
	if !s.Fetched.IsZero() {
		told.Fetched = &s.Fetched
	}
	return told
}

// well reports whether tokens can be checked by keys that the issuer still stands by.
func (k keySetHealth) well() bool { return k.Keys > 0 && k.Fresh }

// httpStatus is 503 where no requests should be sent here.
func (h health) httpStatus(strict bool) int {
	if h.Status == healthUnavailable || strict && h.Status != healthOK {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}
