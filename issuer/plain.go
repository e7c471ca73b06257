package issuer

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/store"
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

// hosts are hosts that the log has been told of, in that order. Clients name them, so
// there are bounds: who makes names up takes the places of others, which are told of
// again, and the log gets no more than a few at first, and then one in a while.
type hosts struct {
	mu   sync.Mutex // guards what follows
	told []string
	last time.Duration // by store.Now, when the last but the first few was told of
}

const (
	maxHosts   = 100
	firstHosts = 10
	hostsEvery = time.Minute
)

// first reports whether a host is to be told of.
func (h *hosts) first(name string, now time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.told, name) {
		return false
	}
	if len(h.told) >= firstHosts {
		if h.last > 0 && now-h.last < hostsEvery {
			return false
		}
		h.last = now
	}
	if len(h.told) == maxHosts {
		h.told = slices.Delete(h.told, 0, 1)
	}
	h.told = append(h.told, name)
	return true
}

var plainHosts hosts

// tellPlain warns of a host where logins are lost.
func (i *Issuer) tellPlain(r *http.Request) {
	host := identity.SafeText(r.Host)
	if len(host) > identity.MaxID || !plainHosts.first(host, store.Now()) {
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
