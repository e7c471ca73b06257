package edgeauth

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

func init() {
	caddy.RegisterModule(new(HealthHandler))
}

// HealthHandler tells load balancers whether the gateway can do its work: with 200 or
// 503, and one word. Who asks learns neither addresses nor causes; those are in the
// admin API.
type HealthHandler struct {
	// Strict gives 503 also where the status is degraded. Default: 200, since what
	// ails one gateway then, such as an issuer that is down, mostly ails them all.
	Strict bool `json:"strict,omitempty"`

	app *App
}

// CaddyModule returns the Caddy module information.
func (*HealthHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_auth_health",
		New: func() caddy.Module { return new(HealthHandler) },
	}
}

// Provision finds the app.
func (h *HealthHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge_auth")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	return nil
}

// ServeHTTP answers every request that reaches it.
func (h *HealthHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	told := h.app.health(r.Context())
	sendBody(w, r, told.httpStatus(h.Strict), "application/json", fmt.Appendf(nil, `{"status":"%s"}`, told.Status))
	return nil
}

// parseHealth reads the directive:
//
//	edge_auth_health [<matcher>] {
//		strict
//	}
func parseHealth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(HealthHandler)
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		if option := h.Val(); option != "strict" {
			return nil, words.Wrap(h.Dispenser, words.Unknown("option", option, []string{"strict"}))
		}
		if h.NextArg() {
			return nil, h.ArgErr()
		}
		if handler.Strict {
			return nil, h.Err("strict stands twice; once is enough")
		}
		handler.Strict = true
	}
	return handler, nil
}

var (
	_ caddy.Provisioner           = (*HealthHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*HealthHandler)(nil)
)
