package edgeauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// retryAfter is what a client is told when we could not find out, in seconds:
// a store that comes back is used again within that time.
const retryAfter = "2"

// refusal is the answer to a request that may not pass. As an error it says
// nothing but fixed sentences, since handle_errors may show its text.
type refusal struct {
	status     int
	challenges []string
	location   string

	Detail   string                   `json:"detail"`
	Code     string                   `json:"code"`
	Messages []authenticators.Message `json:"messages,omitempty"`
}

func (a *refusal) Error() string { return a.Detail }

// refuse answers a request that may not pass. It is the one place that turns
// an error into a status.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	answer := h.Policy.answerTo(r, err)
	failure := caddyhttp.Error(answer.status, answer)
	id := authenticators.RequestID(r)
	if c := h.logger.Check(zapcore.DebugLevel, "refused"); c != nil {
		c.Write(zap.String("request_id", id), zap.String("policy", h.Policy.name), zap.Int("status", answer.status),
			zap.String("code", answer.Code), zap.String("err_id", failure.ID), zap.Error(err))
	}
	h.Policy.auditRejection(r, err)
	w.Header().Set(authenticators.RequestIDHeader, id)
	answer.writeHeaders(w.Header())
	if answer.location == "" && hasErrorRoutes(h.server) {
		if !h.Policy.KeepCredentials { // whoever draws the error page needs none
			h.Policy.removeCredentials(r, stateOf(r))
		}
		return failure
	}
	return answer.write(w, r)
}

// answerTo decides by the error's type, never by its text.
func (p *Policy) answerTo(r *http.Request, err error) *refusal {
	var rejected *authenticators.RejectedError
	var forbidden *authenticators.ForbiddenError
	switch {
	case errors.As(err, &rejected):
		a := &refusal{status: http.StatusUnauthorized, Code: rejected.Code, Detail: rejected.Detail, Messages: rejected.Messages}
		a.challenges = p.challenges(rejected.Challenge)
		return a
	case errors.As(err, &forbidden):
		return &refusal{status: http.StatusForbidden, Code: forbidden.Code, Detail: forbidden.Detail}
	case errors.Is(err, authenticators.ErrNoCredential):
		if p.LoginURL != "" && isNavigation(r) {
			return &refusal{
				status: http.StatusFound, location: loginLocation(p.LoginURL, r),
				Code: "login_required", Detail: "Log in first.",
			}
		}
		return &refusal{
			status: http.StatusUnauthorized, challenges: p.challenges(""),
			Code: "not_authenticated", Detail: "Authentication credentials were not provided.",
		}
	}
	return &refusal{
		status: http.StatusServiceUnavailable,
		Code:   "service_unavailable", Detail: "Service temporarily unavailable, try again later.",
	}
}

// challenges lists one WWW-Authenticate value for each authenticator that has a
// scheme. A special one takes the place of the one of its scheme.
func (p *Policy) challenges(special string) []string {
	var list []string
	specialScheme, _, _ := strings.Cut(special, " ")
	for _, m := range p.members {
		c, ok := m.Authenticator.(authenticators.Challenger)
		if !ok {
			continue
		}
		challenge := c.Challenge()
		if scheme, _, _ := strings.Cut(challenge, " "); special != "" && strings.EqualFold(scheme, specialScheme) {
			challenge = special
		}
		if challenge != "" && !slices.Contains(list, challenge) {
			list = append(list, challenge)
		}
	}
	return list
}

// isNavigation reports whether a person's browser is going to this address,
// and not a script or another program.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	// Browsers name text/html first; programs name what they want, or */*.
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	kind, params, _ := strings.Cut(strings.TrimSpace(first), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && !strings.Contains(params, "q=")
}

// loginLocation adds the address that was asked for. It is the path and query
// only, so that it leads nowhere but to this site.
func loginLocation(login string, r *http.Request) string {
	original := r.URL
	if o, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		original = o.URL
	}
	u, err := url.Parse(login)
	if err != nil {
		return login
	}
	query := u.Query()
	query.Set("next", original.RequestURI())
	u.RawQuery = query.Encode()
	return u.String()
}

func (a *refusal) writeHeaders(h http.Header) {
	for _, challenge := range a.challenges {
		h.Add("WWW-Authenticate", challenge)
	}
	if a.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	h.Set("Cache-Control", "no-store")
}

// write sends the status and, but for a redirect, the JSON body.
func (a *refusal) write(w http.ResponseWriter, r *http.Request) error {
	if a.location != "" {
		w.WriteHeader(a.status)
		return nil
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a); err != nil {
		return err
	}
	data := bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client is gone; there is nobody to tell
	}
	return nil
}
