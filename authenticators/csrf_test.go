package authenticators

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	aSecret       = "abcdefghijklmnopqrstuvwxyzABCDEF"
	anotherSecret = "bbcdefghijklmnopqrstuvwxyzABCDEF"
)

// maskedToken is a secret masked as Django does it.
func maskedToken(secret, mask string) string {
	sum := make([]byte, len(secret))
	for i := range sum {
		sum[i] = csrfAlphabet[(strings.IndexByte(csrfAlphabet, secret[i])+strings.IndexByte(csrfAlphabet, mask[i]))%len(csrfAlphabet)]
	}
	return mask + string(sum)
}

// unsafeRequest is a POST over HTTPS to example.com that carries a good token,
// with other headers.
func unsafeRequest(headers map[string]string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://example.com/", nil)
	r.TLS = new(tls.ConnectionState)
	r.Header.Set("Origin", "https://example.com")
	r.Header.Set("Cookie", "csrftoken="+aSecret)
	r.Header.Set("X-Csrftoken", aSecret)
	for name, value := range headers {
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
	return r
}

// detailOf is the reason that a check gives; empty: it passes.
func detailOf(t *testing.T, check func(*http.Request) error, r *http.Request) string {
	t.Helper()
	err := check(r)
	if err == nil {
		return ""
	}
	forbidden, ok := errors.AsType[*ForbiddenError](err)
	require.True(t, ok)
	assert.Equal(t, "csrf_failed", forbidden.Code)
	reason, ok := strings.CutPrefix(forbidden.Detail, "CSRF Failed: ")
	require.True(t, ok)
	return reason
}

type headers = map[string]string

func TestC74UnsafeRequestsPassByDjangosRules(t *testing.T) {
	t.Parallel()
	check, err := (&CSRF{TrustedOrigins: []string{"https://app.example.org", "https://*.example.net"}}).OriginCheck()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		headers headers
		want    string
	}{
		"good":                 {nil, ""},
		"with another case":    {headers{"Origin": "https://EXAMPLE.com:443"}, ""},
		"trusted origin":       {headers{"Origin": "https://app.example.org"}, ""},
		"trusted domain":       {headers{"Origin": "https://a.b.example.net"}, ""},
		"masked cookie":        {headers{"Cookie": "csrftoken=" + maskedToken(aSecret, anotherSecret)}, ""},
		"masked header":        {headers{"X-CSRFToken": maskedToken(aSecret, strings.Repeat("9", 32))}, ""},
		"both masked":          {headers{"Cookie": "csrftoken=" + maskedToken(aSecret, aSecret), "X-CSRFToken": maskedToken(aSecret, anotherSecret)}, ""},
		"Referer":              {headers{"Origin": "", "Referer": "https://example.com/page?x"}, ""},
		"trusted Referer":      {headers{"Origin": "", "Referer": "https://x.example.net/"}, ""},
		"said by the browser":  {headers{"Origin": "", "Sec-Fetch-Site": "same-origin"}, ""},
		"other origin":         {headers{"Origin": "https://evil.example"}, "Origin checking failed - https://evil.example does not match any trusted origins."},
		"null":                 {headers{"Origin": "null"}, "Origin checking failed - null does not match any trusted origins."},
		"sibling":              {headers{"Origin": "https://evil.example.com"}, "Origin checking failed - https://evil.example.com does not match any trusted origins."},
		"looks like a sibling": {headers{"Origin": "https://evilexample.net"}, "Origin checking failed - https://evilexample.net does not match any trusted origins."},
		"the domain itself":    {headers{"Origin": "https://example.net"}, "Origin checking failed - https://example.net does not match any trusted origins."},
		"without TLS":          {headers{"Origin": "http://example.com"}, "Origin checking failed - http://example.com does not match any trusted origins."},
		"other port":           {headers{"Origin": "https://example.com:8443"}, "Origin checking failed - https://example.com:8443 does not match any trusted origins."},
		"a pattern":            {headers{"Origin": "https://*.example.net"}, "Origin checking failed - https://*.example.net does not match any trusted origins."},
		"with a path":          {headers{"Origin": "https://example.com/"}, "Origin checking failed - https://example.com/ does not match any trusted origins."},
		"no Referer":           {headers{"Origin": ""}, "Referer checking failed - no Referer."},
		"cross-site":           {headers{"Origin": "", "Sec-Fetch-Site": "cross-site"}, "Referer checking failed - no Referer."},
		"malformed Referer":    {headers{"Origin": "", "Referer": "example.com"}, "Referer checking failed - Referer is malformed."},
		"insecure Referer":     {headers{"Origin": "", "Referer": "http://example.com/"}, "Referer checking failed - Referer is insecure while host is secure."},
		"other Referer":        {headers{"Origin": "", "Referer": "https://evil.example/"}, "Referer checking failed - https://evil.example/ does not match any trusted origins."},
		"no cookie":            {headers{"Cookie": ""}, "CSRF cookie not set."},
		"two cookies":          {headers{"Cookie": "csrftoken=" + aSecret + "; csrftoken=" + anotherSecret}, "CSRF cookie not set."},
		"short cookie":         {headers{"Cookie": "csrftoken=abc"}, "CSRF cookie has incorrect length."},
		"strange cookie":       {headers{"Cookie": "csrftoken=" + strings.Repeat("-", 32)}, "CSRF cookie has invalid characters."},
		"no token":             {headers{"X-CSRFToken": ""}, "CSRF token missing."},
		"of another session":   {headers{"X-CSRFToken": anotherSecret}, "CSRF token from the 'X-Csrftoken' HTTP header incorrect."},
		"masked, of another":   {headers{"X-CSRFToken": maskedToken(anotherSecret, aSecret)}, "CSRF token from the 'X-Csrftoken' HTTP header incorrect."},
		"short token":          {headers{"X-CSRFToken": "abc"}, "CSRF token from the 'X-Csrftoken' HTTP header has incorrect length."},
		"strange token":        {headers{"X-CSRFToken": strings.Repeat("*", 64)}, "CSRF token from the 'X-Csrftoken' HTTP header has invalid characters."},
		"in the wrong header":  {headers{"X-CSRFToken": "", "X-XSRF-Token": aSecret}, "CSRF token missing."},
	} {
		assert.Equal(t, c.want, detailOf(t, check, unsafeRequest(c.headers)), name)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace} {
		r := httptest.NewRequest(method, "https://example.com/", nil)
		r.Header.Set("Origin", "https://evil.example")
		assert.Empty(t, detailOf(t, check, r), method)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete, "QUERY", "post", ""} {
		r := unsafeRequest(headers{"X-CSRFToken": ""})
		r.Method = method
		assert.Equal(t, "CSRF token missing.", detailOf(t, check, r), method)
	}
	r := unsafeRequest(nil)
	r.Header.Add("Origin", "https://example.com")
	assert.Contains(t, detailOf(t, check, r), "Origin checking failed")
}

// Where HTTPS ends in front of us, the scheme of the site is unknown.
func TestPlainConnectionsTakeEitherScheme(t *testing.T) {
	t.Parallel()
	check, err := new(CSRF).OriginCheck()
	require.NoError(t, err)
	for name, want := range map[string]string{
		"https://example.com": "", "http://example.com": "", "": "",
		"http://example.com:81": "Origin checking failed - http://example.com:81 does not match any trusted origins.",
	} {
		r := unsafeRequest(headers{"Origin": name})
		r.TLS = nil
		assert.Equal(t, want, detailOf(t, check, r), name)
	}
	r := unsafeRequest(headers{"Origin": "", "Sec-Fetch-Site": "cross-site"})
	r.TLS = nil
	assert.Equal(t, "Referer checking failed - no Referer.", detailOf(t, check, r))
}

func TestCSRFOptions(t *testing.T) {
	t.Parallel()
	check, err := (&CSRF{Cookie: "xsrf", Header: "x-xsrf"}).OriginCheck()
	require.NoError(t, err)
	assert.Empty(t, detailOf(t, check, unsafeRequest(headers{"Cookie": "xsrf=" + aSecret, "X-Xsrf": aSecret})))
	assert.Equal(t, "CSRF cookie not set.", detailOf(t, check, unsafeRequest(nil)))

	check, err = (&CSRF{NoToken: true}).OriginCheck()
	require.NoError(t, err)
	assert.Empty(t, detailOf(t, check, httptest.NewRequest(http.MethodPost, "https://example.com/", nil)), "a program")
	assert.Empty(t, detailOf(t, check, unsafeRequest(headers{"Cookie": "", "X-CSRFToken": ""})))
	assert.NotEmpty(t, detailOf(t, check, unsafeRequest(headers{"Origin": "https://evil.example"})))
	assert.NotEmpty(t, detailOf(t, check, unsafeRequest(headers{"Origin": "", "Sec-Fetch-Site": "same-site"})))

	check, err = (&CSRF{Off: true}).OriginCheck()
	require.NoError(t, err)
	assert.Nil(t, check)
	for _, bad := range []*CSRF{
		{TrustedOrigins: []string{"app.example.com"}},
		{TrustedOrigins: []string{"https://app.example.com/path"}},
		{TrustedOrigins: []string{"https://*"}},
		{TrustedOrigins: []string{"https://a*.example.com"}},
		{Off: true, TrustedOrigins: []string{"https://a.b"}},
		{Off: true, NoToken: true},
		{NoToken: true, Cookie: "a"},
	} {
		require.Error(t, bad.Check(), "%+v", bad)
		_, err := bad.OriginCheck()
		require.Error(t, err)
	}
}

func TestC74TokenInAFormIsFoundAndTheBodyStaysWhole(t *testing.T) {
	t.Parallel()
	check, err := new(CSRF).OriginCheck()
	require.NoError(t, err)
	multi := func(fields ...string) (kind string, body []byte) {
		var out bytes.Buffer
		w := multipart.NewWriter(&out)
		for i := 0; i < len(fields); i += 2 {
			require.NoError(t, w.WriteField(fields[i], fields[i+1]))
		}
		require.NoError(t, w.Close())
		return w.FormDataContentType(), out.Bytes()
	}
	const form = "application/x-www-form-urlencoded"
	large := strings.Repeat("x", 200<<10)
	kind, body := multi("a", "b", "csrfmiddlewaretoken", aSecret, "file", large)
	late, lateBody := multi("file", large, "csrfmiddlewaretoken", aSecret)
	wrong, wrongBody := multi("csrfmiddlewaretoken", anotherSecret)
	for name, c := range map[string]struct {
		kind, body, want string
	}{
		"in front":             {form, "csrfmiddlewaretoken=" + aSecret + "&x=" + large, ""},
		"at the end":           {form, "x=1&csrfmiddlewaretoken=" + aSecret, ""},
		"with a charset":       {form + "; charset=utf-8", "csrfmiddlewaretoken=" + maskedToken(aSecret, anotherSecret), ""},
		"multipart":            {kind, string(body), ""},
		"wrong":                {form, "csrfmiddlewaretoken=" + anotherSecret, "CSRF token from POST incorrect."},
		"wrong in parts":       {wrong, string(wrongBody), "CSRF token from POST incorrect."},
		"too far behind":       {form, "x=" + large + "&csrfmiddlewaretoken=" + aSecret, "CSRF token missing."},
		"parts too far behind": {late, string(lateBody), "CSRF token missing."},
		"cut by the limit":     {form, "x=" + strings.Repeat("x", maxPeek-40) + "&csrfmiddlewaretoken=" + aSecret, "CSRF token missing."},
		"JSON":                 {"application/json", `{"csrfmiddlewaretoken":"` + aSecret + `"}`, "CSRF token missing."},
		"text":                 {"text/plain", "csrfmiddlewaretoken=" + aSecret, "CSRF token missing."},
		"no boundary":          {"multipart/form-data", string(body), "CSRF token missing."},
		"nothing":              {form, "", "CSRF token missing."},
	} {
		r := unsafeRequest(headers{"X-CSRFToken": "", "Content-Type": c.kind})
		r.Body = io.NopCloser(strings.NewReader(c.body))
		assert.Equal(t, c.want, detailOf(t, check, r), name)
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		assert.Equal(t, c.body, string(got), name)
		require.NoError(t, r.Body.Close())
	}
	r := unsafeRequest(headers{"X-CSRFToken": "", "Content-Type": form})
	broken := errors.New("connection lost")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("csrfmiddlewaretoken="+aSecret+"&x"), failing{broken}))
	assert.Empty(t, detailOf(t, check, r))
	_, err = io.ReadAll(r.Body)
	assert.ErrorIs(t, err, broken, "what comes after learns of it")
}

// The token and the secret are Django's own.
func TestTokenOfARealDjangoIsUnmaskedToken(t *testing.T) {
	t.Parallel()
	secret, fault := unmask("lSmTrLDLHiVjamph1EBm8QQ8cpDjdkoAUt3y55vyDiK3LryGG8WS1qtLU8Fo0zra")
	assert.Empty(t, fault)
	assert.Equal(t, "JLRPOu2X6aZULfjzPEvG3KNNSTcfXpdK", secret)
}

func TestSecretsAreOfDjangosForm(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	count := make(map[rune]int)
	for range 2000 {
		secret := NewCSRFSecret()
		require.True(t, ValidCSRFSecret(secret))
		require.Len(t, secret, 32)
		require.False(t, seen[secret])
		seen[secret] = true
		for _, c := range secret {
			count[c]++
		}
	}
	assert.Len(t, count, len(csrfAlphabet))
	for c, n := range count { // about 1032 each
		assert.InDelta(t, 2000*32/len(csrfAlphabet), n, 250, string(c))
	}
	for _, bad := range []string{"", "a", aSecret + "a", aSecret[1:] + "-", aSecret + aSecret + "a"} {
		assert.False(t, ValidCSRFSecret(bad), bad)
	}
}

func FuzzFormToken(f *testing.F) {
	f.Add("application/x-www-form-urlencoded", "a=b&csrfmiddlewaretoken="+aSecret)
	f.Add("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\n"+aSecret+"\r\n--x--\r\n")
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Content-Type"] = []string{kind}
		r.Body = io.NopCloser(strings.NewReader(body))
		formToken(r)
		if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
			t.Fatal("the body has changed")
		}
		if secret, fault := unmask(body); fault == "" && len(secret) != csrfSecret {
			t.Fatal("no secret")
		}
	})
}
