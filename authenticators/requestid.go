package authenticators

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// RequestIDHeader is the header in which each refusal has the request's id.
const RequestIDHeader = "X-Request-Id"

// RequestID names a request in answers and logs. It is Caddy's own
// {http.request.uuid}, made when it is first asked for, and then in the access log
// too. Empty for a request that Caddy has not prepared.
func RequestID(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	id, _ := repl.GetString("http.request.uuid")
	return id
}
