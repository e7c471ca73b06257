package token

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// oauthServer answers about tokens as it is told.
type oauthServer struct {
	*httptest.Server

	asked  atomic.Int64
	answer atomic.Value // http.HandlerFunc
}

func newOAuthServer(t *testing.T) *oauthServer {
	t.Helper()
	s := new(oauthServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *oauthServer) does(answer http.HandlerFunc) { s.answer.Store(answer) }

func (s *oauthServer) says(body string, headers ...string) {
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		_, _ = w.Write([]byte(body))
	})
}

// introspecting is an authenticator that asks s.
func (s *oauthServer) introspecting(t *testing.T, options string) *Authenticator {
	t.Helper()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "token {\n scheme Bearer\n introspect "+s.URL+"/introspect {\n client_id gate:way\n client_secret s3cr%t\n"+options+"\n}\n}"))
	return a
}

const opaque = "Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA"

func TestIntrospectionFollowsRFC7662(t *testing.T) {
	t.Parallel()
	s := newOAuthServer(t)
	exp := time.Now().Add(time.Hour).Unix()
	s.does(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		assert.Equal(t, "gate%3Away", id)
		assert.Equal(t, "s3cr%25t", secret)
		assert.Equal(t, http.MethodPost, r.Method)
		assert.Equal(t, "2YotnFZFEjr1zCsicMWpAA", r.PostFormValue("token"))
		assert.Equal(t, "access_token", r.PostFormValue("token_type_hint"))
		assert.Empty(t, r.PostFormValue("client_secret"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"active":true,"client_id":"l238j323ds-23ij4","username":"jdoe","scope":"read write dolphin","sub":"Z5O3upPC88QrAjx00dis","aud":"https://protected.example.net/resource","iss":"https://server.example.com/","exp":%d,"iat":1419350238,"extension_field":"twenty-seven","email":"j@example.com","groups":["a"]}`, exp)
	})
	a := s.introspecting(t, "audience https://protected.example.net/resource\n issuer https://server.example.com/\n claim name username")
	who, err := guesttest.Ask(t, a, opaque)
	require.NoError(t, err)
	assert.Equal(t, "Z5O3upPC88QrAjx00dis", who.ID)
	assert.Equal(t, "jdoe", who.Name)
	assert.Equal(t, "j@example.com", who.Email)
	assert.Equal(t, []string{"a"}, who.Groups)
	assert.Equal(t, []string{"read", "write", "dolphin"}, who.Scopes)
	assert.Equal(t, "token", who.Method)
	assert.Equal(t, exp, who.Expires.Unix())
	assert.Equal(t, int64(1419350238), who.AuthTime.Unix())
	assert.Equal(t, "twenty-seven", who.Claims["extension_field"])

	s.does(func(w http.ResponseWriter, r *http.Request) {
		_, _, basic := r.BasicAuth()
		assert.False(t, basic)
		assert.Equal(t, "gate:way", r.PostFormValue("client_id"))
		assert.Equal(t, "s3cr%t", r.PostFormValue("client_secret"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"active":true,"uid":7}`))
	})
	who, err = guesttest.Ask(t, s.introspecting(t, "client_auth post\n user uid"), opaque)
	require.NoError(t, err)
	assert.Equal(t, "7", who.ID)
}

// Rows T36 and T37 of the attack catalogue.
func TestT36OnlyAnActiveTokenOfOursIsAccepted(t *testing.T) {
	t.Parallel()
	const rejected, unavailable, accepted = "rejected", "unavailable", "accepted"
	for name, c := range map[string]struct{ body, options, want string }{
		"active":                  {`{"active":true,"sub":"a"}`, "", accepted},
		"inactive":                {`{"active":false}`, "", rejected},
		"inactive, with a sub":    {`{"active":false,"sub":"a"}`, "", rejected},
		"active missing":          {`{"sub":"a"}`, "", unavailable},
		"active a text":           {`{"active":"true","sub":"a"}`, "", unavailable},
		"active a number":         {`{"active":1,"sub":"a"}`, "", unavailable},
		"active twice":            {`{"active":false,"active":true,"sub":"a"}`, "", unavailable},
		"Active":                  {`{"Active":true,"sub":"a"}`, "", unavailable},
		"an error":                {`{"error":"invalid_request"}`, "", unavailable},
		"no JSON":                 {`active`, "", unavailable},
		"a list":                  {`[{"active":true,"sub":"a"}]`, "", unavailable},
		"empty":                   {``, "", unavailable},
		"huge":                    {`{"active":true,"sub":"a","x":"` + strings.Repeat("x", 70<<10) + `"}`, "", unavailable},
		"huge, though only blank": {`{"active":true,"sub":"a"}` + strings.Repeat(" ", 70<<10), "", unavailable},
		"no sub":                  {`{"active":true,"username":"a"}`, "", rejected},
		"sub a list":              {`{"active":true,"sub":["a"]}`, "", rejected},
		"sub empty":               {`{"active":true,"sub":""}`, "", rejected},
		"sub with a line end":     {`{"active":true,"sub":"a\nb"}`, "", rejected},
		"expired":                 {`{"active":true,"sub":"a","exp":1419356238}`, "", rejected},
		"exp a text":              {`{"active":true,"sub":"a","exp":"9999999999"}`, "", rejected},
		"exp in milliseconds":     {`{"active":true,"sub":"a","exp":9999999999000}`, "", rejected},
		"not yet":                 {`{"active":true,"sub":"a","nbf":9999999999}`, "", rejected},
		"refresh token":           {`{"active":true,"sub":"a","token_use":"refresh_token"}`, "", rejected},
		"Keycloak's refresh":      {`{"active":true,"sub":"a","typ":"Refresh"}`, "", rejected},
		"Keycloak's access":       {`{"active":true,"sub":"a","typ":"Bearer"}`, "", accepted},
		"ID token":                {`{"active":true,"sub":"a","token_type":"id_token"}`, "", rejected},
		"bound to a key":          {`{"active":true,"sub":"a","cnf":{"jkt":"x"}}`, "", rejected},
		"DPoP":                    {`{"active":true,"sub":"a","token_type":"DPoP"}`, "", rejected},
		"another audience":        {`{"active":true,"sub":"a","aud":["other"]}`, "audience api", rejected},
		"no audience":             {`{"active":true,"sub":"a"}`, "audience api", rejected},
		"one of the audiences":    {`{"active":true,"sub":"a","aud":["other","api"]}`, "audience api web", accepted},
		"another issuer":          {`{"active":true,"sub":"a","iss":"https://b.example.com"}`, "issuer https://a.example.com", rejected},
		"e-mail is not verified":  {`{"active":true,"sub":"a","email":"b@example.com","email_verified":false}`, "", accepted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newOAuthServer(t)
			s.says(c.body)
			who, err := guesttest.Ask(t, s.introspecting(t, c.options), opaque)
			var refusal *authenticators.RejectedError
			switch c.want {
			case accepted:
				require.NoError(t, err)
				assert.Equal(t, "a", who.ID)
				assert.Empty(t, who.Email)
			case rejected:
				require.ErrorAs(t, err, &refusal)
				assert.Equal(t, "Invalid token.", refusal.Detail)
			default:
				require.Error(t, err)
				require.NotErrorAs(t, err, &refusal)
				require.NotErrorIs(t, err, authenticators.ErrNoCredential)
			}
			if err != nil {
				assert.NotContains(t, err.Error(), "2YotnFZFEjr1zCsicMWpAA")
			}
		})
	}
}

func TestT36T37D30ServerThatCannotBeAskedIsUnavailable(t *testing.T) {
	t.Parallel()
	elsewhere := newOAuthServer(t)
	elsewhere.says(`{"active":true,"sub":"a"}`)
	for name, answer := range map[string]http.HandlerFunc{
		"401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"plain text": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"active":true,"sub":"a"}`)) },
		"hangs up":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"never comes": func(_ http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm() // else the server does not notice that the client has gone
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newOAuthServer(t)
			s.does(answer)
			a := s.introspecting(t, "timeout 200ms")
			began := time.Now()
			_, err := guesttest.Ask(t, a, opaque)
			var refusal *authenticators.RejectedError
			require.Error(t, err)
			require.NotErrorAs(t, err, &refusal)
			assert.Less(t, time.Since(began), 5*time.Second)
		})
	}
	t.Cleanup(func() { assert.Zero(t, elsewhere.asked.Load(), "no token goes where the config does not say") })
}

func TestServerThatFailsAgainAndAgainIsSparedForAMoment(t *testing.T) {
	t.Parallel()
	var b breaker
	now, down := time.Now(), fmt.Errorf("down")
	assert.True(t, b.note(now, down), "told once")
	assert.False(t, b.note(now, down))
	require.NoError(t, b.check(now), "it may have been chance")
	assert.False(t, b.note(now, down))
	require.ErrorIs(t, b.check(now.Add(breakFor-1)), down)
	require.NoError(t, b.check(now.Add(breakFor)), "somebody tries")
	assert.True(t, b.note(now, nil))
	require.NoError(t, b.check(now))
	assert.False(t, b.note(now, nil))
}

func TestX23OneQuestionAtATimeForEachToken(t *testing.T) {
	t.Parallel()
	s := newOAuthServer(t)
	hold := make(chan struct{})
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		<-hold
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"active":true,"sub":"a"}`))
	})
	a := s.introspecting(t, "timeout 30s")
	credential := authenticators.Credential{Value: "2YotnFZFEjr1zCsicMWpAA"}

	gone, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := a.Verify(gone, credential)
		first <- err
	}()
	require.Eventually(t, func() bool { return s.asked.Load() == 1 }, 5*time.Second, time.Millisecond)
	var all sync.WaitGroup
	var mu sync.Mutex
	given := make(map[*identity.Identity]bool)
	for range 50 {
		all.Go(func() {
			who, err := a.Verify(t.Context(), credential)
			if assert.NoError(t, err) {
				mu.Lock()
				defer mu.Unlock()
				given[who] = true
			}
		})
	}
	leave()
	require.ErrorIs(t, <-first, context.Canceled, "who goes away takes nobody's answer along")
	close(hold)
	all.Wait()
	assert.LessOrEqual(t, s.asked.Load(), int64(2), "those who came late may have asked again")
	assert.Len(t, given, 50, "each has one that no other may change")
	who, err := a.Verify(t.Context(), credential)
	require.NoError(t, err)
	assert.Equal(t, "a", who.ID)
}

func TestX05HowLongAnAnswerHolds(t *testing.T) {
	t.Parallel()
	soon := time.Now().Truncate(time.Second).Add(20 * time.Second)
	const untilSoon = -1
	active := `{"active":true,"sub":"a"}`
	for name, c := range map[string]struct {
		body, options, cacheControl string
		want                        time.Duration
	}{
		"by default":            {active, "", "", introspectMaxAge},
		"as the config says":    {active, "max_age 30s", "", 30 * time.Second},
		"off":                   {active, "max_age off", "", 0},
		"no-store":              {active, "", "private, no-store", 0},
		"no-cache":              {active, "", "no-cache", 0},
		"shorter":               {active, "", "max-age=2", 2 * time.Second},
		"longer":                {active, "", "max-age=3600", introspectMaxAge},
		"unreadable":            {active, "", "max-age=-1", introspectMaxAge},
		"the config knows best": {active, "max_age 30s", "no-store", 30 * time.Second},
		"the token ends":        {fmt.Sprintf(`{"active":true,"sub":"a","exp":%d}`, soon.Unix()), "max_age 30s", "", untilSoon},
		"inactive":              {`{"active":false}`, "max_age 30s", "", maxRefused},
		"inactive, off":         {`{"active":false}`, "max_age off", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newOAuthServer(t)
			s.says(c.body, "Cache-Control: "+c.cacheControl)
			a := s.introspecting(t, c.options)
			ctx, reads := store.Collecting(t.Context())
			asked := time.Now()
			_, _ = a.Verify(ctx, authenticators.Credential{Value: "2YotnFZFEjr1zCsicMWpAA"})
			stamps, end, known := reads.Known()
			require.True(t, known)
			assert.Empty(t, stamps)
			if c.want == untilSoon {
				assert.WithinDuration(t, soon, end, 0)
				return
			}
			assert.WithinRange(t, end, asked.Add(c.want), time.Now().Add(c.want))
		})
	}
}

func TestT37IntrospectionMistakes(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"http://idp.example.com/introspect {\n client_id a\n client_secret b\n}":                      "https is needed",
		"https://a:b@idp.example.com/introspect {\n client_id a\n client_secret b\n}":                 "without a user name",
		"idp.example.com {\n client_id a\n client_secret b\n}":                                        "an address such as",
		"https://idp.example.com/introspect":                                                          "client_id and client_secret are needed",
		"https://idp.example.com/introspect {\n client_id a\n client_secret {env.EDGE_AUTH_UNSET}\n}": "EDGE_AUTH_UNSET",
		"https://idp.example.com/i {\n client_id a\n client_secret b\n client_auth jwt\n}":            "basic or post would do",
		"https://idp.example.com/i {\n client_id a\n client_secret b\n timeout 1ms\n}":                "50ms to 30s would do",
		"https://idp.example.com/i {\n client_id a\n client_secret b\n max_age 0\n}":                  "a duration such as 10s, or off",
		"https://idp.example.com/i {\n client_idd a\n}":                                               "did you mean 'client_id'?",
	} {
		err := guesttest.Load(t, guesttest.NewHost(), new(Authenticator), "token {\n introspect "+config+"\n}")
		require.ErrorContains(t, err, want, config)
	}
}

func TestClaimsOfAnIntrospectionCanBeNamed(t *testing.T) {
	t.Parallel()
	claims := new(Introspection).claims([]identity.ClaimPath{{Name: "groups", Path: "roles"}})
	assert.Equal(t, []identity.ClaimPath{{Name: "groups", Path: "roles"}, {Name: "name", Path: "name"}, {Name: "email", Path: "email"}, {Name: "scopes", Path: "scope"}}, claims)
}
