package edgeauth

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// changesNothing are the routes of the admin API that need no line.
var changesNothing = []string{"POST /edge_auth/explain", "DELETE /edge_auth/cache"}

func TestE14EveryAdminRouteThatChangesSomethingIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"POST /edge_auth/users":                      `{"id":"carol","password":"carols password"}`,
		"POST /edge_auth/tokens":                     `{"user":"alice"}`,
		"POST /edge_auth/sessions":                   `{"user":"alice"}`,
		"PUT /edge_auth/users/{id}/password":         `{"password":"another password"}`,
		"POST /edge_auth/import":                     `{"users":[],"tokens":[]}`,
		"POST /edge_auth/jwt":                        `{"user":"alice"}`,
		"POST /edge_auth/jwt/revoke":                 `{"jti":"a"}`,
		"POST /edge_auth/tokens/{id}/rotate":         `{}`,
		"POST /edge_auth/migrate":                    `{"to":{"url":"redis://127.0.0.1:1"}}`,
		"PUT /edge_auth/backup":                      "no backup",
		"DELETE /edge_auth/users/{id}":               "",
		"DELETE /edge_auth/tokens/{id}":              "",
		"DELETE /edge_auth/tokens":                   "",
		"POST /edge_auth/users/{id}/logout":          "",
		"POST /edge_auth/users/{id}/disable":         "",
		"POST /edge_auth/users/{id}/enable":          "",
		"DELETE /edge_auth/sessions/{user}/{id}":     "",
		"DELETE /edge_auth/users/{id}/second_factor": "",
	}
	for pattern, handle := range adminRoutes {
		if strings.HasPrefix(pattern, "GET ") || slices.Contains(changesNothing, pattern) {
			continue
		}
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			body, known := bodies[pattern]
			require.True(t, known, "a new route: does it change what lets people in? Then its handler says so by did(); else it is in changesNothing")
			method, path, _ := strings.Cut(pattern, " ")
			app := newSite(t, new(Policy), `{"authenticator":"token"}`).app
			app.ring.filled.Store(true)
			require.NoError(t, records.PutUser(t.Context(), app.store, records.User{ID: "alice"}))
			require.NoError(t, records.PutSecondFactor(t.Context(), app.store, records.SecondFactor{User: "alice", Secret: "x"}))
			_, token, err := records.NewToken(t.Context(), app.store, records.Token{User: "alice"}, 0)
			require.NoError(t, err)
			r := httptest.NewRequest(method, path+"?user=alice", strings.NewReader(body))
			if body == "" {
				r.Body = http.NoBody
			}
			r.SetPathValue("user", "alice")
			r.SetPathValue("id", "alice")
			if strings.Contains(path, "/tokens/") {
				r.SetPathValue("id", token.ID)
			}
			answer, err := handle(app, r)
			switch pattern { // what takes more than is here to succeed
			case "PUT /edge_auth/backup", "POST /edge_auth/migrate":
				require.Error(t, err)
				return
			case "DELETE /edge_auth/sessions/{user}/{id}":
			default:
				require.NoError(t, err)
			}
			require.IsType(t, new(audited), answer)
			assert.NotEmpty(t, answer.(*audited).events)
		})
	}
}

func TestWhatTheAdminAPICouldNotEndIsToldAsThat(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	app := &App{audit: audit.New(zap.New(core))}
	r := httptest.NewRequest(http.MethodDelete, "/edge_auth/users/alice", nil)
	answer := did(nil, audit.Event{Name: audit.UserRemoved, User: "alice"})
	app.auditAdmin(r, answer, badRequest("no"))
	app.auditAdmin(r, "GET", nil)
	require.Empty(t, logs.All())
	app.auditAdmin(r, answer, io.ErrUnexpectedEOF)
	app.auditAdmin(r, answer, nil)
	require.Equal(t, 2, logs.Len())
	assert.Equal(t, "unavailable", logs.All()[0].ContextMap()["outcome"])
	assert.NotContains(t, logs.All()[1].ContextMap(), "outcome")
}

func TestOnlyWrongCredentialsAreInTheAuditLogAndOnce(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	outer := newSite(t, &Policy{Require: []Requirement{{Group: []string{"staff"}}}}, `{"authenticator":"token"}`)
	outer.app.audit = audit.New(zap.New(core))
	require.NoError(t, records.PutUser(t.Context(), outer.app.store, records.User{ID: "alice"}))
	secret, _, err := records.NewToken(t.Context(), outer.app.store, records.Token{User: "alice"}, 0)
	require.NoError(t, err)

	outer.ask()
	outer.ask("Authorization: Token " + secret) // not in the group
	require.Empty(t, logs.All())
	r := outer.ask("Authorization: Token " + strings.Repeat("0", 40))
	require.False(t, outer.passed)
	outer.serve(r) // as error routes would, with a policy of theirs
	require.Equal(t, 1, logs.Len())
	fields := logs.All()[0].ContextMap()
	assert.Equal(t, "credential_rejected", fields["event"])
	assert.Equal(t, "test", fields["policy"])
	assert.Equal(t, "token", fields["authenticator"])
	assert.Equal(t, "token_not_valid", fields["code"])
	outer.Policy.auditRejection(prepared(httptest.NewRequest(http.MethodGet, "/", nil)), errors.New("store is down"))
	assert.Equal(t, 1, logs.Len(), "an outage is no wrong credential")
}
