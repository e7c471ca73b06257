package edgeauth

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// scripted is an authenticator that does as it is told.
type scripted struct {
	find, verify error
	who          *identity.Identity
	panics       bool
	asked        int // for a credential
	verified     int
}

func (s *scripted) Find(*http.Request) (authenticators.Credential, error) {
	s.asked++
	return authenticators.Credential{Name: "X-Any"}, s.find
}

func (s *scripted) Verify(context.Context, authenticators.Credential) (*identity.Identity, error) {
	s.verified++
	if s.panics {
		panic("oh")
	}
	return s.who, s.verify
}

func request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, make(map[string]any)))
}

func policyOf(guests ...*scripted) *Policy {
	p := &Policy{logger: zap.NewNop()}
	for i, g := range guests {
		config := string(rune('a' + i))
		p.members = append(p.members, member{Authenticator: g, name: "scripted", config: config, scope: newScope(config, "", "")})
	}
	return p
}

// Every way for an authenticator to end is one of the four outcomes, and what
// nobody thought of is "unavailable".
func TestC62C64C65E01E02OutcomesAreKeptApart(t *testing.T) {
	t.Parallel()
	alice := &identity.Identity{ID: "alice"}
	rejected := &authenticators.RejectedError{Code: authenticators.CodeNotValid}
	for name, c := range map[string]struct {
		guest  scripted
		status int // 0: through
	}{
		"accepted":                      {scripted{who: alice}, 0},
		"absent":                        {scripted{find: authenticators.ErrNoCredential}, 401},
		"cookie of nothing any more":    {scripted{verify: authenticators.ErrNoCredential}, 401},
		"malformed":                     {scripted{find: rejected}, 401},
		"wrong":                         {scripted{verify: rejected}, 401},
		"store down":                    {scripted{verify: errors.New("connection refused")}, 503},
		"find fails":                    {scripted{find: errors.New("unforeseen")}, 503},
		"client went away":              {scripted{verify: context.Canceled}, 503},
		"deadline":                      {scripted{verify: context.DeadlineExceeded}, 503},
		"panic":                         {scripted{panics: true}, 503},
		"accepted nobody":               {scripted{}, 503},
		"accepted an empty id":          {scripted{who: &identity.Identity{}}, 503},
		"accepted an id with a newline": {scripted{who: &identity.Identity{ID: "a\nb"}}, 503},
		"both an identity and an error": {scripted{who: alice, verify: errors.New("x")}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request()
			p := policyOf(&c.guest)
			res, err := p.identify(r, stateOf(r))
			if c.status == 0 {
				require.NoError(t, err)
				assert.Equal(t, "alice", res.who.ID)
				return
			}
			require.Error(t, err)
			assert.Equal(t, c.status, p.answerTo(r, err).status)
		})
	}
}

func TestC22C61FirstThatIsNotAbsentDecides(t *testing.T) {
	t.Parallel()
	alice, bob := &identity.Identity{ID: "alice"}, &identity.Identity{ID: "bob"}
	absent := func() *scripted { return &scripted{find: authenticators.ErrNoCredential} }
	never := &scripted{who: bob}

	r := request()
	res, err := policyOf(absent(), &scripted{who: alice}, never).identify(r, stateOf(r))
	require.NoError(t, err)
	assert.Equal(t, "alice", res.who.ID)

	r = request()
	_, err = policyOf(absent(), &scripted{verify: &authenticators.RejectedError{}}, never).identify(r, stateOf(r))
	require.Error(t, err, "a wrong credential is never overlooked because another one might do")

	r = request()
	_, err = policyOf(&scripted{verify: errors.New("down")}, never).identify(r, stateOf(r))
	require.Error(t, err)
	assert.Zero(t, never.asked)
}

func TestC61OptionalLetsOnlyTheAbsentThrough(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guest   scripted
		through bool
	}{
		"absent":      {scripted{find: authenticators.ErrNoCredential}, true},
		"rejected":    {scripted{verify: &authenticators.RejectedError{}}, false},
		"unavailable": {scripted{verify: errors.New("down")}, false},
		"panic":       {scripted{panics: true}, false},
	} {
		r := request()
		p := policyOf(&c.guest)
		p.Optional = true
		res, err := p.identify(r, stateOf(r))
		assert.Equal(t, c.through, err == nil, name)
		if c.through {
			assert.Nil(t, res.who, name)
		}
	}
}

func TestLaterPolicyTakesOverWhatTheSameAuthenticatorFound(t *testing.T) {
	t.Parallel()
	guest := &scripted{who: &identity.Identity{ID: "alice"}}
	r := request()
	for range 2 {
		res, err := policyOf(guest).identify(r, stateOf(r))
		require.NoError(t, err)
		assert.Equal(t, "alice", res.who.ID)
	}
	assert.Equal(t, 1, guest.asked)
}

func TestC70C71Requirements(t *testing.T) {
	t.Parallel()
	who := &identity.Identity{ID: "alice", Groups: []string{"staff"}, Scopes: []string{"read"}, Claims: map[string]any{
		"tenant": map[string]any{"id": "t1", "plans": []any{"a", "b"}}, "admin": true, "text": "true",
	}}
	for rule, met := range map[*Requirement]bool{
		{User: []string{"bob", "alice"}}:                       true,
		{User: []string{"alic"}}:                               false,
		{Group: []string{"staff"}}:                             true,
		{Group: []string{"Staff", "sta"}}:                      false,
		{Scope: []string{"read"}}:                              true,
		{Scope: []string{"write"}}:                             false,
		{Claim: "tenant.id", Values: []string{"t2", "t1"}}:     true,
		{Claim: "tenant.plans", Values: []string{"b"}}:         true,
		{Claim: "tenant.plans", Values: []string{"c"}}:         false,
		{Claim: "tenant", Values: []string{"t1"}}:              false,
		{Claim: "admin", Values: []string{"true"}}:             true,
		{Claim: "admin", Values: []string{"false"}}:            false,
		{Claim: "missing", Values: []string{"true", "<nil>"}}:  false,
		{Claim: "tenant.missing.x", Values: []string{"<nil>"}}: false,
	} {
		require.NoError(t, rule.check())
		assert.Equal(t, met, rule.met(request(), who, time.Now()), rule.String())
	}
	for _, rule := range []Requirement{
		{}, {User: []string{""}}, {User: []string{"a"}, Group: []string{"b"}}, {Claim: "a"}, {Values: []string{"a"}}, {Claim: "a..b", Values: []string{"a"}},
	} {
		require.Error(t, rule.check(), "%+v", rule)
	}
}

func TestC70EachKeywordOfRequireKeepsSomebodyOut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		rule     string
		met, not identity.Identity
	}{
		"amr":        {"mfa", identity.Identity{Claims: map[string]any{"amr": []any{"mfa"}}}, identity.Identity{Claims: map[string]any{"amr": []any{"pwd"}}}},
		"claim":      {"tenant t1", identity.Identity{Claims: map[string]any{"tenant": "t1"}}, identity.Identity{Claims: map[string]any{"tenant": "t2"}}},
		"expression": {`auth_user().email == "a@example.com"`, identity.Identity{Email: "a@example.com"}, identity.Identity{Email: "b@example.com"}},
		"group":      {"admins", identity.Identity{Groups: []string{"admins"}}, identity.Identity{Groups: []string{"staff"}}},
		"max_age":    {"1h", identity.Identity{AuthTime: time.Now()}, identity.Identity{AuthTime: time.Now().Add(-2 * time.Hour)}},
		"method":     {"session", identity.Identity{Method: "session"}, identity.Identity{Method: "token"}},
		"scope":      {"write", identity.Identity{Scopes: []string{"write"}}, identity.Identity{Scopes: []string{"read"}}},
		"user":       {"root", identity.Identity{ID: "root"}, identity.Identity{ID: "alice"}},
	}
	assert.ElementsMatch(t, requirementKinds, slices.Collect(maps.Keys(cases)), "a keyword without a case")
	var fields []string
	for field := range reflect.TypeFor[Requirement]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "values" {
			fields = append(fields, name)
		}
	}
	assert.ElementsMatch(t, requirementKinds, fields, "what JSON can say a Caddyfile can too")
	for kind, c := range cases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			d := caddyfile.NewTestDispenser(kind + " " + c.rule)
			require.True(t, d.Next())
			rule, err := unmarshalRequirement(d)
			require.NoError(t, err)
			for passes, who := range map[bool]identity.Identity{true: c.met, false: c.not} {
				who.ID = cmp.Or(who.ID, "alice")
				s := withGuest(t, &lasting{scripted: scripted{who: &who}}, "a", &Policy{Require: []Requirement{rule}}, `{"authenticator":"session"}`, `{"authenticator":"jwt"}`)
				r := prepared(request())
				r.Header.Set("X-Key", "one")
				s.serve(r)
				assert.Equal(t, passes, s.passed, "%+v", who)
				assert.Equal(t, !passes, stateOf(r).judgement("code") != "", "%+v", who)
			}
		})
	}
}

// A rule that says nothing, or nothing that is known, is none that everybody meets.
func TestC70RulesWithoutSenseAreRefused(t *testing.T) {
	t.Parallel()
	read := func(line string) error {
		d := caddyfile.NewTestDispenser("edge_auth {\n token\n " + line + "\n}")
		d.Next()
		return new(Policy).unmarshalBody(d, nobodyKnown{})
	}
	require.NoError(t, read("require group admins"), "the baseline")
	lines := []string{ //nolint:prealloc // a table
		"require", "require {\n }", `require ""`, "require role admins", "require Group admins", "require groups admins", "require admins", "requires group admins",
		`require group ""`, `require user alice ""`, "require claim admin", "require max_age 0s", "require max_age -1h", `require expression ""`,
	}
	for _, kind := range requirementKinds {
		lines = append(lines, "require "+kind)
	}
	for _, line := range lines {
		require.Error(t, read(line), line)
	}
	for text, good := range map[string]bool{
		`{"group":["admins"]}`: true,
		`{}`:                   false, `{"group":[]}`: false, `{"group":null}`: false, `{"group":[""]}`: false, `{"role":["admins"]}`: false, `{"group":"admins"}`: false,
		`"group admins"`: false, `["group","admins"]`: false, `{"claim":"admin"}`: false, `{"values":["true"]}`: false, `{"max_age":0}`: false, `{"expression":""}`: false,
		`{"group":["admins"],"user":["root"]}`: false, `{"group":["admins"],"expression":"true"}`: false,
	} {
		var rule Requirement
		err := caddy.StrictUnmarshalJSON([]byte(text), &rule)
		if err == nil {
			err = rule.check()
		}
		assert.Equal(t, good, err == nil, text)
	}
}

func TestLoginURLLeadsWhereItSays(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "/login/", "https://login.example.com/?a=b"} {
		require.NoError(t, checkLoginURL(text), text)
	}
	for _, text := range []string{"login", "//evil.example/", "javascript:alert(1)", "https://"} {
		require.Error(t, checkLoginURL(text), text)
	}
}

// What is said of a caller is said of the one whom the policy found, also where Caddy's
// own authentication has set the same placeholders before.
func TestPlaceholdersNeverMeanWhomAnotherHandlerFound(t *testing.T) {
	t.Parallel()
	s := withGuest(t, alice(), "a", &Policy{
		IdentityHeader: []IdentityHeader{{Name: "X-User", Value: "{http.auth.user.id}"}},
		Require:        []Requirement{{Expression: `{http.auth.user.id} == "alice"`}},
	})
	r := prepared(request())
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Set("http.auth.user.id", "admin") // as basic_auth does
	r.Header.Set("X-Key", "one")
	s.serve(r)
	require.True(t, s.passed)
	assert.Equal(t, "alice", r.Header.Get("X-User"))
	said, _ := repl.GetString("http.auth.user.id")
	assert.Equal(t, "alice", said, "the access log reads it too")
}

func TestUsedPoliciesAreNeverWeakerTogether(t *testing.T) {
	t.Parallel()
	strict := &Policy{CheckUser: checkUserStrict, IdentityHeader: []IdentityHeader{{Name: "X-A", Value: "a"}}}
	for _, order := range [][]*Policy{{{CheckUser: checkUserOn}, strict}, {strict, {CheckUser: checkUserOn}}} {
		var p Policy
		for _, other := range order {
			p.use(other)
		}
		p.use(&Policy{IdentityHeader: strict.IdentityHeader})
		p.inherit()
		assert.Equal(t, checkUserStrict, p.CheckUser)
		assert.Len(t, p.IdentityHeader, 1, "the same header is taken over once")
	}
	own := Policy{CheckUser: checkUserOn}
	own.use(strict)
	own.use(&Policy{ReportOnly: true})
	own.inherit()
	assert.Equal(t, checkUserOn, own.CheckUser, "an own line goes before")
	assert.False(t, own.ReportOnly, "what is moved over opens nothing that uses it")
}

func TestWhoeverARuleKeepsOutIsNobodyToPlaceholders(t *testing.T) {
	t.Parallel()
	s := withGuest(t, alice(), "a", &Policy{Require: []Requirement{{User: []string{"root"}}}})
	r := prepared(request())
	r.Header.Set("X-Key", "one")
	s.serve(r)
	require.False(t, s.passed)
	said, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).GetString("http.auth.user.id")
	assert.Empty(t, said)
	assert.Equal(t, "alice", stateOf(r).judgement("user"), "who was refused is told apart")
}

func TestC63PolicyWithoutAuthenticatorsIsRefused(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, new(Policy).check(), "policy without authenticators")
	require.ErrorContains(t, (&Policy{Optional: true}).check(), "policy without authenticators")
	require.ErrorContains(t, (&Policy{ReportOnly: true}).check(), "policy without authenticators")
}
