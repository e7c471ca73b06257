package authenticators

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// Tokens are Django's. The secret is in the cookie, as it is or masked. A token is
// the secret masked: a mask, and the sum of mask and secret, character by
// character, so that it looks different each time (against BREACH).
const (
	csrfAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	csrfSecret   = 32 // characters
	csrfField    = "csrfmiddlewaretoken"
)

// NewCSRFSecret makes a secret for the cookie.
func NewCSRFSecret() string {
	const fair = 256 - 256%len(csrfAlphabet) // what is beyond would favour some
	secret := make([]byte, 0, csrfSecret)
	for len(secret) < csrfSecret {
		var random [2 * csrfSecret]byte
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			if int(b) < fair && len(secret) < csrfSecret {
				secret = append(secret, csrfAlphabet[int(b)%len(csrfAlphabet)])
			}
		}
	}
	return string(secret)
}

// ValidCSRFSecret reports whether a cookie holds a secret, masked or not.
func ValidCSRFSecret(value string) bool {
	_, fault := unmask(value)
	return fault == ""
}

// unmask returns the secret in a token; or what is wrong with it, as Django says.
func unmask(token string) (secret, fault string) {
	if len(token) != csrfSecret && len(token) != 2*csrfSecret {
		return "", "has incorrect length."
	}
	for i := range len(token) {
		if strings.IndexByte(csrfAlphabet, token[i]) < 0 {
			return "", "has invalid characters."
		}
	}
	if len(token) == csrfSecret {
		return token, ""
	}
	plain := make([]byte, csrfSecret)
	for i := range plain {
		mask, sum := strings.IndexByte(csrfAlphabet, token[i]), strings.IndexByte(csrfAlphabet, token[csrfSecret+i])
		plain[i] = csrfAlphabet[(sum-mask+len(csrfAlphabet))%len(csrfAlphabet)]
	}
	return string(plain), ""
}

// checkToken demands that the request repeats the token of the cookie.
func (c *csrfChecker) checkToken(r *http.Request) error {
	cookie, err := FromCookie(r, c.cookie)
	if err != nil {
		return refusedCSRF("CSRF cookie not set.")
	}
	secret, fault := unmask(cookie.Reveal())
	if fault != "" {
		return refusedCSRF("CSRF cookie " + fault)
	}
	token, from := r.Header.Get(c.header), "the '"+c.header+"' HTTP header"
	if token == "" {
		token, from = formToken(r), "POST"
	}
	if token == "" {
		return refusedCSRF("CSRF token missing.")
	}
	given, fault := unmask(token)
	switch {
	case fault != "":
		return refusedCSRF("CSRF token from " + from + " " + fault)
	case subtle.ConstantTimeCompare([]byte(given), []byte(secret)) != 1:
		return refusedCSRF("CSRF token from " + from + " incorrect.")
	}
	return nil
}

// maxPeek is how far into a form the token is looked for, in bytes. Django's
// forms have it in front.
const maxPeek = 64 << 10

// formToken finds the token in a form, and leaves the body as it was.
func formToken(r *http.Request) string {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.Method != http.MethodPost || r.Body == nil {
		return ""
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		start, whole := peek(r)
		return urlencodedToken(start, whole)
	case "multipart/form-data":
		start, _ := peek(r)
		return multipartToken(start, params["boundary"])
	}
	return ""
}

// peek reads the start of a body, which is then put back; and says whether that
// is all of it.
func peek(r *http.Request) (start []byte, whole bool) {
	body := r.Body
	start, err := io.ReadAll(io.LimitReader(body, maxPeek))
	rest := io.Reader(body)
	if err != nil {
		rest = failing{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), rest), body}
	return start, err == nil && len(start) < maxPeek
}

// failing is what is left of a body that could not be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func urlencodedToken(start []byte, whole bool) string {
	pairs := strings.Split(string(start), "&")
	if !whole { // the last one may be cut
		pairs = pairs[:len(pairs)-1]
	}
	for _, pair := range pairs {
		if value, ok := strings.CutPrefix(pair, csrfField+"="); ok {
			if token, err := url.QueryUnescape(value); err == nil {
				return token
			}
		}
	}
	return ""
}

func multipartToken(start []byte, boundary string) string {
	if boundary == "" {
		return ""
	}
	parts := multipart.NewReader(bytes.NewReader(start), boundary)
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return ""
		}
		if part.FormName() == csrfField && part.FileName() == "" {
			token, err := io.ReadAll(io.LimitReader(part, 2*csrfSecret+1))
			if err != nil {
				return ""
			}
			return string(token)
		}
	}
}
