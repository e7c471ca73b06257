package edgeauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(ErrorHandler))
}

// ErrorHandler stands first in the error routes of each server that uses
// edge_auth; nobody has to configure it. An error that another directive raised
// before edge_auth was reached leads there with whatever headers the client
// sent, so they are stripped here. And where the error routes answer one of
// our refusals with nothing but its status, as they do for a site that has no
// handle_errors of its own, its JSON body is supplied.
type ErrorHandler struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (*ErrorHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_auth_errors",
		New: func() caddy.Module { return new(ErrorHandler) },
	}
}

// Provision finds the app.
func (h *ErrorHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge_auth")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	return nil
}

// ServeHTTP strips what nobody has stripped yet.
func (h *ErrorHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.app.begin(r, nil)

	failure, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	var answer *refusal
	if !errors.As(failure, &answer) {
		return next.ServeHTTP(w, r)
	}
	held := &heldStatus{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	if err := next.ServeHTTP(held, r); err != nil {
		return err
	}
	if held.status == answer.status && w.Header().Get("Content-Type") == "" {
		return answer.write(w, r)
	}
	held.release()
	return nil
}

// heldStatus holds a status back until it is clear whether a body follows.
type heldStatus struct {
	*caddyhttp.ResponseWriterWrapper
	status int // held; 0: none
	sent   bool
}

func (h *heldStatus) WriteHeader(status int) {
	if h.sent || status < 200 {
		h.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	if h.status == 0 {
		h.status = status
	}
}

func (h *heldStatus) Write(data []byte) (int, error) {
	h.release()
	return h.ResponseWriterWrapper.Write(data)
}

// ReadFrom is how bodies are copied without a buffer in between.
func (h *heldStatus) ReadFrom(body io.Reader) (int64, error) {
	h.release()
	return h.ResponseWriterWrapper.ReadFrom(body)
}

// release sends the status on; from then on nothing is held.
func (h *heldStatus) release() {
	if h.sent {
		return
	}
	h.sent = true
	if h.status != 0 {
		h.ResponseWriterWrapper.WriteHeader(h.status)
		h.status = 0
	}
}

// FlushError sends the status on before what is flushed.
func (h *heldStatus) FlushError() error {
	h.release()
	return http.NewResponseController(h.ResponseWriterWrapper.ResponseWriter).Flush() //nolint:bodyclose // no response here
}

// joinServer notes the server that a handler stands in, and puts ErrorHandler
// before its error routes. It returns nil outside the http app.
//
// Caddy sets a server's primary routes up first, its error routes next and its
// named routes last. So a handler in a primary route comes in time; one that
// stands only in a named route does not, and then error routes that proxy
// without edge_auth are refused.
func (a *App) joinServer(ctx caddy.Context) (*caddyhttp.Server, error) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil, nil
	}
	if _, known := a.servers[server]; known {
		return server, nil
	}
	if hasErrorRoutes(server) && settingUpPrimary(server) {
		strip, err := json.Marshal(map[string]string{"handler": "edge_auth_errors"})
		if err != nil {
			return nil, err
		}
		first := caddyhttp.Route{HandlersRaw: []json.RawMessage{strip}}
		server.Errors.Routes = append(caddyhttp.RouteList{first}, server.Errors.Routes...)
	} else if place := unstrippedProxy(server); place != "" {
		return nil, fmt.Errorf("error routes of this server proxy (%s) before edge_auth has stripped forged identity headers: "+
			"put 'edge_auth off' first into handle_errors, or use edge_auth in a site or snippet and not only in a named route", place)
	}
	a.servers[server] = struct{}{}
	for _, ancestor := range ctx.Modules() {
		if app, ok := ancestor.(*caddyhttp.App); ok {
			a.http = app
		}
	}
	return server, nil
}

func hasErrorRoutes(server *caddyhttp.Server) bool {
	return server != nil && server.Errors != nil && len(server.Errors.Routes) > 0
}

// settingUpPrimary reports whether the server's primary routes are being set
// up right now: Caddy drops a route's raw handlers when they have been loaded.
func settingUpPrimary(server *caddyhttp.Server) bool {
	for _, route := range server.Routes {
		if len(route.HandlersRaw) > 0 {
			return true
		}
	}
	return false
}

var (
	_ caddy.Provisioner           = (*ErrorHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ErrorHandler)(nil)
	_ http.ResponseWriter         = (*heldStatus)(nil)
)
