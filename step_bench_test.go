package edgeauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
	_ "github.com/edgeauth/caddy-edgeauth/authenticators/session"
	_ "github.com/edgeauth/caddy-edgeauth/authenticators/token"
	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/embedded"
)

// site is a handler with a policy, on an embedded store.
type site struct {
	*Handler

	passed bool
}

// newSite makes one whose policy has these authenticators, in JSON.
func newSite(t testing.TB, p *Policy, authenticators ...string) *site {
	t.Helper()
	config := &embedded.Config{Path: filepath.Join(t.TempDir(), "edge_auth.db")}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	require.NoError(t, config.Provision(ctx))
	handle, err := config.New()
	require.NoError(t, err)
	t.Cleanup(func() { _ = handle.Destruct() })
	app := &App{
		logger: zap.NewNop(), servers: make(map[*caddyhttp.Server]struct{}), ring: new(ownKeys), cache: cache.New(1000), refusals: cache.New(1000), maxAge: time.Minute, explained: new(explanations),
		store: &watchedStore{sharedStore: share(handle, "embedded"), outage: &outage{logger: zap.NewNop()}, teller: handle.(store.Teller)},
	}
	app.ring.Ring = keys.NewRing(newSigner(t))
	app.addHeaderNames(nil)
	require.NoError(t, registerMetrics(ctx))
	for _, a := range authenticators {
		p.AuthenticatorsRaw = append(p.AuthenticatorsRaw, json.RawMessage(a))
	}
	require.NoError(t, p.provision(ctx, app, "test"))
	return &site{Handler: &Handler{Policy: p, app: app, logger: zap.NewNop()}}
}

func newSigner(t testing.TB) *keys.Signer {
	t.Helper()
	signer, err := keys.GenerateSigner()
	require.NoError(t, err)
	return signer
}

// ask sends a request of Caddy's with these headers.
func (s *site) ask(headers ...string) *http.Request {
	r := prepared(httptest.NewRequest(http.MethodGet, "/app?q=1", nil))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	s.serve(r)
	return r
}

func (s *site) serve(r *http.Request) {
	s.passed = false
	_ = s.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		s.passed = true
		return nil
	}))
}

func prepared(r *http.Request) *http.Request {
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
}

// BenchmarkStep is what authentication adds to a request whose credential was seen
// before, from the first look to the headers for the upstream. Its allocations are
// held in TestStepAllocatesNextToNothing.
func BenchmarkStep(b *testing.B) {
	for name, c := range credentials(b) {
		b.Run(name, func(b *testing.B) {
			step := c.step(b)
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

// credential is a site with a good one.
type credential struct {
	site   *site
	header string
}

func credentials(t testing.TB) map[string]credential {
	t.Helper()
	who := records.Session{User: "alice", Name: "Alice Liddell", Email: "alice@example.com", Groups: []string{"staff", "sales"}}
	ctx := context.Background()
	all := make(map[string]credential)

	session := newSite(t, new(Policy), `{"authenticator":"session"}`)
	id, err := records.NewSession(ctx, session.app.store, who, time.Hour)
	require.NoError(t, err)
	all["session"] = credential{session, "Cookie: theme=dark; __Host-edge_auth=" + id}

	checked := newSite(t, &Policy{CheckUser: checkUserOn}, `{"authenticator":"session"}`)
	id, err = records.NewSession(ctx, checked.app.store, who, time.Hour)
	require.NoError(t, err)
	all["session, check_user"] = credential{checked, "Cookie: theme=dark; __Host-edge_auth=" + id}

	token := newSite(t, new(Policy), `{"authenticator":"token"}`)
	require.NoError(t, records.PutUser(ctx, token.app.store, records.User{ID: "alice", Name: who.Name, Email: who.Email, Groups: who.Groups}))
	secret, _, err := records.NewToken(ctx, token.app.store, records.Token{User: "alice"}, 0)
	require.NoError(t, err)
	all["token"] = credential{token, "Authorization: Token " + secret}

	bearer := newSite(t, new(Policy), `{"authenticator":"jwt"}`)
	claims := fmt.Sprintf(`{"iss":"edge_auth","sub":"alice","exp":%d,"iat":%d,"jti":"b7a1c119c13f4c51b4cd8fc2d68f7596","token_type":"access","name":"Alice Liddell","email":"alice@example.com","email_verified":true,"groups":["staff","sales"],"scope":"read write","auth_time":1799999000,"azp":"web","sid":"8f7c3a52-7f6e-4b1f-9a53-5b0f5e7e1a11"}`,
		time.Now().Add(time.Hour).Unix(), time.Now().Unix())
	text, err := bearer.app.ring.Sign([]byte(claims), "JWT")
	require.NoError(t, err)
	all["jwt"] = credential{bearer, "Authorization: Bearer " + text}

	usual := newSite(t, new(Policy), `{"authenticator":"token"}`, `{"authenticator":"jwt"}`, `{"authenticator":"session"}`)
	id, err = records.NewSession(ctx, usual.app.store, who, time.Hour)
	require.NoError(t, err)
	all["session, the default policy"] = credential{usual, "Cookie: theme=dark; __Host-edge_auth=" + id}
	return all
}

// step does what the handler does but for what follows it, again and again on one
// request, which it puts back as it was.
func (c credential) step(t testing.TB) func() {
	t.Helper()
	r := prepared(httptest.NewRequest(http.MethodGet, "/app?q=1", nil))
	name, value, _ := strings.Cut(c.header, ": ")
	for i, usual := range []string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "X-Forwarded-For", "Referer"} {
		r.Header.Set(usual, strings.Repeat("x", 10*(i+1)))
	}
	values := []string{value}
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	pristine := *replacer
	w := httptest.NewRecorder()
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if r.Header["Remote-User"][0] != "alice" {
			t.Fatal(r.Header)
		}
		return nil
	})
	return func() {
		r.Header[name] = values
		delete(vars, stateKey)
		*replacer = pristine
		if err := c.site.ServeHTTP(w, r, next); err != nil || w.Code != http.StatusOK {
			t.Fatal(w.Code, err)
		}
	}
}

func TestStepAllocatesNextToNothing(t *testing.T) {
	// Not parallel: it counts allocations.
	for name, c := range credentials(t) {
		step := c.step(t)
		step()
		assert.LessOrEqual(t, testing.AllocsPerRun(100, step), 4.0, name)
	}
}
