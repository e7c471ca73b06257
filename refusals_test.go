package edgeauth

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// asking looks its credential up in the store before it answers as it is told.
type asking struct {
	*lasting

	store store.Store
}

func (a *asking) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	if _, err := a.store.Get(ctx, c.Value.Reveal()); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return a.lasting.Verify(ctx, c)
}

// refusing is a site whose only authenticator refuses all credentials.
func refusing(t *testing.T, err error) (*site, *lasting) {
	t.Helper()
	guest := &lasting{scripted: scripted{verify: err}, holds: true}
	s := withGuest(t, guest, "a", new(Policy))
	s.Policy.members[0].Authenticator = &asking{guest, s.app.store}
	return s, guest
}

func TestX07RefusalIsKeptUntilTheRecordAppears(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"absent": authenticators.ErrNoCredential,
		"rejected": &authenticators.RejectedError{
			Code: "c", Detail: "d", Messages: []authenticators.Message{{TokenClass: "x"}}, Challenge: "Token error", Cause: errors.New("why"),
		},
	} {
		s, guest := refusing(t, refusal)
		s.ask("X-Key: one")
		first := s.Policy.members[0]
		_, _, again := s.Policy.verify(t.Context(), &first, authenticators.Credential{Value: "one"}, new(state))
		assert.Equal(t, refusal, again, name)
		s.ask("X-Key: one")
		assert.False(t, s.passed, name)
		assert.Equal(t, 1, guest.verified, name)
		s.ask("X-Key: two")
		assert.Equal(t, 2, guest.verified, "another credential")

		_, _, _ = s.Policy.verify(t.Context(), &first, authenticators.Credential{Value: "one", In: authenticators.InCookie}, new(state))
		assert.Equal(t, 3, guest.verified, "a cookie is judged otherwise than a header")

		require.NoError(t, s.app.store.Put(t.Context(), "one", []byte("x"), 0))
		guest.verify, guest.who = nil, &identity.Identity{ID: "alice"}
		s.ask("X-Key: one")
		assert.True(t, s.passed, "it is known at once")
		s.ask("X-Key: two")
		assert.False(t, s.passed, "nothing has happened to that one")

		s.app.refusals.Clear()
		guest.verify = errors.New("down")
		before := guest.verified
		s.ask("X-Key: three")
		s.ask("X-Key: three")
		assert.Equal(t, before+2, guest.verified, "what could not be found out is no refusal")
	}
}

func TestRefusalIsKeptBriefly(t *testing.T) {
	t.Parallel()
	s, guest := refusing(t, authenticators.ErrNoCredential)
	s.app.maxAge = 0
	s.ask("X-Key: one")
	s.ask("X-Key: one")
	assert.Equal(t, 2, guest.verified)
	assert.LessOrEqual(t, maxRefusalAge, 10*time.Second)
}

func TestFloodOfRefusalsIsBoundedAndPushesNobodyOut(t *testing.T) {
	t.Parallel()
	s, guest := refusing(t, authenticators.ErrNoCredential)
	s.app.refusals = cache.New(1000)
	s.app.cache = cache.New(1000)
	key := s.Policy.members[0].scope.of("good")
	s.app.cache.Put(key, cache.Entry{Value: "x"}, nil, store.Now()+time.Minute, time.Time{})
	member := s.Policy.members[0]
	for n := range 20_000 {
		_, _, err := s.Policy.verify(t.Context(), &member, authenticators.Credential{Value: authenticators.Secret(rune(n)) + "unknown"}, new(state))
		require.ErrorIs(t, err, authenticators.ErrNoCredential)
	}
	assert.Equal(t, 20_000, guest.verified)
	_, ok := s.app.cache.Get(key, time.Now())
	assert.True(t, ok)
	assert.LessOrEqual(t, s.app.refusals.Stats().Bytes, 2*16*(16<<10)+1000*cache.BytesPerEntry)
}

// X08: they have a budget of their own, in bytes.
func TestX08MillionsOfWrongCredentialsPushNobodyOut(t *testing.T) {
	t.Parallel()
	guest := alice()
	s := withGuest(t, guest, "a", new(Policy))
	require.Equal(t, 1, s.asks(t, guest, "good"))
	p := s.Policy
	ctx, reads := store.Collecting(t.Context())
	_, err := s.app.store.Get(ctx, "nothing")
	require.ErrorIs(t, err, store.ErrNotFound)
	wrong := &authenticators.RejectedError{Code: "token_not_valid", Detail: "Invalid token.", Cause: errors.New("unknown token")}
	for i := range 200_000 {
		key := p.members[0].scope.of(authenticators.Secret(strconv.Itoa(i)))
		p.rememberRefusal(refusalKey(key, authenticators.InHeader), wrong, reads, store.Forever)
	}
	stats := s.app.refusals.Stats()
	assert.LessOrEqual(t, stats.Bytes, maxRefusals*cache.BytesPerEntry)
	assert.Less(t, stats.Entries, 100_000)
	assert.Equal(t, 0, s.asks(t, guest, "good"), "still known")
}

// urgent notes whether it was asked for somebody who goes first.
type urgent struct {
	*lasting

	first []bool
}

func (u *urgent) Verify(ctx context.Context, c authenticators.Credential) (*identity.Identity, error) {
	u.first = append(u.first, queue.IsFirst(ctx))
	return u.lasting.Verify(ctx, c)
}

func TestWhoWasLetInLatelyGoesBeforeStrangers(t *testing.T) {
	t.Parallel()
	guest := &urgent{lasting: alice()}
	s := withGuest(t, guest.lasting, "a", new(Policy))
	s.Policy.members[0].Authenticator = guest
	s.ask("X-Key: one")
	guest.holds = false
	s.ask("X-Key: one")
	s.ask("X-Key: two")
	assert.Equal(t, []bool{false, true, false}, guest.first)
}
