// Package audit writes the audit log: one line for each login, each end of one,
// each wrong credential, and each change of what lets people in. Whatever it is
// given, a line is one line, of bounded length, and names nobody who can't be.
//
// It is given no credential, and so can't show one.
package audit

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// The events, by their names.
const (
	Login               = "login"
	LoginFailed         = "login_failed"
	LoginRefused        = "login_refused" // there were too many attempts
	Logout              = "logout"
	LogoutEverywhere    = "logout_everywhere"
	CredentialRejected  = "credential_rejected" //nolint:gosec // a name
	TokenCreated        = "token_created"
	TokenRevoked        = "token_revoked"
	TokenRotated        = "token_rotated"
	TokenReused         = "token_reused" // one of the two who have it is a thief
	SessionCreated      = "session_created"
	SessionEnded        = "session_ended"
	PasswordChanged     = "password_changed"
	SecondFactorAdded   = "second_factor_added"
	SecondFactorRemoved = "second_factor_removed"
	RecoveryCodeUsed    = "recovery_code_used"
	PasskeyAdded        = "passkey_added"
	PasskeyRemoved      = "passkey_removed"
	UserAdded           = "user_added"
	UserRemoved         = "user_removed"
	UserDisabled        = "user_disabled"
	UserEnabled         = "user_enabled"
	Import              = "import"
	Backup              = "backup"
	Restore             = "restore"
	Migrate             = "migrate"
)

// outcomes are those of the events that have one by their nature.
var outcomes = map[string]string{
	Login:              "accepted",
	LoginFailed:        "rejected",
	LoginRefused:       "refused",
	CredentialRejected: "rejected",
	TokenReused:        "rejected",
}

// Unavailable is the outcome of what was begun, and perhaps not ended.
const Unavailable = "unavailable"

// Event is what happened. What is empty is left out.
type Event struct {
	// Name is one of those above.
	Name string

	// Outcome is that of the event's nature, unless it is given.
	Outcome string

	// User is whom it is about. A name that was typed must be one that a user has:
	// else it may be a password that was typed in the wrong place.
	User string

	Policy        string
	Authenticator string

	// Code is what the client was told.
	Code string

	// Token is the id of a token, session or revocation; never its secret.
	Token string

	// Reason says more than the client was told. It holds no credential.
	Reason error

	// OtherClient is the address that another request of the same login came from.
	OtherClient netip.Addr

	// Records counts what an import or a move was of.
	Records map[string]int
}

// Log is where events are written to. Without a logger it writes none.
type Log struct {
	logger *zap.Logger
	flood  flood
}

// New returns one that writes to logger. Who has made it closes it.
func New(logger *zap.Logger) *Log { return &Log{logger: logger, flood: flood{logger: logger}} }

// Close tells how many lines were left out in the last minute.
func (l *Log) Close() {
	if l != nil && l.logger != nil {
		l.flood.stop()
	}
}

// maxText is how much is written of what a client chose, in characters.
const maxText = 384

// Write writes the line of an event that a request brought about.
func (l *Log) Write(r *http.Request, e Event) {
	if l == nil || l.logger == nil {
		return
	}
	level := zapcore.InfoLevel
	if e.Name == TokenReused {
		level = zapcore.WarnLevel
	}
	line := l.logger.Check(level, strings.ReplaceAll(e.Name, "_", " "))
	if line == nil || !l.flood.admits(e, clientOf(r)) {
		return
	}
	// The event and the client stand first, one after the other, so that a pattern can
	// look for both in what no client writes.
	var fields texts
	fields.add("event", e.Name)
	fields.add("client", clientOf(r))
	if e.Outcome == "" {
		e.Outcome = outcomes[e.Name]
	}
	fields.add("outcome", e.Outcome)
	fields.add("request_id", authenticators.RequestID(r))
	if identity.ValidID(e.User) {
		fields.add("user", e.User)
	}
	fields.add("method", Short(r.Method))
	fields.add("host", Short(r.Host))
	fields.add("path", Short(PathOf(r)))
	fields.add("policy", e.Policy)
	fields.add("authenticator", e.Authenticator)
	fields.add("code", e.Code)
	fields.add("token", e.Token)
	if e.OtherClient.IsValid() {
		fields.add("other_client", e.OtherClient.String())
	}
	if e.Reason != nil {
		fields.add("reason", Short(e.Reason.Error()))
	}
	fields.add("user_agent", Short(r.UserAgent()))
	if e.Records != nil {
		fields = append(fields, zap.Any("records", e.Records))
	}
	line.Write(fields...)
}

// texts are fields of text that are not empty.
type texts []zap.Field

func (t *texts) add(name, value string) {
	if value != "" {
		*t = append(*t, zap.String(name, value))
	}
}

// Short makes text fit for a line that people look at in a terminal: loggers escape
// what JSON demands, and not the controls beyond ASCII, which terminals obey too.
func Short(text string) string {
	if len(text) > 4*maxText { // no more than so many characters of UTF-8
		text = text[:4*maxText]
	}
	runes := []rune(identity.SafeText(text))
	return string(runes[:min(len(runes), maxText)])
}

// PathOf is the path that was asked for, before any rewrite, as it stands in an
// address: without the query, which may carry a credential.
func PathOf(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// clientOf is the address that a request comes from, as Caddy's trusted_proxies
// tell; for the admin API, that of the connection. Empty where it has none.
func clientOf(r *http.Request) string {
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		return Short(ip)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return ""
	}
	return host
}
