package edgeauth

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
)

// reported is err, or nothing where the policy only reports whom it would refuse: then
// that is logged and counted. So many lines are what the operator has asked for.
func (h *Handler) reported(r *http.Request, s *state, res *result, err error) error {
	if err == nil || h.Policy == nil || !h.Policy.ReportOnly {
		return err
	}
	answer := h.answerTo(r, s, err)
	told := h.explainRefusal(r, s, answer, err)
	told.Outcome = outcomeReported
	h.app.explained.add(told)
	by := res.name()
	reportOnlyRefusals.WithLabelValues(h.Policy.name, by, outcomeOf(res, err)).Inc()
	fields := []zap.Field{
		zap.String("request_id", answer.requestID), zap.String("policy", h.Policy.name), zap.String("authenticator", by),
		zap.Int("status", answer.status), zap.String("code", answer.Code),
		zap.String("method", audit.Short(r.Method)), zap.String("host", audit.Short(r.Host)), zap.String("path", audit.Short(audit.PathOf(r))), zap.Error(err),
	}
	if answer.user != "" {
		fields = append(fields, zap.String("user", answer.user))
	}
	h.logger.Info("would refuse", fields...)
	return nil
}
