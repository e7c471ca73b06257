package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// TestAdminAPIAnswersAsItsOpenAPIFileSays calls each path of docs/reference/openapi.json
// until each status has been seen that the file has for it, and no other.
func TestAdminAPIAnswersAsItsOpenAPIFileSays(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	site := "http://127.0.0.1:$PORT {\n edge_auth {\n jwt {\n check_revoked\n}\n}\n}"
	embedded := newAPI(t, harness.Start(t, "edge_auth {\n store embedded $DIR/edge_auth.db\n}", site))
	remote := embedded.of(harness.Start(t, "edge_auth {\n store redis "+redis.URL()+"\n}", site))
	embedded.g.EdgeAuth("", "user", "list") // waits until it has started
	remote.g.EdgeAuth("", "user", "list")

	user := map[string]any{"id": "alice", "password": "correct horse", "name": "Alice", "email": "alice@example.com", "groups": []string{"staff"}, "pk": "7"}
	embedded.ok("POST /edge_auth/users", "", user)
	remote.ok("POST /edge_auth/users", "", user)
	token := map[string]any{"user": "alice", "name": "ci", "groups": []string{"staff"}, "scopes": []string{"read"}, "ttl": "90d", "created_by": "test"}
	first := embedded.ok("POST /edge_auth/tokens", "", token).(map[string]any)["id"].(string)
	rotation := map[string]any{"overlap": "1h", "ttl": "30d", "created_by": "test"}
	second := embedded.ok("POST /edge_auth/tokens/{id}/rotate", first, rotation).(map[string]any)["id"].(string)
	embedded.fails(http.StatusConflict, "POST /edge_auth/tokens/{id}/rotate", first, rotation)
	embedded.ok("GET /edge_auth/tokens", "?user=alice&name=ci&prefix="+first[:8], nil)
	assert.NotEmpty(t, embedded.ok("GET /edge_auth/tokens/{id}", first, nil).(map[string]any)["replaced_by"])
	embedded.ok("DELETE /edge_auth/tokens/{id}", second, nil)
	embedded.ok("DELETE /edge_auth/tokens", "?user=alice", nil)
	login := map[string]any{"user": "alice", "lifetime": "8h"}
	embedded.ok("POST /edge_auth/sessions", "", login)
	sessions := embedded.ok("GET /edge_auth/sessions/{user}", "alice", nil).([]any)
	embedded.ok("DELETE /edge_auth/sessions/{user}/{id}", "alice/"+sessions[0].(map[string]any)["id"].(string), nil)
	jwt := embedded.ok("POST /edge_auth/jwt", "", login).(map[string]any)["jwt"]
	embedded.ok("POST /edge_auth/jwt/revoke", "", map[string]any{"jwt": jwt})
	embedded.ok("POST /edge_auth/jwt/revoke", "", map[string]any{"jti": "1", "issuer": "https://idp.example.com", "lifetime": "1h"})
	embedded.ok("PUT /edge_auth/users/{id}/password", "alice", map[string]any{"password": "battery staple"})
	for _, path := range []string{"disable", "enable", "logout"} {
		embedded.ok("POST /edge_auth/users/{id}/"+path, "alice", nil)
	}
	embedded.ok("GET /edge_auth/users", "", nil)
	redis.Do(t, "SET", "edge_auth:second:alice", `{"secret":"JBSWY3DPEHPK3PXP","step":0}`)
	remote.ok("DELETE /edge_auth/users/{id}/second_factor", "alice", nil)
	batch := map[string]any{
		"users": []any{
			map[string]any{"id": "bob", "active": true, "name": "Bob", "email": "bob@example.com", "groups": []string{}, "pk": "8", "password": ""},
			map[string]any{"id": "12345", "active": true, "groups": []string{}},
		},
		"tokens":    []any{map[string]any{"digest": strings.Repeat("ab", 32), "user": "bob", "created": "2026-11-01T00:00:00Z", "name": "x", "created_by": "test"}},
		"overwrite": false, "dry_run": false,
	}
	embedded.ok("POST /edge_auth/import", "", batch)
	backup := embedded.ok("GET /edge_auth/backup", "", nil).([]byte)
	embedded.ok("PUT /edge_auth/backup", "", backup)
	embedded.ok("DELETE /edge_auth/users/{id}", "bob", nil)
	for _, route := range []string{"GET /edge_auth/health", "GET /edge_auth/keys", "GET /edge_auth/cache", "DELETE /edge_auth/cache"} {
		embedded.ok(route, "", nil)
	}
	question := map[string]any{"url": embedded.g.URL + "/?next=1", "method": "GET", "headers": map[string]any{"Accept": "text/html", "Cookie": []string{"a=1"}}, "body": "", "client": "127.0.0.1"}
	embedded.ok("POST /edge_auth/explain", "", question)
	refused := embedded.g.Get("/", "Authorization: Bearer "+jwt.(string))
	embedded.ok("POST /edge_auth/explain", "", map[string]any{"request_id": refused.Header.Get("X-Request-ID")})

	// What can't be meant, and what is not there.
	for route, bad := range map[string]struct {
		path string
		body any
	}{
		"POST /edge_auth/users":              {"", map[string]any{"id": "carol", "password": "short"}},
		"PUT /edge_auth/users/{id}/password": {"alice", map[string]any{"password": "short"}},
		"POST /edge_auth/users/{id}/disable": {"%20", nil},
		"POST /edge_auth/users/{id}/enable":  {"%20", nil},
		"POST /edge_auth/users/{id}/logout":  {"%20", nil},
		"GET /edge_auth/tokens":              {"?of=alice", nil},
		"POST /edge_auth/tokens":             {"", map[string]any{"user": "alice", "ttl": "1ms"}},
		"DELETE /edge_auth/tokens":           {"", nil},
		"POST /edge_auth/tokens/{id}/rotate": {first, map[string]any{"overlap": "1ms"}},
		"POST /edge_auth/sessions":           {"", map[string]any{"user": "alice", "lifetime": "1ms"}},
		"POST /edge_auth/jwt":                {"", map[string]any{"user": "alice", "lifetime": "1ms"}},
		"POST /edge_auth/jwt/revoke":         {"", map[string]any{}},
		"POST /edge_auth/import":             {"", map[string]any{"people": 1}},
		"PUT /edge_auth/backup":              {"", []byte("no backup")},
		"POST /edge_auth/migrate":            {"", map[string]any{"to": map[string]any{}}},
		"POST /edge_auth/explain":            {"", map[string]any{}},
	} {
		embedded.fails(http.StatusBadRequest, route, bad.path, bad.body)
	}
	for route, missing := range map[string]struct {
		path string
		body any
	}{
		"DELETE /edge_auth/users/{id}":               {"nobody", nil},
		"PUT /edge_auth/users/{id}/password":         {"nobody", map[string]any{"password": "correct horse"}},
		"DELETE /edge_auth/users/{id}/second_factor": {"nobody", nil},
		"POST /edge_auth/tokens":                     {"", map[string]any{"user": "nobody"}},
		"GET /edge_auth/tokens/{id}":                 {"01234567", nil},
		"DELETE /edge_auth/tokens/{id}":              {"01234567", nil},
		"POST /edge_auth/tokens/{id}/rotate":         {"01234567", map[string]any{}},
		"POST /edge_auth/sessions":                   {"", map[string]any{"user": "nobody"}},
		"DELETE /edge_auth/sessions/{user}/{id}":     {"alice/01234567", nil},
		"POST /edge_auth/jwt":                        {"", map[string]any{"user": "nobody"}},
		"POST /edge_auth/explain":                    {"", map[string]any{"request_id": "unknown"}},
	} {
		embedded.fails(http.StatusNotFound, route, missing.path, missing.body)
	}
	embedded.fails(http.StatusConflict, "POST /edge_auth/users", "", user)
	remote.fails(http.StatusConflict, "GET /edge_auth/backup", "", nil)
	dead := map[string]any{"to": map[string]any{"url": "redis://127.0.0.1:1"}}
	embedded.fails(http.StatusServiceUnavailable, "POST /edge_auth/migrate", "", dead)
	move := map[string]any{"to": map[string]any{"url": redis.URL(), "prefix": "moved:"}, "hold": "1m", "merge": true, "dry_run": false}
	embedded.ok("POST /edge_auth/migrate", "", move)
	embedded.fails(http.StatusConflict, "POST /edge_auth/users", "", map[string]any{"id": "carol", "password": "correct horse"})

	// Everywhere: a config without edge_auth, and a store that does not answer.
	without := embedded.of(harness.Start(t, "", "http://127.0.0.1:$PORT {\n respond ok\n}"))
	down := embedded.of(harness.Start(t, "edge_auth {\n store redis redis://127.0.0.1:1\n}", site))
	_, _ = down.g.Command("", "edge-auth", "--address", down.g.Admin, "user", "list")
	bodies := map[string]any{
		"addUser": user, "setPassword": map[string]any{"password": "correct horse"}, "createToken": token, "rotateToken": rotation,
		"createSession": login, "createJWT": login, "revokeJWT": map[string]any{"jti": "1"}, "importRecords": batch, "restore": []byte("x"), "migrate": dead,
		"explainRequest": question,
	}
	for route, operation := range embedded.operations {
		path := map[int]string{0: "", 1: "somebody", 2: "somebody/01234567"}[strings.Count(route, "{")]
		if operation.OperationID == "revokeTokens" {
			path = "?user=alice"
		}
		without.fails(http.StatusConflict, route, path, bodies[operation.OperationID])
		if operation.Responses["503"] != nil && !slices.Contains([]string{"backup", "restore", "migrate", "showHealth"}, operation.OperationID) {
			down.fails(http.StatusServiceUnavailable, route, path, bodies[operation.OperationID])
		}
	}
	down.call(http.StatusServiceUnavailable, "GET /edge_auth/health", "", nil)
	embedded.sawAll("GET /edge_auth/backup 503", "PUT /edge_auth/backup 503") // for which a disk would have to break
}

// api calls the admin API of a gateway, and holds each answer to the file.
type api struct {
	t          *testing.T
	g          *harness.Gateway
	file       map[string]any
	operations map[string]operation
	seen       map[string]bool            // "GET /path 200"
	sent       map[string]map[string]bool // members of bodies that were taken, by route
}

type operation struct {
	OperationID string `json:"operationId"`
	RequestBody map[string]any
	Responses   map[string]map[string]any
}

func newAPI(t *testing.T, g *harness.Gateway) *api {
	t.Helper()
	a := &api{t: t, g: g, operations: make(map[string]operation), seen: make(map[string]bool), sent: make(map[string]map[string]bool)}
	data := must(os.ReadFile("../docs/reference/openapi.json"))
	require.NoError(t, json.Unmarshal(data, &a.file))
	var paths struct {
		Paths map[string]map[string]operation
	}
	require.NoError(t, json.Unmarshal(data, &paths))
	for path, methods := range paths.Paths {
		for method, operation := range methods {
			a.operations[strings.ToUpper(method)+" "+path] = operation
		}
	}
	return a
}

// of is the same for another gateway.
func (a *api) of(g *harness.Gateway) *api {
	other := *a
	other.g = g
	return &other
}

// ok calls a route. What stands in braces at its end is filled in with path, and what
// path has beside is added.
func (a *api) ok(route, path string, body any) any {
	a.t.Helper()
	if members, ok := body.(map[string]any); ok {
		require.NoError(a.t, conforms(a.file, schemaOf(a.operations[route].RequestBody), viaJSON(a.t, body), "body"), route)
		if a.sent[route] == nil {
			a.sent[route] = make(map[string]bool)
		}
		for member := range members {
			a.sent[route][member] = true
		}
	}
	return a.call(http.StatusOK, route, path, body)
}

func (a *api) fails(status int, route, path string, body any) {
	a.t.Helper()
	assert.NotEmpty(a.t, a.call(status, route, path, body).(map[string]any)["error"], route)
}

func (a *api) call(status int, route, path string, body any) any {
	a.t.Helper()
	method, address, _ := strings.Cut(route, " ")
	ends, braces := 0, strings.Split(path, "/")
	for strings.Contains(address, "{") {
		open, shut := strings.Index(address, "{"), strings.Index(address, "}")
		address = address[:open] + braces[ends] + address[shut+1:]
		ends++
	}
	if strings.HasPrefix(path, "?") {
		address += path
	}
	data, raw := body.([]byte)
	if body != nil && !raw {
		data = must(json.Marshal(body))
	}
	req := must(http.NewRequestWithContext(a.t.Context(), method, "http://"+a.g.Admin+address, bytes.NewReader(data)))
	resp, err := harness.Client.Do(req)
	require.NoError(a.t, err, route)
	defer resp.Body.Close()
	answer := must(io.ReadAll(resp.Body))
	require.Equal(a.t, status, resp.StatusCode, "%s %s: %.200s", route, path, answer)
	response := a.operations[route].Responses[strconv.Itoa(status)]
	require.NotNil(a.t, response, "%s: the file has no %d", route, status)
	a.seen[route+" "+strconv.Itoa(status)] = true
	assert.Equal(a.t, "no-store", resp.Header.Get("Cache-Control"), route)
	content := resolved(a.file, response)["content"].(map[string]any)
	require.Contains(a.t, content, resp.Header.Get("Content-Type"), route)
	if resp.Header.Get("Content-Type") != "application/json" {
		return answer
	}
	var value any
	require.NoError(a.t, json.Unmarshal(answer, &value), route)
	require.NoError(a.t, conforms(a.file, schemaOf(resolved(a.file, response)), value, "answer"), "%s: %s", route, answer)
	return value
}

// sawAll holds the file to what has been seen: no status of it is made up, and no
// member of a request.
func (a *api) sawAll(but ...string) {
	a.t.Helper()
	for route, operation := range a.operations {
		for status := range operation.Responses {
			if said := route + " " + status; !slices.Contains(but, said) {
				assert.True(a.t, a.seen[said], "%s: no answer was that", said)
			}
		}
		members, _ := resolved(a.file, schemaOf(operation.RequestBody))["properties"].(map[string]any)
		assert.ElementsMatch(a.t, slices.Collect(maps.Keys(members)), slices.Collect(maps.Keys(a.sent[route])), "%s: members of the body", route)
	}
}

func viaJSON(t *testing.T, from any) (to any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(must(json.Marshal(from)), &to))
	return to
}
