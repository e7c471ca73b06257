package authenticators

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// queryKey is where a request's context holds the parameters that were taken
// out of its address.
type queryKey struct{}

// FromQuery returns the value of a query parameter that TakeFromQuery has taken
// out of the address. ErrNoCredential: there was none, or it is empty.
// ErrTwoValues: it was sent twice.
func FromQuery(r *http.Request, name string) (Secret, error) {
	taken, _ := r.Context().Value(queryKey{}).(url.Values)
	switch values := taken[name]; {
	case len(values) > 1:
		return "", ErrTwoValues
	case len(values) == 0 || values[0] == "":
		return "", ErrNoCredential
	default:
		return Secret(values[0]), nil
	}
}

// TakeFromQuery takes parameters out of a raw query, and leaves all others as
// they stand. The context it returns holds them for FromQuery. ok is false if
// there are none.
func TakeFromQuery(ctx context.Context, query string, names []string) (_ context.Context, rest string, ok bool) {
	taken := make(url.Values)
	before, _ := ctx.Value(queryKey{}).(url.Values)
	maps.Copy(taken, before)
	var kept []string
	found := false
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if name, wanted := among(key, names); wanted {
			// What can't be decoded is no token, and must not stay either.
			decoded, err := url.QueryUnescape(value)
			if err != nil {
				decoded = value
			}
			taken.Add(name, decoded)
			found = true
			continue
		}
		kept = append(kept, pair)
	}
	if !found {
		return ctx, query, false
	}
	return context.WithValue(ctx, queryKey{}, taken), strings.Join(kept, "&"), true
}

// among finds the name that a key spells. Upstreams may fold case, so a token
// under another spelling of the name must not travel on either.
func among(key string, names []string) (string, bool) {
	decoded, err := url.QueryUnescape(key)
	if err != nil {
		decoded = key
	}
	for _, name := range names {
		if strings.EqualFold(decoded, name) {
			return name, true
		}
	}
	return "", false
}
