package edgeauth

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

func init() {
	caddy.RegisterModule(new(Whoami))
}

// Whoami answers who the gateway says that the caller is, and what upstreams are
// told: JSON for programs, a page for a browser that navigates. It says what the
// edge_auth before it found out; where there is none, or it let the caller pass
// without a credential, the caller is nobody. It never shows a credential.
type Whoami struct {
	// Claims are the paths of the claims that are shown. Default: none, since
	// others may hold what is not for the caller's eyes.
	Claims []string `json:"claims,omitempty"`

	paths []identity.Path
}

// CaddyModule returns the Caddy module information.
func (*Whoami) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_auth_whoami",
		New: func() caddy.Module { return new(Whoami) },
	}
}

// Provision reads the paths.
func (h *Whoami) Provision(caddy.Context) error {
	if err := h.check(); err != nil {
		return err
	}
	for _, text := range h.Claims {
		path, err := identity.ParsePath(text)
		if err != nil {
			return err
		}
		h.paths = append(h.paths, path)
	}
	return nil
}

// check refuses what names no claim.
func (h *Whoami) check() error {
	for i, text := range h.Claims {
		if _, err := identity.ParsePath(text); err != nil {
			return fmt.Errorf("claims: %w", err)
		}
		if slices.Contains(h.Claims[:i], text) {
			return fmt.Errorf("claims: '%s' stands twice; once is enough", text)
		}
	}
	return nil
}

// whoami is the answer.
type whoami struct {
	Authenticated bool              `json:"authenticated"`
	ID            string            `json:"id,omitempty"`
	Name          string            `json:"name,omitempty"`
	Email         string            `json:"email,omitempty"`
	Groups        []string          `json:"groups,omitempty"`
	Scopes        []string          `json:"scopes,omitempty"`
	Method        string            `json:"method,omitempty"`
	Expires       time.Time         `json:"expires,omitzero"`
	AuthTime      time.Time         `json:"auth_time,omitzero"`
	Claims        map[string]any    `json:"claims,omitempty"`
	Headers       map[string]string `json:"headers,omitempty"` // as upstreams get them
}

// ServeHTTP answers; nothing comes after it.
func (h *Whoami) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return sendJSON(w, r, http.StatusMethodNotAllowed, map[string]string{
			"detail": fmt.Sprintf("Method %q not allowed.", r.Method), "code": "method_not_allowed",
		})
	}
	answer := h.answer(r)
	if !isNavigation(r) {
		return sendJSON(w, r, http.StatusOK, answer)
	}
	return sendPage(w, r, answer)
}

func (h *Whoami) answer(r *http.Request) whoami {
	s := stateOf(r)
	who := s.who
	if who == nil {
		return whoami{}
	}
	answer := whoami{
		Authenticated: true, ID: who.ID, Name: who.Name, Email: who.Email, Groups: who.Groups, Scopes: who.Scopes, Method: who.Method,
		Expires: who.Expires.UTC().Truncate(time.Second), AuthTime: who.AuthTime.UTC().Truncate(time.Second), Claims: make(map[string]any), Headers: make(map[string]string),
	}
	for i, path := range h.paths {
		if value, ok := who.Claim(path); ok {
			answer.Claims[h.Claims[i]] = withoutJWTs(value)
		}
	}
	listed := func(claim string) bool { return slices.Contains(h.Claims, claim) }
	for _, name := range s.set {
		switch values := r.Header[name]; {
		case len(values) == 0:
		case s.setBy.reveals(name, listed):
			answer.Headers[name] = withoutJWTs(values[0]).(string)
		default:
			answer.Headers[name] = masked
		}
	}
	return answer
}

// masked stands for what may be a secret.
const masked = "[secret]"

// withoutJWTs masks in a value what opens doors where it is read: an assertion for the
// upstream, or a token that a claim or a header of the config's carries on.
func withoutJWTs(value any) any {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, "eyJ") && strings.Count(v, ".") >= 2 { // {" in base64
			return masked
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = withoutJWTs(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name := range v {
			object[name] = withoutJWTs(v[name])
		}
		return object
	}
	return value
}

func sendJSON(w http.ResponseWriter, r *http.Request, status int, body any) error {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return err
	}
	sendBody(w, r, status, "application/json", data.Bytes())
	return nil
}

//go:embed whoami.html
var whoamiHTML string

var whoamiPage = template.Must(template.New("whoami").Funcs(template.FuncMap{"text": textOf, "when": func(t time.Time) string {
	return t.Format("2006-01-02 15:04:05 UTC")
}}).Parse(whoamiHTML))

// textOf gives a claim as a person reads it: text as it is, all else as JSON.
func textOf(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(value)
	return string(data), err
}

func sendPage(w http.ResponseWriter, r *http.Request, answer whoami) error {
	nonce := rand.Text()
	var page bytes.Buffer
	if err := whoamiPage.Execute(&page, map[string]any{"Nonce": nonce, "Who": answer}); err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("Referrer-Policy", "same-origin")
	w.Header().Set("Content-Language", "en")
	sendBody(w, r, http.StatusOK, "text/html; charset=utf-8", page.Bytes())
	return nil
}

var (
	_ caddy.Provisioner           = (*Whoami)(nil)
	_ caddyhttp.MiddlewareHandler = (*Whoami)(nil)
)
