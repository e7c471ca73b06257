package edgeauth

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/issuer"
)

// A browser that comes back from the login page without a credential is sent there
// again, and may so go round in circles, which people meet as an error of the browser
// that says nothing of the cause. So redirects of one address are counted in a cookie
// of the browser, and the circle is ended with the cause.
const (
	maxLoops   = 5                // redirects of one address,
	loopWindow = 10 * time.Second // each within that time of the one before
)

// loopCookies are the names of that cookie, by plain HTTP and by HTTPS, where no other
// site of the domain can set it.
var loopCookies = []string{"edge_auth_redirects", "__Host-edge_auth_redirects"}

func loopCookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // it is a count, and must come back by plain HTTP too
		Name: loopCookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	}
}

func loopCookieName(r *http.Request) string {
	if r.TLS != nil {
		return loopCookies[1]
	}
	return loopCookies[0]
}

// codeLoginLoop says that to log in leads back to where one has to.
const codeLoginLoop = "login_loop"

// redirect sends a browser to the login page, or tells it why that leads nowhere.
func (p *Policy) redirect(r *http.Request) *refusal {
	asked := originalURL(r)
	if p.guardsLoginPage(r, asked) {
		return p.loop("The login page is guarded by the very policy that sends everybody there to log in, so nobody can: " +
			"let the login page pass, by a matcher such as 'not path', or by a 'handle' of its own.")
	}
	count := 1 + countOf(r, asked)
	if count > maxLoops {
		a := p.loop(fmt.Sprintf("This page has sent you to log in %d times, and each time you came back without a credential that it reads. %s",
			maxLoops, p.whyNoCookie(r)))
		a.cookie = loopCookie(r, "", -1)
		return a
	}
	return &refusal{
		status: http.StatusFound, location: loginLocation(p.LoginURL, asked),
		Code: "login_required", Detail: "Log in first.",
		cookie: loopCookie(r, addressHash(asked)+"."+strconv.Itoa(count), int(loopWindow.Seconds())),
	}
}

// loop is the answer that ends a circle. The log tells of it once for each policy.
func (p *Policy) loop(why string) *refusal {
	p.loopTold.Do(func() {
		p.logger.Warn("logging in leads round in circles", zap.String("policy", p.name), zap.String("login_url", p.LoginURL), zap.String("why", why))
	})
	return &refusal{status: http.StatusUnauthorized, challenges: p.challenges(""), Code: codeLoginLoop, Detail: why}
}

// loopPage tells a person.
func loopPage(why string) []byte {
	return []byte(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
		`<title>Logging in leads nowhere</title><style>:root{color-scheme:light dark;font:1rem/1.5 system-ui}body{max-width:36rem;margin:4rem auto;padding:0 1rem}</style>` +
		`<h1>Logging in leads nowhere</h1><p>` + html.EscapeString(why) + `</p><p>Whoever runs this site can mend it.</p></html>`)
}

// guardsLoginPage reports whether a request is for the login page itself.
func (p *Policy) guardsLoginPage(r *http.Request, asked *url.URL) bool {
	login, err := url.Parse(p.LoginURL)
	if err != nil || login.Host != "" && !strings.EqualFold(login.Host, r.Host) {
		return false
	}
	if strings.TrimSuffix(login.Path, "/") != strings.TrimSuffix(asked.Path, "/") {
		return false
	}
	// A login page may be one of several at its path, told apart by the query.
	query := asked.Query()
	for name, values := range login.Query() {
		if !slices.Equal(query[name], values) {
			return false
		}
	}
	return true
}

// warnOfLoginLoops tells of login pages that are guarded by the very policy that sends
// everybody there.
func (k *walker) warnOfLoginLoops(logger *zap.Logger) {
	for _, guard := range k.guards {
		if guard.Policy == nil || guard.Policy.LoginURL == "" || guard.Policy.ReportOnly {
			continue
		}
		login, err := url.Parse(guard.Policy.LoginURL)
		if err != nil || login.Host != "" && !strings.EqualFold(login.Host, guard.host) {
			continue
		}
		r, _, err := newRequest(context.Background(), http.MethodGet, "http://"+cmp.Or(guard.host, "localhost")+login.RequestURI(), nil, "", "127.0.0.1")
		if err != nil {
			continue
		}
		x := newExplainer(k.server, r)
		x.looking = guard.Handler
		x.routes(k.server.Routes, "")
		if x.seen {
			logger.Warn("the login page is guarded by the very policy that sends everybody there to log in, so nobody can: let it pass, by a matcher such as 'not path', or by a 'handle' of its own",
				zap.String("policy", guard.Policy.name), zap.String("login_url", guard.Policy.LoginURL), zap.String("host", guard.host))
		}
	}
}

// whyNoCookie is the likely cause of a login that leaves no trace.
func (p *Policy) whyNoCookie(r *http.Request) string {
	if r.TLS == nil && !issuer.IsOwnMachine(r.Host) {
		return "This site is served over plain HTTP, and browsers keep no secure cookie from such a site: use HTTPS."
	}
	return "The login page may be on a site whose cookies this one does not get, or make sessions that this policy does not read."
}

// countOf is how often a browser has just been sent to log in from an address.
func countOf(r *http.Request, asked *url.URL) int {
	cookie, err := r.Cookie(loopCookieName(r))
	if err != nil {
		return 0
	}
	hash, text, _ := strings.Cut(cookie.Value, ".")
	count, err := strconv.Atoi(text)
	if err != nil || hash != addressHash(asked) || count < 0 {
		return 0
	}
	return min(count, maxLoops)
}

// addressHash tells addresses apart. It protects nothing.
func addressHash(u *url.URL) string {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(u.RequestURI())) // never fails
	return strconv.FormatUint(hash.Sum64(), 36)
}
