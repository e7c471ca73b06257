package edgeauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// takeQueryCredential lets authenticators read a credential that stands in the
// address. The request then starts over without it, through the whole server, and it
// reports that it did. A policy that only reports leaves the address as it is, for the
// application behind, and goes on with the request that is returned.
//
// Caddy keeps a copy of the address for its logs, and for error routes, before
// the first handler runs, and no handler can reach it. In the second round all
// of that is as clean as what is forwarded; the first is not logged.
func (p *Policy) takeQueryCredential(w http.ResponseWriter, r *http.Request) (*http.Request, bool) {
	if len(p.query) == 0 {
		return r, false
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	original, haveOriginal := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || !haveOriginal || original.URL.RawQuery == "" {
		return r, false
	}
	if p.ReportOnly {
		return p.readQueryCredential(r, original.URL.RawQuery), false
	}
	ctx, query, found := authenticators.TakeFromQuery(r.Context(), original.URL.RawQuery, p.query)
	if !found {
		return r, false
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
	return r, true
}

// readQueryCredential is r with the credential where authenticators find it, once.
func (p *Policy) readQueryCredential(r *http.Request, query string) *http.Request {
	for _, name := range p.query {
		if _, err := authenticators.FromQuery(r, name); !errors.Is(err, authenticators.ErrNoCredential) {
			return r
		}
	}
	ctx, _, _ := authenticators.TakeFromQuery(r.Context(), query, p.query)
	return r.WithContext(ctx)
}
