package edgeauth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// withoutQueryCredential lets a request whose address holds a credential start
// over without it, through the whole server, and reports whether it did.
//
// Caddy keeps a copy of the address for its logs, and for error routes, before
// the first handler runs, and no handler can reach it. In the second round all
// of that is as clean as what is forwarded; the first is not logged.
func (p *Policy) withoutQueryCredential(w http.ResponseWriter, r *http.Request) bool {
	if len(p.query) == 0 {
		return false
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	original, haveOriginal := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || !haveOriginal || original.URL.RawQuery == "" {
		return false
	}
	ctx, query, found := authenticators.TakeFromQuery(r.Context(), original.URL.RawQuery, p.query)
	if !found {
		return false
	}
	again := stateOf(r).withCredentials(r).WithContext(ctx)
	again.Method, again.RemoteAddr = original.Method, original.RemoteAddr
	again.URL = new(url.URL)
	*again.URL = *original.URL
	again.URL.RawQuery = query
	again.RequestURI, _, _ = strings.Cut(original.RequestURI, "?")
	if query != "" {
		again.RequestURI += "?" + query
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	clear(w.Header()) // what handlers have set so far, they set again
	// The page's own address, with the token, is no referrer for what it links to.
	w.Header().Set("Referrer-Policy", "no-referrer")
	server.ServeHTTP(w, again)
	return true
}
