package session

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// FuzzCookies asks each preset with any Cookie header at all, where one session is
// known: a real framework's. Nobody is its user who has not sent what is in its
// cookie, and nobody is anybody else (C18, C20, C34, C35, C43).
func FuzzCookies(f *testing.F) {
	type site struct {
		capture

		a *Authenticator
	}
	var sites []site
	known := make(map[string]bool)
	for _, c := range captures(f) {
		preset, _, _ := strings.Cut(c.Caddyfile, "{")
		if c.User == "" || c.Value == nil || known[preset] || c.Kind == "tampered" {
			continue
		}
		host := guesttest.NewHost()
		host.Others.Now = func() time.Time { return c.CapturedAt }
		require.NoError(f, host.Others.Put(f.Context(), c.Key, c.Value, 0))
		a := &Authenticator{now: func() time.Time { return c.CapturedAt }}
		require.NoError(f, guesttest.Load(f, host, a, c.config()))
		if _, err := guesttest.Ask(f, a, c.cookies()); err != nil {
			continue
		}
		known[preset] = true
		header := strings.TrimPrefix(c.cookies(), "Cookie: ")
		for _, seed := range []string{
			header, header + "; " + header, c.CookieName + "=%" + c.CookieValue, c.CookieName + "=\"" + c.CookieValue + "\"", c.CookieName + "=" + url.QueryEscape(c.CookieValue),
			header[:len(header)/2], c.CookieName + "=x; " + header, strings.ToUpper(header), c.CookieName + "=", c.CookieName + "=" + strings.Repeat(`\`, 100) + `"`,
		} {
			f.Add(uint8(len(sites)), seed) //nolint:gosec // few
		}
		sites = append(sites, site{c, a})
	}
	require.Greater(f, len(sites), 12)
	f.Fuzz(func(t *testing.T, which uint8, header string) {
		s := sites[int(which)%len(sites)]
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{header}
		c, err := s.a.Find(r)
		if err == nil {
			who, refused := s.a.Verify(t.Context(), c)
			if err = refused; err == nil {
				if who.ID != s.User {
					t.Fatalf("%s: %q is %q", s.ID, header, who.ID)
				}
				if !strings.Contains(plain(header), plain(s.CookieValue)) {
					t.Fatalf("%s: %q is %q", s.ID, header, who.ID)
				}
				return
			}
		}
		if !errors.Is(err, authenticators.ErrNoCredential) { // the session is in order, so there is nothing to reject
			t.Fatalf("%s: %q: %v", s.ID, header, err)
		}
	})
}

// plain undoes what any framework undoes, once. What is after the last separator of
// a cookie may say which server it is of, or be padding.
func plain(text string) string {
	text = strings.NewReplacer(`"`, "", " ", "", "\t", "").Replace(text)
	if undone, err := url.PathUnescape(text); err == nil {
		text = undone
	}
	return strings.TrimPrefix(strings.TrimRight(text, "="), "s:")
}
