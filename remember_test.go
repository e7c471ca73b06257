package edgeauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// lasting is a scripted authenticator whose findings may be kept.
type lasting struct {
	scripted

	holds bool
}

func (l *lasting) Holds(uint64) bool { return l.holds }

func (l *lasting) Find(r *http.Request) (authenticators.Credential, error) {
	_, _ = l.scripted.Find(r)
	return authenticators.Credential{Name: "X-Key", Value: authenticators.Secret(r.Header.Get("X-Key"))}, l.find
}

// asks counts how often requests with these keys have their credential verified.
func (s *site) asks(t *testing.T, guest *lasting, keys ...string) int {
	t.Helper()
	before := guest.verified
	for _, key := range keys {
		s.ask("X-Key: " + key)
		require.True(t, s.passed, key)
	}
	return guest.verified - before
}

// withGuest puts an authenticator into a policy that has none that is scripted: it
// takes the place of own tokens, and of whatever else rules are about.
func withGuest(t *testing.T, guest *lasting, config string, p *Policy, others ...string) *site {
	t.Helper()
	s := newSite(t, p, append(others, `{"authenticator":"token"}`)...)
	p.members = []member{{Authenticator: guest, name: "scripted", config: config, scope: newScope(config, p.CheckUser, s.app.storeKey)}}
	p.prepareMetrics()
	return s
}

func alice() *lasting {
	return &lasting{scripted: scripted{who: &identity.Identity{ID: "alice", Groups: []string{"staff"}}}, holds: true}
}

func TestCredentialSeenBeforeIsNotVerifiedAgain(t *testing.T) {
	t.Parallel()
	guest := alice()
	s := withGuest(t, guest, "a", new(Policy))
	assert.Equal(t, 2, s.asks(t, guest, "one", "two"))
	assert.Equal(t, 0, s.asks(t, guest, "one", "two", "one"))
	r := s.ask("X-Key: one")
	assert.Equal(t, []string{"alice"}, r.Header["Remote-User"])
	assert.Equal(t, []string{"staff"}, r.Header["Remote-Groups"])

	guest.holds = false
	assert.Equal(t, 2, s.asks(t, guest, "one", "one"), "what it rested on has gone")
	guest.holds = true
	s.app.cache.Clear()
	assert.Equal(t, 1, s.asks(t, guest, "one", "one"))
	s.app.maxAge = 0
	assert.Equal(t, 2, s.asks(t, guest, "three", "three"), "it is old at once")
}

func TestX05FindingEndsWithTheCredential(t *testing.T) {
	t.Parallel()
	guest := alice()
	guest.who.Expires = time.Now().Add(50 * time.Millisecond)
	s := withGuest(t, guest, "a", new(Policy))
	assert.Equal(t, 1, s.asks(t, guest, "one"))
	require.Eventually(t, func() bool { return s.asks(t, guest, "one") == 1 }, 5*time.Second, time.Millisecond)
	assert.False(t, time.Now().Before(guest.who.Expires))
}

func TestX07WhatMayNotBeKeptIsNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guest scripted
	}{
		"rejected":    {scripted{verify: &authenticators.RejectedError{}}},
		"unavailable": {scripted{verify: errors.New("down")}},
		"absent":      {scripted{verify: authenticators.ErrNoCredential}},
		"nobody":      {scripted{who: new(identity.Identity)}},
	} {
		guest := &lasting{scripted: c.guest, holds: true}
		s := withGuest(t, guest, "a", new(Policy))
		for range 3 {
			s.ask("X-Key: one")
			assert.False(t, s.passed, name)
		}
		assert.Equal(t, 3, guest.verified, name)
	}
	strange := alice()
	strange.who.Claims = map[string]any{"x": struct{}{}}
	s := withGuest(t, strange, "a", new(Policy))
	assert.Equal(t, 2, s.asks(t, strange, "one", "one"), "claims that can't be packed are read each time")

	plain := &scripted{who: &identity.Identity{ID: "alice"}}
	s = withGuest(t, alice(), "a", new(Policy))
	s.Policy.members[0].Authenticator = plain
	s.ask("X-Key: one")
	s.ask("X-Key: one")
	assert.Equal(t, 2, plain.verified, "one that does not say that its findings last")
}

// What one config says of a credential is nothing to another.
func TestX10X13FindingsAreKeptApart(t *testing.T) {
	t.Parallel()
	first, second, strict := alice(), alice(), alice()
	second.who = &identity.Identity{ID: "mallory"}
	a := withGuest(t, first, "a", new(Policy))
	b := withGuest(t, second, "b", new(Policy))
	c := withGuest(t, strict, "a", &Policy{CheckUser: checkUserStrict})
	b.app.cache, c.app.cache = a.app.cache, a.app.cache
	require.Equal(t, 1, a.asks(t, first, "one"))
	assert.Equal(t, []string{"mallory"}, b.ask("X-Key: one").Header["Remote-User"])
	assert.Equal(t, []string{"alice"}, a.ask("X-Key: one").Header["Remote-User"])
	c.ask("X-Key: one")
	assert.False(t, c.passed, "strict: there is no record of alice")

	other := alice()
	e := newSite(t, new(Policy), `{"authenticator":"token"}`)
	e.Policy.members = []member{{Authenticator: other, name: "scripted", config: "a", scope: newScope("a", "", "another store")}}
	e.Policy.prepareMetrics()
	e.app.cache = a.app.cache
	assert.Equal(t, 1, e.asks(t, other, "one"), "another store may say something else")

	// A reload makes a policy of the same config anew: it goes on with what was found.
	again := alice()
	d := withGuest(t, again, "a", new(Policy))
	d.app.cache = a.app.cache
	assert.Zero(t, d.asks(t, again, "one"))
}

func TestX04UserRecordIsPartOfWhatAFindingRestsOn(t *testing.T) {
	t.Parallel()
	guest := alice()
	s := withGuest(t, guest, "a", &Policy{CheckUser: checkUserOn})
	require.Equal(t, 1, s.asks(t, guest, "one", "one", "one"))
	ctx := t.Context()
	require.NoError(t, records.PutUser(ctx, s.app.store, records.User{ID: "alice", Groups: []string{"sales"}}))
	assert.Equal(t, []string{"sales"}, s.ask("X-Key: one").Header["Remote-Groups"], "there was no record before")
	assert.Equal(t, []string{"sales"}, s.ask("X-Key: one").Header["Remote-Groups"])
	require.NoError(t, records.RevokeBefore(ctx, s.app.store, "alice", time.Now()))
	for range 2 {
		s.ask("X-Key: one")
		assert.False(t, s.passed, "all logins so far were revoked")
	}
}

func TestX09X14RevocationIsSeenByTheNextRequest(t *testing.T) {
	t.Parallel()
	for name, c := range credentials(t) {
		header := strings.Split(c.header, "=")
		r := c.site.ask(c.header)
		require.True(t, c.site.passed, name)
		require.Equal(t, []string{"alice"}, r.Header["Remote-User"])
		c.site.ask(c.header)
		require.True(t, c.site.passed, name)
		ctx := t.Context()
		switch {
		case strings.HasPrefix(name, "session"):
			require.NoError(t, records.EndSession(ctx, c.site.app.store, header[len(header)-1]))
		case name == "token":
			tokens, err := records.ListTokens(ctx, c.site.app.store, records.TokenFilter{User: "alice"})
			require.NoError(t, err)
			require.NoError(t, records.RevokeToken(ctx, c.site.app.store, tokens[0].ID))
		case name == "jwt":
			c.site.app.ring.Set(newSigner(t))
		}
		c.site.ask(c.header)
		assert.False(t, c.site.passed, name)
	}
}

// overtaken is a store whose news of a record comes while that is on its way.
type overtaken struct {
	store.Teller

	reads int
}

func (o *overtaken) Get(ctx context.Context, key string) (store.Record, error) {
	o.reads++
	record, err := o.Teller.Get(ctx, key)
	o.Changes().Changed(o.Name(key))
	return record, err
}

func TestX02ReadThatNewsHasOvertakenIsNotKept(t *testing.T) {
	t.Parallel()
	c := credentials(t)["session"]
	slow := &overtaken{Teller: c.site.app.store.teller}
	c.site.app.store.Handle, c.site.app.store.teller = slow, slow
	for n := range 3 {
		c.site.ask(c.header)
		require.True(t, c.site.passed)
		assert.Equal(t, n+1, slow.reads)
	}
}

// reading reads more than its credential's record.
type reading struct {
	*lasting

	read func(context.Context)
}

func (r *reading) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	r.read(ctx)
	return r.lasting.Verify(ctx, c)
}

func TestWhatRestsOnMoreThanIsToldIsNotKept(t *testing.T) {
	t.Parallel()
	guest := alice()
	s := withGuest(t, guest, "a", new(Policy))
	s.Policy.members[0].Authenticator = &reading{guest, func(ctx context.Context) { _, _ = s.app.store.List(ctx, "users") }}
	assert.Equal(t, 2, s.asks(t, guest, "one", "one"), "nobody tells of lists")
	s.app.store.teller = nil
	s.Policy.members[0].Authenticator = &reading{guest, func(ctx context.Context) { _, _ = s.app.store.Get(ctx, "k") }}
	assert.Equal(t, 2, s.asks(t, guest, "one", "one"), "this store tells of nothing")
}

func TestX05FindingEndsWithTheRecordsItRestsOn(t *testing.T) {
	t.Parallel()
	guest := alice()
	s := withGuest(t, guest, "a", new(Policy))
	require.NoError(t, s.app.store.Put(t.Context(), "k", []byte("v"), 100*time.Millisecond))
	s.Policy.members[0].Authenticator = &reading{guest, func(ctx context.Context) { _, _ = s.app.store.Get(ctx, "k") }}
	ends := time.Now().Add(100 * time.Millisecond)
	assert.Equal(t, 1, s.asks(t, guest, "one"))
	require.Eventually(t, func() bool { return s.asks(t, guest, "one") == 1 }, 2*time.Second, time.Millisecond)
	assert.WithinDuration(t, ends, time.Now(), time.Second)
}

// Where two parts end is part of the key, and all of the key counts.
func TestX12X21KeysOfPartsAreApart(t *testing.T) {
	t.Parallel()
	seen := make(map[scope]string)
	for _, parts := range [][3]string{
		{"ab", "c", ""}, {"a", "bc", ""}, {"abc", "", ""}, {"", "abc", ""}, {"", "", "abc"}, {"a", "b", "c"}, {`a" "b`, "c", ""}, {"a b", "c", ""}, {`a\"`, "", ""}, {"a\x00b", "", ""}, {"a", "\x00b", ""},
	} {
		s := newScope(parts[0], parts[1], parts[2])
		require.Empty(t, seen[s], "%q", parts)
		seen[s] = strings.Join(parts[:], "|")
	}
	one, two := newScope("a", "", ""), newScope("b", "", "")
	assert.NotEqual(t, one.of("x"), two.of("x"))
	assert.NotEqual(t, one.of("x"), one.of("x "))
	long := authenticators.Secret(strings.Repeat("x", 5000))
	assert.NotEqual(t, one.of(long), one.of(long+"y"), "longer than what fits on the stack")
	key := one.of("x")
	assert.NotEqual(t, refusalKey(key, authenticators.InHeader), refusalKey(key, authenticators.InCookie))
}
