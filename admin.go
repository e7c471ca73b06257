package edgeauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminAPI serves /edge_auth/ on Caddy's admin endpoint. It holds nothing: it
// asks whichever config is running, for each request.
type adminAPI struct {
	mux *http.ServeMux
}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.edge_auth",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes returns what is served.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	a.mux = http.NewServeMux()
	for pattern, handle := range adminRoutes {
		a.mux.Handle(pattern, handle)
	}
	return []caddy.AdminRoute{{
		Pattern: "/edge_auth/",
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			a.mux.ServeHTTP(w, r)
			return nil
		}),
	}}
}

// adminHandler answers one request of the API with a value, sent as JSON.
type adminHandler func(app *App, r *http.Request) (any, error)

var adminRoutes = map[string]adminHandler{
	"GET /edge_auth/users":                       listUsers,
	"POST /edge_auth/users":                      addUser,
	"DELETE /edge_auth/users/{id}":               removeUser,
	"GET /edge_auth/health":                      showHealth,
	"GET /edge_auth/keys":                        showKeys,
	"GET /edge_auth/cache":                       showCache,
	"DELETE /edge_auth/cache":                    clearCache,
	"GET /edge_auth/tokens":                      listTokens,
	"POST /edge_auth/tokens":                     createToken,
	"DELETE /edge_auth/tokens":                   revokeTokens,
	"GET /edge_auth/tokens/{id}":                 showToken,
	"DELETE /edge_auth/tokens/{id}":              revokeToken,
	"POST /edge_auth/tokens/{id}/rotate":         rotateToken,
	"GET /edge_auth/sessions/{user}":             listSessions,
	"POST /edge_auth/sessions":                   createSession,
	"DELETE /edge_auth/sessions/{user}/{id}":     endSession,
	"PUT /edge_auth/users/{id}/password":         setPassword,
	"POST /edge_auth/import":                     importRecords,
	"GET /edge_auth/backup":                      backup,
	"PUT /edge_auth/backup":                      restore,
	"POST /edge_auth/migrate":                    migrate,
	"POST /edge_auth/explain":                    explainRequest,
	"POST /edge_auth/jwt":                        createJWT,
	"POST /edge_auth/jwt/revoke":                 revokeJWT,
	"POST /edge_auth/users/{id}/logout":          logOutUser,
	"POST /edge_auth/users/{id}/disable":         disableUser,
	"POST /edge_auth/users/{id}/enable":          enableUser,
	"DELETE /edge_auth/users/{id}/second_factor": removeSecondFactor,
}

// problem is an error of the API that is the caller's to mend.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// longest is how long a request may take to arrive: Caddy's own 10 s are short for a
// large backup.
const longest = 10 * time.Minute

func (h adminHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = identified(r)
	w.Header().Set(authenticators.RequestIDHeader, authenticators.RequestID(r))
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(longest)) // at worst it stays short
	answer, err := h.answer(r)
	status := statusOf(err)
	if err != nil {
		answer = map[string]string{"error": err.Error()}
	}
	w.Header().Set("Cache-Control", "no-store")
	if done, ok := answer.(*audited); ok {
		answer = done.answer
	}
	if file, ok := answer.(store.Backup); ok && err == nil {
		sendFile(w, file)
		return
	}
	if told, ok := answer.(health); ok {
		status = told.httpStatus(false)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the caller is gone; there is nobody to tell
}

// identified gives a request an id, as those to sites have: Caddy gives the admin API's
// none.
func identified(r *http.Request) *http.Request {
	repl := caddy.NewReplacer()
	repl.Set("http.request.uuid", uuid.NewString())
	return r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl))
}

func (h adminHandler) answer(r *http.Request) (any, error) {
	running, err := caddy.ActiveContext().AppIfConfigured("edge_auth")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, &problem{http.StatusConflict, "the running config does not use edge_auth, or is still starting"}
	}
	if err != nil {
		return nil, err
	}
	app := running.(*App)
	answer, err := h(app, r)
	app.auditAdmin(r, answer, err)
	return answer, err
}

// statusOf is the status that an outcome is answered with.
func statusOf(err error) int {
	var mistake *problem
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &mistake):
		return mistake.status
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, records.ErrAmbiguous), errors.Is(err, records.ErrReplaced), errors.Is(err, store.ErrHeld):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}

// maxAdminBody is the longest body the API reads, in bytes.
const maxAdminBody = 64 << 10

// decodeBody reads a JSON body strictly.
func decodeBody(r *http.Request, to any) error { return decodeLong(r, to, maxAdminBody) }

func decodeLong(r *http.Request, to any, most int64) error {
	decoder := json.NewDecoder(io.LimitReader(r.Body, most))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return badRequest("body: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("body: one JSON object is expected, and nothing after it")
	}
	return nil
}

// lifetimeOf checks a lifetime from a request; zero is the default.
func lifetimeOf(d caddy.Duration, byDefault, longest time.Duration) (time.Duration, error) {
	switch lifetime := time.Duration(d); {
	case lifetime == 0:
		return byDefault, nil
	case lifetime < time.Second || lifetime > longest:
		return 0, badRequest("lifetime of %v; 1s to %v would do", lifetime, longest)
	default:
		return lifetime, nil
	}
}

var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ http.Handler      = adminHandler(nil)
)
