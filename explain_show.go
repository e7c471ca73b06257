package edgeauth

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// shown is a request as an explanation shows it: of what could be a secret, only that
// it is there.
type shown struct {
	Method  string        `json:"method"`
	URL     string        `json:"url"`
	Headers []shownHeader `json:"headers,omitempty"`
}

type shownHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// plainHeaders are those whose values decide something here, and are no secrets.
var plainHeaders = []string{
	"Accept", "Access-Control-Request-Method", "Connection", "Content-Type", "Origin", "Sec-Fetch-Dest", "Sec-Fetch-Mode",
	"Sec-Fetch-Site", "Upgrade", "X-Requested-With",
}

// What an explanation keeps of a client's text at most: bytes of one, and headers.
const (
	maxShown        = 300
	maxShownHeaders = 20
)

// clipped is a copy, so that it keeps nothing in memory but itself: the method of a
// request is a part of its whole first line.
func clipped(text string) string {
	if len(text) > maxShown {
		return strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return strings.Clone(text)
}

// shownRequest is r with its secrets masked. asked is its address before rewrites.
func shownRequest(r *http.Request, asked *url.URL) shown {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	s := shown{Method: clipped(r.Method), URL: clipped(scheme + "://" + r.Host + asked.EscapedPath() + maskedQuery(asked.RawQuery))}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			if len(s.Headers) < maxShownHeaders {
				s.Headers = append(s.Headers, shownHeader{clipped(name), maskedHeader(name, value)})
			}
		}
	}
	return s
}

// maskedQuery shows which parameters there are: one may carry a token.
func maskedQuery(query string) string {
	if query == "" {
		return ""
	}
	var names []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, named := strings.Cut(pair, "=")
		if !named {
			name = "" // it is all value
		}
		names = append(names, name+"=…")
	}
	return "?" + strings.Join(names, "&")
}

func maskedHeader(name, value string) string {
	switch name = http.CanonicalHeaderKey(name); {
	case slices.Contains(plainHeaders, name):
		return clipped(value)
	case name == "Authorization":
		if scheme := schemeOf(value); scheme != "" {
			return scheme + " …"
		}
	case name == "Cookie":
		var masked []string
		for _, name := range cookieNames([]string{value}) {
			masked = append(masked, name+"=…")
		}
		return clipped(strings.Join(masked, "; "))
	}
	return hidden(value)
}

// hidden says of a value only how long it is.
func hidden(value string) string { return fmt.Sprintf("… (%d bytes)", len(value)) }

// schemeOf is the scheme of Authorization; empty where there is none, and all of it
// may be a secret.
func schemeOf(value string) string {
	scheme, _, ok := strings.Cut(value, " ")
	if !ok || len(scheme) > 20 {
		return ""
	}
	return scheme
}

// cookieNames are the names in lines of cookies. What has no name may be a secret.
func cookieNames(lines []string) []string {
	var names []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if name, _, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// shownCredential says where a credential stood, and what it can be found by again in
// records and logs. Of a password it says nothing.
func shownCredential(m *member, c authenticators.Credential) string {
	place := map[authenticators.Place]string{
		authenticators.InHeader: "header", authenticators.InCookie: "cookie", authenticators.InQuery: "query parameter",
	}[c.In]
	text := fmt.Sprintf("in the %s %s", place, c.Name)
	switch m.name {
	case "session", "token", "jwt":
		if c.Value != "" {
			text += fmt.Sprintf(" (%d characters, sha256 %.16s)", len(c.Value.Reveal()), c.Value.Digest())
		}
	}
	return text
}
