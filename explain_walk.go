package edgeauth

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/edgeauth/caddy-edgeauth/issuer"
)

// explainer takes a request through the routes of a server as Caddy would, but sends
// it nowhere: of other handlers it runs those that only change the request.
type explainer struct {
	explanation

	server *caddyhttp.Server
	r      *http.Request
	groups map[string]bool // of routes, of which one has matched
	under  []string        // the named routes that it is in, against a cycle

	// looking is a handler that is looked for: nobody is judged then, and seen says
	// whether it guards the request.
	looking *Handler
	seen    bool
}

// explain says what becomes of a request to a port in the servers of an http app.
func explain(app *caddyhttp.App, r *http.Request, port string) (*explanation, error) {
	name, err := serverFor(app, r, cmp.Or(port, usualPort(app, r.TLS != nil)))
	if err != nil {
		return nil, err
	}
	x := newExplainer(app.Servers[name], r)
	x.Server, x.Time, x.Outcome = name, time.Now().UTC(), outcomeNowhere
	x.Request = shownRequest(r, r.URL)
	if !x.routes(x.server.Routes, "") && x.Outcome == outcomeNowhere {
		x.note("handler", outcomeNowhere, "no handler answers this request: Caddy sends an empty 200")
	}
	return &x.explanation, nil
}

func newExplainer(server *caddyhttp.Server, r *http.Request) *explainer {
	return &explainer{
		server: server, groups: make(map[string]bool),
		r: caddyhttp.PrepareRequest(r, caddy.NewReplacer(), discard{}, server),
	}
}

// serverFor names the server that takes a request to a port: of several there, that
// on the host's own address, or with a route for the host.
func serverFor(app *caddyhttp.App, r *http.Request, port string) (string, error) {
	var found, listening []string
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		for _, listen := range app.Servers[name].Listen {
			listening = append(listening, listen)
			address, err := caddy.ParseNetworkAddress(listen)
			if err != nil || !hasPort(address, port) {
				continue
			}
			if host, _, err := net.SplitHostPort(r.Host); err == nil && address.Host == host {
				found = append([]string{name}, found...)
			} else {
				found = append(found, name)
			}
		}
	}
	if len(found) == 0 {
		return "", badRequest("no server of the config listens on port %s; they listen on %s", port, strings.Join(listening, ", "))
	}
	for _, name := range found {
		x := newExplainer(app.Servers[name], r.Clone(r.Context()))
		for _, route := range app.Servers[name].Routes {
			if matches, err := route.MatcherSets.AnyMatchWithError(x.r); matches && err == nil {
				return name, x.checkScheme()
			}
		}
	}
	return found[0], nil
}

func hasPort(address caddy.NetworkAddress, port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && uint(n) >= address.StartPort && uint(n) <= address.EndPort
}

// checkScheme refuses a request whose scheme the server does not speak.
func (x *explainer) checkScheme() error {
	if secure := len(x.server.TLSConnPolicies) > 0; secure != (x.r.TLS != nil) {
		return badRequest("the server that listens there speaks %s: write %s", map[bool]string{true: "TLS", false: "plain HTTP"}[secure], map[bool]string{true: "https://", false: "http://"}[secure])
	}
	return nil
}

// usualPort is where requests go whose address names no port.
func usualPort(app *caddyhttp.App, secure bool) string {
	if secure {
		return strconv.Itoa(cmp.Or(app.HTTPSPort, caddyhttp.DefaultHTTPSPort))
	}
	return strconv.Itoa(cmp.Or(app.HTTPPort, caddyhttp.DefaultHTTPPort))
}

func (x *explainer) note(what, outcome, detail string) {
	x.Steps = append(x.Steps, step{Step: what, Outcome: outcome, Detail: clipped(detail)})
}

// routes takes the request through a list of routes, and reports whether it ends
// there.
func (x *explainer) routes(list caddyhttp.RouteList, place string) bool {
	for _, route := range list {
		if route.Group != "" && x.groups[route.Group] {
			continue
		}
		matches, err := route.MatcherSets.AnyMatchWithError(x.r)
		if err != nil {
			return x.fail(http.StatusInternalServerError, "a matcher fails: "+err.Error())
		}
		if !matches {
			continue
		}
		x.groups[route.Group] = true
		here := place + matcherText(route.MatcherSets)
		if x.handlers(route.Handlers, here) {
			return true
		}
		if route.Terminal {
			x.note("handler", outcomeNowhere, "nothing in this route answers"+at(here)+": Caddy sends an empty 200")
			return true
		}
	}
	return false
}

func (x *explainer) handlers(list []caddyhttp.MiddlewareHandler, place string) bool {
	for _, handler := range list {
		if x.handler(handler, place) {
			return true
		}
	}
	return false
}

// handler takes the request through one handler.
func (x *explainer) handler(handler caddyhttp.MiddlewareHandler, place string) bool {
	switch h := handler.(type) {
	case *Handler:
		return x.policy(h, place)
	case *caddyhttp.Subroute:
		return x.routes(h.Routes, place)
	case *caddyhttp.Invoke:
		return x.invoke(h.Name, place)
	case *issuer.Issuer:
		if h.Answers(x.r) {
			return x.end(outcomeAnswered, "edge_auth_issuer answers, whoever asks", place)
		}
	case *HealthHandler:
		return x.end(outcomeAnswered, "edge_auth_health answers, whoever asks", place)
	case *Whoami:
		return x.end(outcomeAnswered, "edge_auth_whoami answers", place)
	case *caddyauth.Authentication:
		return x.authentication(h, place)
	case *rewrite.Rewrite:
		h.Rewrite(x.r, replacerOf(x.r))
	case *headers.Handler:
		if h.Request != nil {
			h.Request.ApplyToRequest(x.r)
		}
	case *caddyhttp.VarsMiddleware:
		_ = h.ServeHTTP(discard{}, x.r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })) // there is no error
	case *reverseproxy.Handler:
		return x.proxied(h, place)
	case *caddyhttp.StaticResponse:
		return x.end(outcomePassed, "respond answers", place)
	case *caddyhttp.StaticError:
		return x.end(outcomePassed, "error ends it", place)
	case *fileserver.FileServer:
		if !h.PassThru {
			return x.end(outcomePassed, "file_server answers", place)
		}
	case *ErrorHandler:
	default:
		if name := handlerName(handler); !slices.Contains(x.NotRun, name) {
			x.NotRun = append(x.NotRun, name)
		}
	}
	return false
}

// authentication is Caddy's own handler, in which a policy of ours may stand. Other
// providers are not asked.
func (x *explainer) authentication(h *caddyauth.Authentication, place string) bool {
	ours := providerIn(h)
	if ours == nil {
		x.NotRun = append(x.NotRun, "authentication")
		return false
	}
	ended := x.policy(ours.handler, place)
	if x.Outcome == outcomeRefused {
		x.Status, x.Location = http.StatusUnauthorized, "" // as that handler answers whatever it is
	}
	return ended
}

func handlerName(handler caddyhttp.MiddlewareHandler) string {
	if module, ok := handler.(caddy.Module); ok {
		return module.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", handler)
}

func replacerOf(r *http.Request) *caddy.Replacer {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl
}

func (x *explainer) end(outcome, detail, place string) bool {
	x.Outcome = outcome
	x.note("handler", outcome, detail+at(place))
	return true
}

// at is a place as a sentence ends with it.
func at(place string) string {
	if place == "" {
		return ""
	}
	return ", at" + strings.TrimPrefix(place, " >")
}

func (x *explainer) fail(status int, cause string) bool {
	x.Outcome, x.Status, x.Cause = outcomeRefused, status, cause
	return true
}

func (x *explainer) invoke(name, place string) bool {
	route := x.server.NamedRoutes[name]
	if route == nil || slices.Contains(x.under, name) {
		return x.fail(http.StatusInternalServerError, "invoke: there is no route '"+name+"', or it is this one")
	}
	x.under = append(x.under, name)
	defer func() { x.under = x.under[:len(x.under)-1] }()
	return x.routes(caddyhttp.RouteList{*route}, place+" > invoke "+name)
}

func (x *explainer) proxied(h *reverseproxy.Handler, place string) bool {
	if h.Rewrite != nil && len(h.HandleResponse) > 0 { // forward_auth
		x.NotRun = append(x.NotRun, "forward_auth")
		return false
	}
	dials := make([]string, 0, len(h.Upstreams))
	for _, upstream := range h.Upstreams {
		dials = append(dials, upstream.Dial)
	}
	x.Upstream = strings.Join(dials, ", ")
	if x.Upstream == "" {
		x.Upstream = "a dynamic upstream"
	}
	return x.end(outcomePassed, "reverse_proxy sends it to "+x.Upstream, place)
}
