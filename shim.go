package edgeauth

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

func init() {
	caddy.RegisterModule(new(Provider))
}

// Provider lets a policy stand in Caddy's own handler "authentication", for configs
// that are built around that one. It strips, authenticates, authorises and forwards
// as edge_auth does; but all else is that handler's to decide, so use edge_auth where
// you can:
//
//   - Whatever a request is refused for, it is answered 401: also who may not do this
//     (403), and also where the store does not answer (503), which clients may take for
//     the end of their login. {http.auth.edge_auth.error} tells that apart.
//   - Nobody is led to a login page.
//   - Only requests that reach that handler are stripped.
//   - Other providers beside this one run in random order, and where one of them
//     accepts first, nothing is stripped and nothing forwarded. Let it stand alone.
type Provider struct {
	// Policy names a policy of the app. Default: "default".
	Policy string `json:"policy,omitempty"`

	handler *Handler // what does all that an edge_auth would do
}

// CaddyModule returns the Caddy module information.
func (*Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.edge_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision finds the policy.
func (p *Provider) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge_auth")
	if err != nil {
		return err
	}
	p.handler = &Handler{app: app.(*App), logger: ctx.Logger()}
	if p.handler.Policy, err = p.handler.app.policyNamed(ctx, p.Policy); err != nil {
		return err
	}
	if len(p.handler.Policy.query) > 0 {
		return fmt.Errorf("policy '%s' reads a credential from the address, which only the handler edge_auth can take out of it", p.handler.Policy.name)
	}
	_, err = p.handler.app.joinServer(ctx)
	return err
}

// errUnavailable is all that placeholders may show of an outage.
var errUnavailable = errors.New("service temporarily unavailable, try again later")

// Authenticate takes a request its way: strip, authenticate, authorise, forward.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	h := p.handler
	state := h.app.begin(r, h.Policy)
	if err := h.admit(r, state); err != nil {
		return caddyauth.User{}, false, p.refuse(w, r, state, err)
	}
	return userOf(state.who), true, nil
}

// refuse says why in headers and in the log. It returns an error where nobody knows.
func (p *Provider) refuse(w http.ResponseWriter, r *http.Request, s *state, err error) error {
	policy := p.handler.Policy
	answer := p.handler.answerTo(r, s, err)
	unavailable := answer.status == http.StatusServiceUnavailable
	answer.status = http.StatusUnauthorized // whatever it was, Caddy's handler answers so
	p.handler.noteRefusal(r, s, answer, err, "")
	w.Header().Set(authenticators.RequestIDHeader, answer.requestID)
	w.Header().Set("Cache-Control", "no-store")
	if !errors.Is(err, authenticators.ErrNoCredential) && !policy.KeepCredentials { // whoever draws the error page needs none
		policy.removeCredentials(r, s)
	}
	if unavailable {
		return errUnavailable
	}
	if len(answer.challenges) == 0 { // 403 and redirects may have none, 401 needs one
		answer.challenges = policy.challenges("")
	}
	for _, challenge := range answer.challenges {
		w.Header().Add("WWW-Authenticate", challenge)
	}
	return nil
}

// providerIn is ours in Caddy's handler, if it stands there alone; nil: it does not.
// Beside others nobody knows which of them is asked.
func providerIn(h *caddyauth.Authentication) *Provider {
	if len(h.Providers) != 1 {
		return nil
	}
	ours, _ := h.Providers["edge_auth"].(*Provider)
	return ours
}

// userOf is an identity as Caddy has it; that of nobody is empty.
func userOf(who *identity.Identity) caddyauth.User {
	if who == nil {
		return caddyauth.User{}
	}
	user := caddyauth.User{ID: who.ID, Metadata: make(map[string]string)}
	for _, field := range []string{"name", "email", "groups", "method"} {
		if value := identity.Placeholder(who, field); value != "" {
			user.Metadata[field] = value
		}
	}
	return user
}

var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
)
