// Package edgeauth checks at the edge who is calling, and tells the upstreams
// so in headers. It is a module for Caddy v2: the handler edge_auth, and the
// app edge_auth that its handlers share.
package edgeauth

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler guards what comes after it: it strips forged identity headers,
// authenticates the caller by a policy, and forwards the identity.
//
// With neither a name nor a policy of its own it follows the policy "default".
type Handler struct {
	// Match says which requests the policy guards. All others are stripped and
	// pass. Where it looks at the path, requests whose path can be read in two ways
	// are guarded too. Default: every request is guarded.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Off strips every request and authenticates nobody.
	Off bool `json:"off,omitempty"`

	// Use names a policy of the app. Default: "default", unless there is Policy.
	Use string `json:"use,omitempty"`

	// Policy is a policy of this handler's own, instead of Use.
	Policy *Policy `json:"policy,omitempty"`

	matchers caddyhttp.MatcherSets
	byPath   bool // the matchers may look at the path
	app      *App
	server   *caddyhttp.Server // nil outside the http app
	logger   *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_auth",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision finds the policy and sees to it that the server's error routes
// strip too.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := h.check(); err != nil {
		return err
	}
	h.logger = ctx.Logger()
	app, err := ctx.App("edge_auth")
	if err != nil {
		return err
	}
	h.app = app.(*App)

	matchers, err := ctx.LoadModule(h, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading matchers: %w", err)
	}
	if err := h.matchers.FromInterface(matchers); err != nil {
		return err
	}
	h.byPath = looksAtPath(h.matchers)

	switch {
	case h.Off:
	case h.Policy != nil:
		if err = h.Policy.resolve(h.app.declared); err == nil {
			err = h.Policy.provision(ctx, h.app, cmp.Or(h.Policy.Name, inlineName))
		}
	default:
		h.Policy, err = h.app.policyNamed(ctx, h.Use)
	}
	if err != nil {
		return err
	}
	if h.server, err = h.app.joinServer(ctx); err != nil {
		return err
	}
	if h.Policy != nil && h.server != nil && h.server.Logs != nil {
		for _, d := range h.Policy.descriptions() {
			if d.Header == "" {
				continue
			}
			h.logger.Warn("a credential comes in a header that Caddy's access log shows: filter it, as the guide says under Logs",
				zap.String("header", d.Header), zap.String("policy", h.Policy.name))
		}
	}
	return nil
}

// check refuses what can't be meant.
func (h *Handler) check() error {
	switch {
	case h.Off && (h.Policy != nil || h.Use != ""):
		return fmt.Errorf("'off' authenticates nobody, so it can't have a policy")
	case h.Use != "" && h.Policy != nil:
		return fmt.Errorf("either the policy '%s' or one of its own, not both", h.Use)
	}
	return nil
}

// ServeHTTP takes a request its way: strip, authenticate, authorise, forward.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.Policy != nil {
		var done bool
		if r, done = h.Policy.takeQueryCredential(w, r); done {
			return nil
		}
	}
	state := h.app.begin(r, h.Policy)

	guarded, err := h.guards(r)
	if err != nil {
		state.judged = judgement{policy: h.Policy, outcome: outcomeUnavailable}
	}
	if err = h.reported(r, state, new(result), err); err != nil {
		return h.refuse(w, r, err) // a matcher that fails must not open the door
	}
	if !guarded {
		return next.ServeHTTP(w, r)
	}
	if err := h.admit(r, state); err != nil {
		return h.refuse(w, r, err)
	}
	return next.ServeHTTP(w, r)
}

// admit takes a guarded request its way, and says why it may not pass, if it may not.
func (h *Handler) admit(r *http.Request, s *state) error {
	if h.Policy.AllowPreflight && isPreflight(r) {
		h.Policy.removeCredentials(r, s)
		return nil
	}
	result, err := h.judge(r, s)
	if err != nil {
		return err
	}
	return h.forward(r, s, &result)
}

// judge says who is calling, and whether they may pass. A policy that only reports
// lets everybody pass.
func (h *Handler) judge(r *http.Request, s *state) (result, error) {
	began := time.Now()
	result, err := h.assess(r, s)
	h.Policy.observe(result.by, s.judged.outcome, time.Since(began))
	h.Policy.trace(r, s, &result, err, began)
	return result, h.reported(r, s, &result, err)
}

// assess is what judge and an explanation have in common.
func (h *Handler) assess(r *http.Request, s *state) (result, error) {
	var result result
	err := checkMethod(r)
	if err == nil {
		result, err = h.Policy.identify(r, s)
	}
	if err == nil {
		err = h.Policy.authorize(r, s, &result)
	}
	s.judged = judgement{policy: h.Policy, result: result, outcome: outcomeOf(&result, err), guarded: true}
	return result, err
}

// forward tells the upstream who is calling.
func (h *Handler) forward(r *http.Request, s *state, res *result) error {
	err := h.Policy.forward(r, s, res.who)
	if err != nil {
		s.withdraw(r)
		s.judged.outcome = outcomeUnavailable
	}
	return h.reported(r, s, res, err)
}

// guards reports whether the policy holds for r.
func (h *Handler) guards(r *http.Request) (bool, error) {
	switch {
	case h.Off:
		return false, nil
	case h.byPath && ambiguous(r.URL):
		return true, nil
	}
	return h.matchers.AnyMatchWithError(r)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
