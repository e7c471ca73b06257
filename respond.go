package edgeauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

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
	cookie     *http.Cookie

	// What placeholders tell of it: where to log in, and who was refused.
	requestID, login, user string

	Detail   string                   `json:"detail"`
	Code     string                   `json:"code"`
	Messages []authenticators.Message `json:"messages,omitempty"`
}

func (a *refusal) Error() string { return a.Detail }

// refuse answers a request that may not pass. It is the one place that turns
// an error into a status.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	s := stateOf(r)
	answer := h.answerTo(r, s, err)
	failure := caddyhttp.Error(answer.status, answer)
	h.noteRefusal(r, s, answer, err, failure.ID)
	answer.writeHeaders(w.Header())
	if answer.location == "" && hasErrorRoutes(h.server) {
		if !h.Policy.KeepCredentials { // whoever draws the error page needs none
			h.Policy.removeCredentials(r, s)
		}
		return failure
	}
	return answer.write(w, r)
}

// noteRefusal tells of a refusal: the log; the audit log, of a wrong credential; and
// who asks for an explanation later. errID is the one by which Caddy's own log has it.
func (h *Handler) noteRefusal(r *http.Request, s *state, answer *refusal, err error, errID string) {
	if c := h.logger.Check(zapcore.DebugLevel, "refused"); c != nil {
		c.Write(zap.String("request_id", answer.requestID), zap.String("policy", h.Policy.name), zap.Int("status", answer.status),
			zap.String("code", answer.Code), zap.String("err_id", errID), zap.Error(err))
	}
	h.Policy.auditRejection(r, err)
	h.app.explained.add(h.explainRefusal(r, s, answer, err))
}

// answerTo is the answer to an error, which placeholders show from now on.
func (h *Handler) answerTo(r *http.Request, s *state, err error) *refusal {
	a := h.Policy.answerTo(r, err)
	a.requestID = authenticators.RequestID(r)
	if a.status == http.StatusForbidden && s.judged.who != nil {
		a.user = s.judged.who.ID
	}
	if h.Policy.LoginURL != "" {
		a.login = loginLocation(h.Policy.LoginURL, originalURL(r))
	}
	s.refused = a
	return a
}

// answerTo decides by the error's type, never by its text.
func (p *Policy) answerTo(r *http.Request, err error) *refusal {
	var rejected *authenticators.RejectedError
	var forbidden *authenticators.ForbiddenError
	var method *methodError
	switch {
	case errors.As(err, &rejected):
		a := &refusal{status: http.StatusUnauthorized, Code: rejected.Code, Detail: rejected.Detail, Messages: rejected.Messages}
		a.challenges = p.challenges(rejected.Challenge)
		return a
	case errors.As(err, &forbidden):
		a := &refusal{status: http.StatusForbidden, Code: forbidden.Code, Detail: forbidden.Detail}
		if forbidden.Challenge != "" {
			a.challenges = []string{forbidden.Challenge}
		}
		return a
	case errors.As(err, &method):
		return &refusal{status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: method.Error()}
	case errors.Is(err, authenticators.ErrNoCredential):
		if p.LoginURL != "" && isNavigation(r) {
			return p.redirect(r)
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

func (a *refusal) writeHeaders(h http.Header) {
	for _, challenge := range a.challenges {
		h.Add("WWW-Authenticate", challenge)
	}
	if a.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	if a.status == http.StatusMethodNotAllowed {
		h.Set("Allow", allowedMethods)
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.cookie != nil {
		h.Add("Set-Cookie", a.cookie.String())
	}
	h.Set(authenticators.RequestIDHeader, a.requestID)
	h.Set("Cache-Control", "no-store")
}

// write sends the status and, but for a redirect, a body.
func (a *refusal) write(w http.ResponseWriter, r *http.Request) error {
	if a.location != "" {
		w.WriteHeader(a.status)
		return nil
	}
	kind, data, err := a.body()
	if err != nil {
		return err
	}
	sendBody(w, r, a.status, kind, data)
	return nil
}

// sendBody sends an answer whole.
func sendBody(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // every page escapes; and when the client is gone, there is nobody to tell
	}
}

// body is JSON, but for what only people in front of a browser can meet.
func (a *refusal) body() (kind string, data []byte, err error) {
	if a.Code == codeLoginLoop {
		return "text/html; charset=utf-8", loopPage(a.Detail), nil
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(a)
	return "application/json", bytes.TrimSuffix(body.Bytes(), []byte("\n")), err
}
