package issuer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// testHost is an app in memory.
type testHost struct {
	*guesttest.Host

	audit *audit.Log
}

func (h testHost) Audit() *audit.Log { return h.audit }

func (h testHost) EnsureSigningKeys(context.Context) error {
	if h.Ring.Algorithms() == nil {
		return keys.ErrNoSigner
	}
	return nil
}

// testIssuer is an issuer with users.
type testIssuer struct {
	*Issuer

	t    testing.TB
	host *guesttest.Host
	logs *observer.ObservedLogs
}

// newTestIssuer makes one that signs with a key, and that has the users of the
// recordings.
func newTestIssuer(t testing.TB, i *Issuer, key string) *testIssuer {
	t.Helper()
	host := guesttest.NewHost()
	signer, err := keys.LoadSigner([]byte(key))
	require.NoError(t, err)
	host.Ring.Set(signer)
	core, logs := observer.New(zap.DebugLevel)
	i.setDefaults()
	require.NoError(t, i.check())
	require.NoError(t, i.provision(testHost{host, audit.New(zap.New(core))}, zap.New(core)))
	no := false
	for _, user := range []struct {
		records.User
		password string
	}{
		{records.User{ID: "alice", PK: "1", Name: "Alice", Groups: []string{"staff"}}, "wonderland"},
		{records.User{ID: "bob", PK: "2", Active: &no}, "builder"},
		{records.User{ID: "carol", PK: "3"}, "carolpass"},
		{records.User{ID: "kim", PK: "4"}, " lead trail "},
	} {
		hash, err := passwords.Hash(user.password)
		require.NoError(t, err)
		require.NoError(t, records.SetPassword(t.Context(), host.Records, user.ID, hash))
		require.NoError(t, records.PutUser(t.Context(), host.Records, user.User))
	}
	return &testIssuer{i, t, host, logs}
}

// serve answers a request; 418 is what is not for an endpoint.
func (i *testIssuer) serve(r *http.Request) *httptest.ResponseRecorder {
	i.t.Helper()
	w := httptest.NewRecorder()
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusTeapot)
		return nil
	})
	require.NoError(i.t, i.ServeHTTP(w, r, next))
	return w
}

// post sends JSON, with headers given as "Name: value".
func (i *testIssuer) post(path, body string, headers ...string) *httptest.ResponseRecorder {
	i.t.Helper()
	r := httptest.NewRequestWithContext(i.t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	return i.serve(r)
}

// fields are the texts of an answer's body.
func fields(t testing.TB, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	var body map[string]string
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
	return body
}

func base64URL(text string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(text) }
