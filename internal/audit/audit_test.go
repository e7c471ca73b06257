package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// written is what a log in JSON has of an event.
func written(t testing.TB, r *http.Request, e Event) (string, map[string]any) {
	t.Helper()
	var text bytes.Buffer
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&text), zap.InfoLevel)
	New(zap.New(core)).Write(r, e)
	var line map[string]any
	require.NoError(t, json.Unmarshal(text.Bytes(), &line), text.String())
	return text.String(), line
}

func request(path string, vars map[string]any) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.URL = &url.URL{Path: path}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
}

// hostile are texts that would forge a second line, or a field, or drive a terminal.
var hostile = []string{
	"\x1b[2J\x1b[31mred", "\u009b2J", "\r\n" + `{"level":"info","event":"login","client":"192.0.2.1"}`,
	`alice","client":"192.0.2.1`, "a\u2028b\x00\x7f", "\xff\xfe", strings.Repeat("\U0001f600", 100_000),
}

func TestE12WhateverAClientChoosesALineIsOneLine(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		r := request("/"+text, map[string]any{caddyhttp.ClientIPVarKey: "203.0.113.9"})
		r.Method, r.Host = text, text
		r.Header.Set("User-Agent", text)
		line, fields := written(t, r, Event{Name: LoginFailed, User: text, Reason: errors.New(text)})
		assert.Equal(t, 1, strings.Count(line, "\n"), line)
		assert.Less(t, len(line), 8<<10)
		assert.Equal(t, 1, strings.Count(line, `"event":"`), line)
		assert.Equal(t, 1, strings.Count(line, `"client":"`), line)
		assert.Equal(t, "203.0.113.9", fields["client"])
		for _, c := range strings.TrimSuffix(line, "\n") {
			require.False(t, c < ' ' || c >= 0x7f && c < 0xa0, "%q in %q", c, line)
		}
	}
}

func TestNobodyWhoCannotBeIsNamed(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", " alice", "al\nice", "\u009b2J", strings.Repeat("a", 256)} {
		_, fields := written(t, request("/", nil), Event{Name: LoginFailed, User: user})
		assert.NotContains(t, fields, "user", user)
	}
	_, fields := written(t, request("/", nil), Event{Name: LoginFailed, User: `zoë "the" admin`})
	assert.Equal(t, `zoë "the" admin`, fields["user"])
}

func TestPathIsTheOneThatWasAskedForWithoutTheQuery(t *testing.T) {
	t.Parallel()
	asked := httptest.NewRequest(http.MethodGet, "/auth/login/%0Ax?token=secret", nil)
	r := request("/login/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *asked))
	line, fields := written(t, r, Event{Name: Login})
	assert.Equal(t, "/auth/login/%0Ax", fields["path"])
	assert.NotContains(t, line, "secret")
}

func TestClientIsThatOfTheConnectionWhereNobodyElseTells(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]any{"192.0.2.1:1234": "192.0.2.1", "[::1]:1": "::1", "@": nil, "": nil, "evil:1": nil} {
		r := httptest.NewRequest(http.MethodPost, "/edge_auth/users", nil)
		r.RemoteAddr = remote
		_, fields := written(t, r, Event{Name: UserAdded, User: "alice"})
		assert.Equal(t, want, fields["client"], remote)
	}
}

func TestOnlyTheftIsAWarning(t *testing.T) {
	t.Parallel()
	_, fields := written(t, request("/", nil), Event{Name: TokenReused})
	assert.Equal(t, "warn", fields["level"])
	_, fields = written(t, request("/", nil), Event{Name: LoginFailed})
	assert.Equal(t, "info", fields["level"])
	assert.Equal(t, "rejected", fields["outcome"])
	_, fields = written(t, request("/", nil), Event{Name: Restore, Outcome: Unavailable})
	assert.Equal(t, "unavailable", fields["outcome"])
}

func TestLogWithoutALoggerWritesNothing(t *testing.T) {
	t.Parallel()
	var none *Log
	assert.NotPanics(t, func() {
		none.Write(request("/", nil), Event{Name: Login})
		new(Log).Write(request("/", nil), Event{Name: Login})
	})
}

func TestDocsKnowEachEvent(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/operation/audit.md")
	require.NoError(t, err)
	source, err := os.ReadFile("audit.go")
	require.NoError(t, err)
	names := regexp.MustCompile(`(?m)^\t[A-Z]\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	require.Len(t, names, 26)
	for _, name := range names {
		assert.Contains(t, string(docs), "`"+name[1]+"`")
	}
}
