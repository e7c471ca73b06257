package edgeauth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// proxied is a way from a server to an upstream.
type proxied struct {
	server   *caddyhttp.Server
	upstream string
	place    string
	stripped bool // edge_auth comes before it, whatever the request
	identity bool // and it may set identity headers
}

// dynamicUpstream is one that is known only when a request comes.
const dynamicUpstream = "a dynamic upstream"

// walker goes through a server's routes as a request would.
type walker struct {
	server *caddyhttp.Server
	found  []proxied
	guards []placed
	named  []string // the named routes being walked, against a cycle
}

// placed is a handler of ours and the host that it stands under; empty: any.
type placed struct {
	*Handler

	host string
}

// walked has gone through all primary routes of a server.
func walked(server *caddyhttp.Server) *walker {
	k := &walker{server: server}
	k.routes(server.Routes, strings.Join(server.Listen, ","), cover{})
	return k
}

// cover says what requests have certainly passed at some point of the routes.
type cover struct {
	stripped, identity bool

	host string // one of those that they are for; empty: any
}

// routes walks a list and returns what holds behind it.
func (k *walker) routes(list caddyhttp.RouteList, place string, at cover) cover {
	for _, route := range list {
		inside := at
		inside.host = cmp.Or(hostOf(route.MatcherSets), at.host)
		after := k.handlers(route.Handlers, place+matcherText(route.MatcherSets), inside)
		// Of a group only one route runs, so none of them is certain.
		if alwaysMatches(route.MatcherSets) && route.Group == "" {
			at = after
		}
	}
	return at
}

func (k *walker) handlers(list []caddyhttp.MiddlewareHandler, place string, at cover) cover {
	for _, handler := range list {
		switch h := handler.(type) {
		case *Handler:
			at.stripped = true
			at.identity = at.identity || !h.Off
			k.guards = append(k.guards, placed{h, at.host})
		case *ErrorHandler:
			at.stripped = true
		case *caddyauth.Authentication:
			if providerIn(h) != nil {
				at.stripped, at.identity = true, true
			}
		case *caddyhttp.Subroute:
			at = k.routes(h.Routes, place, at)
		case *caddyhttp.Invoke:
			at = k.invoke(h.Name, place, at)
		case *reverseproxy.Handler:
			for _, upstream := range h.Upstreams {
				k.found = append(k.found, proxied{k.server, upstream.Dial, place, at.stripped, at.identity})
			}
			if len(h.Upstreams) == 0 {
				k.found = append(k.found, proxied{k.server, dynamicUpstream, place, at.stripped, at.identity})
			}
		}
	}
	return at
}

func (k *walker) invoke(name, place string, at cover) cover {
	route := k.server.NamedRoutes[name]
	if route == nil || slices.Contains(k.named, name) {
		return at
	}
	k.named = append(k.named, name)
	defer func() { k.named = k.named[:len(k.named)-1] }()
	after := k.handlers(route.Handlers, place+" > invoke "+name, at)
	if alwaysMatches(route.MatcherSets) {
		return after
	}
	return at
}

// alwaysMatches reports whether every request matches: there is no matcher, or
// only the path *.
func alwaysMatches(sets caddyhttp.MatcherSets) bool {
	if len(sets) == 0 {
		return true
	}
	return slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool {
			path, ok := matcher.(*caddyhttp.MatchPath)
			return !ok || !slices.Contains(*path, "*")
		})
	})
}

// hostOf is a host that a route is for; empty: any.
func hostOf(sets caddyhttp.MatcherSets) string {
	for _, set := range sets {
		for _, matcher := range set {
			if hosts, ok := matcher.(*caddyhttp.MatchHost); ok && len(*hosts) > 0 {
				return strings.Replace((*hosts)[0], "*", "any", 1)
			}
		}
	}
	return ""
}

// matcherText tells in words where a route leads, for a log line.
func matcherText(sets caddyhttp.MatcherSets) string {
	var words []string
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				words = append(words, "host "+strings.Join(*m, " "))
			case *caddyhttp.MatchPath:
				words = append(words, "path "+strings.Join(*m, " "))
			default:
				words = append(words, strings.TrimPrefix(fmt.Sprintf("%T", matcher), "*caddyhttp.Match"))
			}
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " > " + strings.Join(words, ", ")
}

// unstrippedProxy names a place in the server's error routes that proxies
// before edge_auth has stripped; empty: there is none.
func unstrippedProxy(server *caddyhttp.Server) string {
	if !hasErrorRoutes(server) {
		return ""
	}
	k := &walker{server: server}
	k.routes(server.Errors.Routes, "handle_errors", cover{})
	for _, p := range k.found {
		if !p.stripped {
			return p.place + ", to " + p.upstream
		}
	}
	return ""
}

// warnOfServers tells of what is wrong with the routes of all servers together, those
// without edge_auth included.
func (a *App) warnOfServers() {
	if a.http == nil {
		return
	}
	var ways []proxied
	for _, server := range a.http.Servers {
		k := walked(server)
		k.warnOfLoginLoops(a.logger)
		ways = append(ways, k.found...)
	}
	warnOfLeaks(ways, a.logger)
}

// warnOfLeaks tells of upstreams that get identity headers from one route and
// could be sent forged ones by another, since no edge_auth stands before it.
func warnOfLeaks(ways []proxied, logger *zap.Logger) {
	for _, open := range ways {
		if open.stripped {
			continue
		}
		i := slices.IndexFunc(ways, func(p proxied) bool { return p.identity && p.upstream == open.upstream && p.server == open.server })
		if i < 0 && open.upstream != dynamicUpstream { // which may be any
			i = slices.IndexFunc(ways, func(p proxied) bool { return p.identity && p.upstream == open.upstream })
		}
		if i < 0 {
			continue
		}
		logger.Warn("a route proxies to an upstream that trusts identity headers, without edge_auth before it: clients can forge them; add edge_auth or 'edge_auth off' there",
			zap.String("upstream", open.upstream), zap.String("open", open.place), zap.String("guarded", ways[i].place))
	}
}
