package issuer

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// byPlainHTTP reports whether a browser has come here by plain HTTP, over which it
// keeps none of our cookies: they are Secure. From its own machine it keeps them.
//
// Of a proxy that ends TLS in front, whatever says so counts, also what anybody could
// send: who lies here only misses the hint, and one that is wrong would keep people
// out of a site that works.
func byPlainHTTP(r *http.Request) bool {
	switch {
	case r.TLS != nil, IsOwnMachine(r.Host), strings.HasPrefix(r.Header.Get("Origin"), "https://"):
		return false
	case r.Header.Get("Sec-Fetch-Site") != "": // not sent by plain HTTP (Fetch Metadata, section 2)
		return false
	}
	forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return !strings.EqualFold(strings.TrimSpace(forwarded), "https") &&
		!strings.Contains(strings.ToLower(r.Header.Get("Forwarded")), "proto=https")
}

// IsOwnMachine reports whether a Host is what browsers trust as their own machine
// (Secure Contexts, section 3.1).
func IsOwnMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]."))
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.IsLoopback()
}

// losesCookies reports whether it is sure that cookies of ours are lost: a browser
// says itself that its page came by plain HTTP. Programs don't, and may keep cookies
// as they like.
func losesCookies(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Origin"), "http://") && byPlainHTTP(r)
}

// isBrowsing reports whether a browser asks for a page: only those send this, by
// plain HTTP too.
func isBrowsing(r *http.Request) bool { return r.Header.Get("Upgrade-Insecure-Requests") == "1" }

// hosts are hosts that the log has been told of: each once in the life of the
// process, and not more than could be ours, since clients name them.
type hosts struct {
	mu   sync.Mutex
	told map[string]bool
}

const maxHosts = 100

// first reports whether a host was not there yet.
func (h *hosts) first(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told[name] || len(h.told) == maxHosts {
		return false
	}
	if h.told == nil {
		h.told = make(map[string]bool)
	}
	h.told[name] = true
	return true
}

var plainHosts hosts

// tellPlain warns of a host where logins are lost.
func (i *Issuer) tellPlain(r *http.Request) {
	host := identity.SafeText(r.Host)
	if len(host) > identity.MaxID || !plainHosts.first(host) {
		return
	}
	i.logger.Warn("browsers come to the login by plain HTTP, over which they keep no cookie of ours: serve this host by HTTPS; where a proxy in front does, let it send X-Forwarded-Proto",
		zap.String("host", host))
}

// refusePlain answers a login whose session would be lost, before its password is
// looked at: a redirect would lead back to the login, and on without an end.
func (i *Issuer) refusePlain(w http.ResponseWriter, r *http.Request, form loginForm) error {
	i.tellPlain(r)
	if isJSON(r) {
		return &refusal{status: http.StatusForbidden, body: coded("By plain HTTP browsers keep no login. Use HTTPS.", "plain_http")}
	}
	return i.pages.show(w, r, http.StatusForbidden, "login.html", "", "plain_http", form)
}
