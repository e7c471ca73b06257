package issuer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
)

// refusal is an answer that gives the client nothing.
type refusal struct {
	status int
	body   any
	wait   time.Duration // until the client may try again
	cause  error         // for the log
}

func (e *refusal) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return fmt.Sprintf("status %d", e.status)
}

// detail is Django REST framework's body of an error.
func detail(text string) any { return map[string]string{"detail": text} }

// coded is SimpleJWT's body of an error.
func coded(text, code string) any {
	return struct {
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{text, code}
}

// unauthorized says that what was presented will not do.
func unauthorized(body any, cause error) *refusal {
	return &refusal{status: http.StatusUnauthorized, body: body, cause: cause}
}

// invalid says that a form is not filled in as it should be.
func invalid(body any) *refusal { return &refusal{status: http.StatusBadRequest, body: body} }

// nonField is a complaint about a form as a whole.
func nonField(text string) any { return map[string][]string{"non_field_errors": {text}} }

// retryAfter is when to try again what could not be found out.
const retryAfter = 2 * time.Second

// refuse is the one place that turns an error into a status.
func (i *Issuer) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	var refused *refusal
	var rejected *authenticators.RejectedError
	var forbidden *authenticators.ForbiddenError
	switch {
	case errors.As(err, &refused):
	case errors.As(err, &rejected):
		text := rejected.Detail
		if len(rejected.Messages) > 0 {
			text = rejected.Messages[0].Message
		}
		refused = unauthorized(coded(text, rejected.Code), err)
	case errors.As(err, &forbidden):
		refused = &refusal{status: http.StatusForbidden, body: coded(forbidden.Detail, forbidden.Code), cause: err}
	default:
		i.tellUnavailable(err)
		refused = &refusal{
			status: http.StatusServiceUnavailable, wait: retryAfter,
			body: coded("Service temporarily unavailable, try again later.", "service_unavailable"),
		}
	}
	id := authenticators.RequestID(r)
	w.Header().Set(authenticators.RequestIDHeader, id)
	i.logger.Debug("refused", zap.String("request_id", id), zap.Int("status", refused.status), zap.Error(refused))
	if refused.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="api"`)
	}
	if refused.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(refused.wait)))
	}
	return write(w, r, refused.status, refused.body)
}

// tellEvery is how often it is logged that something could not be found out: while a
// store is away, every login would fill the log.
const tellEvery = time.Minute

func (i *Issuer) tellUnavailable(err error) {
	now, last := i.now().UnixNano(), i.told.Load()
	if now-last < int64(tellEvery) && last != 0 || !i.told.CompareAndSwap(last, now) {
		return
	}
	i.logger.Error("issuer could not find out (told once a minute at most)", zap.Error(err))
}

// seconds rounds a time up.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// write sends JSON that nobody may keep (RFC 6749, section 5.1).
func write(w http.ResponseWriter, r *http.Request, status int, body any) error {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	writeRaw(w, r, status, bytes.TrimSuffix(data.Bytes(), []byte("\n")))
	return nil
}

func writeRaw(w http.ResponseWriter, r *http.Request, status int, data []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client is gone; there is nobody to tell
	}
}
