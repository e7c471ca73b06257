package edgeauth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// challenges lists one WWW-Authenticate value for each authenticator that has a
// scheme. A special one takes the place of the one of its scheme.
func (p *Policy) challenges(special string) []string {
	var list []string
	specialScheme, _, _ := strings.Cut(special, " ")
	for _, m := range p.members {
		c, ok := m.Authenticator.(authenticators.Challenger)
		if !ok {
			continue
		}
		challenge := c.Challenge()
		if scheme, _, _ := strings.Cut(challenge, " "); special != "" && strings.EqualFold(scheme, specialScheme) {
			challenge = special
		}
		if challenge != "" && !slices.Contains(list, challenge) {
			list = append(list, challenge)
		}
	}
	return list
}

// isNavigation reports whether a person's browser is going to this address,
// and not a script, a WebSocket or another program, which could not follow a
// redirect to a login page, or would take it for the answer.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != "" || r.Header.Get("X-Requested-With") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	// Browsers name text/html first; programs name what they want, or */*.
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	kind, params, _ := strings.Cut(strings.TrimSpace(first), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && !strings.Contains(params, "q=")
}

// originalURL is the address that a request came with, before rewrites.
func originalURL(r *http.Request) *url.URL {
	if o, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return o.URL
	}
	return r.URL
}

// loginLocation adds the address that was asked for. It is the path and query
// only, so that it leads nowhere but to this site.
func loginLocation(login string, asked *url.URL) string {
	u, err := url.Parse(login)
	if err != nil {
		return login
	}
	query := u.Query()
	query.Set("next", asked.RequestURI())
	u.RawQuery = query.Encode()
	return u.String()
}
