package edgeauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/edgeauth/caddy-edgeauth/authenticators/basic"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/faultstore"
	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// faulty is a store of the pool that fails where it is told to.
type faulty struct {
	*faultstore.Store

	destruct func() error
}

func (f faulty) Destruct() error { return f.destruct() }

// failing puts a store below a site whose reads fail where they are told to.
func (s *site) failing() *faultstore.Store {
	handle := s.app.store.Handle
	store := &faultstore.Store{Store: handle, OnlyReads: true}
	s.app.store.Handle = faulty{store, handle.Destruct}
	return store
}

// told lets a site write its log where the test sees it.
func (s *site) told() *observer.ObservedLogs {
	core, logs := observer.New(zap.DebugLevel)
	logger := zap.New(core)
	s.logger, s.Policy.logger, s.app.logger = logger, logger, logger
	return logs
}

// awaitLastUse waits until the use of a token is noted, which nobody waits for.
func (s *site) awaitLastUse(t *testing.T, kind string) {
	t.Helper()
	require.Eventually(t, func() bool {
		tokens, err := records.ListTokens(t.Context(), s.app.store, records.TokenFilter{User: "alice"})
		return err == nil && (kind != "token" || !tokens[0].LastUsed.IsZero())
	}, 10*time.Second, time.Millisecond)
}

// answer sends a request with headers, and returns what came back.
func (s *site) answer(headers ...string) *httptest.ResponseRecorder {
	r := prepared(httptest.NewRequest(http.MethodGet, "/app", nil))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	s.passed = false
	w := httptest.NewRecorder()
	err := s.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		s.passed = true
		return nil
	}))
	if failure, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		w.Code = failure.StatusCode
	}
	return w
}

// proven are sites with each kind of credential, and one of alice's.
func proven(t *testing.T, p func() *Policy) map[string]credential {
	t.Helper()
	ctx := t.Context()
	all := make(map[string]credential)
	alice := records.User{ID: "alice", Groups: []string{"staff"}}

	token := newSite(t, p(), `{"authenticator":"token"}`)
	secret, _, err := records.NewToken(ctx, token.app.store, records.Token{User: "alice"}, 0)
	require.NoError(t, err)
	all["token"] = credential{token, "Authorization: Token " + secret}

	session := newSite(t, p(), `{"authenticator":"session"}`)
	id, err := records.NewSession(ctx, session.app.store, records.Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	all["session"] = credential{session, "Cookie: __Host-edge_auth=" + id}

	bearer := newSite(t, p(), `{"authenticator":"jwt","check_revoked":true}`)
	now := time.Now().Unix()
	text, err := bearer.app.ring.Sign(fmt.Appendf(nil, `{"sub":"alice","exp":%d,"iat":%d,"jti":"b7a1","token_type":"access"}`, now+3600, now), "JWT")
	require.NoError(t, err)
	all["jwt"] = credential{bearer, "Authorization: Bearer " + text}

	basic := newSite(t, p(), `{"authenticator":"basic"}`)
	hash, err := passwords.Hash("wonderland")
	require.NoError(t, err)
	require.NoError(t, records.SetPassword(ctx, basic.app.store, "alice", hash))
	all["basic"] = credential{basic, "Authorization: Basic YWxpY2U6d29uZGVybGFuZA=="}

	for _, c := range all {
		require.NoError(t, records.PutUser(ctx, c.site.app.store, alice))
	}
	return all
}

// Whichever read of the store fails, and however: nobody passes, nobody is told to
// be wrong or unknown, and neither answer nor log holds the credential.
func TestE01E02ReadsThatFailLetNobodyThroughAndLogNobodyOut(t *testing.T) {
	t.Parallel()
	for mode, policy := range map[string]func() *Policy{
		"guarded":  func() *Policy { return &Policy{CheckUser: checkUserStrict} },
		"optional": func() *Policy { return &Policy{CheckUser: checkUserStrict, Optional: true} },
	} {
		for kind, c := range proven(t, policy) {
			t.Run(mode+" "+kind, func(t *testing.T) {
				t.Parallel()
				logs := c.site.told()
				c.site.answer(c.header)
				c.site.awaitLastUse(t, kind)
				store := c.site.failing()
				c.site.app.cache.Clear()
				good := c.site.answer(c.header)
				require.True(t, c.site.passed, good.Body)
				reads := store.Heal()
				require.Positive(t, reads)
				for name, fault := range map[string]faultstore.Fault{"lost": faultstore.Lost, "panics": faultstore.Panics} {
					for nth := 1; nth <= reads; nth++ {
						for _, once := range []bool{true, false} {
							c.site.app.cache.Clear()
							c.site.app.refusals.Clear()
							store.Fail(nth, fault, once)
							w := c.site.answer(c.header)
							store.Heal()
							assert.False(t, c.site.passed, "%s %d", name, nth)
							assert.Equal(t, http.StatusServiceUnavailable, w.Code, "%s %d", name, nth)
							assert.NotEmpty(t, w.Header().Get("Retry-After"))
							assert.Empty(t, w.Header().Get("WWW-Authenticate"))
							assert.JSONEq(t, `{"detail":"Service temporarily unavailable, try again later.","code":"service_unavailable"}`, w.Body.String())
						}
					}
				}
				c.site.answer(c.header)
				assert.True(t, c.site.passed, "it was not kept")
				_, value, _ := strings.Cut(c.header, " ")
				value = value[strings.LastIndexByte(value, '=')+1:]
				if kind == "basic" {
					value = "wonderland"
				}
				for _, entry := range logs.All() {
					assert.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), value)
				}
			})
		}
	}
}

// What a guest panics with is told to the log, and to nobody else.
func TestE01GuestsThatPanicAreUnavailable(t *testing.T) {
	t.Parallel()
	for name, optional := range map[string]bool{"guarded": false, "optional": true} {
		guest := &lasting{scripted: scripted{panics: true, who: &identity.Identity{ID: "alice"}}, holds: true}
		s := withGuest(t, guest, "a", &Policy{Optional: optional})
		logs := s.told()
		w := s.answer("X-Key: secret-key-of-alice")
		assert.False(t, s.passed, name)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code, name)
		assert.NotContains(t, w.Body.String(), "goroutine", name)
		require.Equal(t, 1, logs.FilterMessage("authenticator panicked").Len())
		for _, entry := range logs.All() {
			assert.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "secret-key-of-alice")
		}
		guest.panics = false
		s.answer("X-Key: secret-key-of-alice")
		assert.True(t, s.passed, "%s: the process lives on", name)
	}
}
