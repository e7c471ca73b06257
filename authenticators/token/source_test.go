package token

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestSourcesAreAskedInTheirOrder(t *testing.T) {
	t.Parallel()
	s := newOAuthServer(t)
	s.says(`{"active":false}`)
	host := guesttest.NewHost()
	put := func(key, value string) {
		require.NoError(t, host.Others.Put(t.Context(), key, []byte(value), 0))
	}
	put("new:first-and-second-0001", `{"user":"new"}`)
	put("old:first-and-second-0001", `old`)
	put("old:second-only-0000000001", `{"owner":"old"}`)
	put("new:damaged-0000000000001", `{"user":`)
	put("old:damaged-0000000000001", `{"owner":"old"}`)
	host.Others.PutFields("hash:in-a-hash-000000000001", map[string][]byte{"uid": []byte("7"), "mail": []byte("seven@example.com"), "hidden": []byte("x")})
	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice"}))
	ours, _, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice"}, 0)
	require.NoError(t, err)

	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, `token {
		key "new:{token}"
		own
		key "old:{token}" {
			user owner
		}
		key "hash:{token}" {
			user uid
			claim email mail
		}
		introspect `+s.URL+` {
			client_id a
			client_secret b
		}
	}`))
	for token, want := range map[string]string{
		"first-and-second-0001":   "new",
		"second-only-0000000001":  "old",
		ours:                      "alice",
		"in-a-hash-000000000001":  "7",
		"damaged-0000000000001":   "", // what the first knows, no other may say anything about
		"nobody-knows-0000000001": "",
	} {
		before := s.asked.Load()
		who, err := guesttest.Ask(t, a, "Authorization: Token "+token)
		if want == "" {
			var rejected *authenticators.RejectedError
			require.ErrorAs(t, err, &rejected, token)
			assert.Equal(t, token == "nobody-knows-0000000001", s.asked.Load() > before, token)
			continue
		}
		require.NoError(t, err, token)
		assert.Equal(t, want, who.ID)
		assert.Equal(t, "token", who.Method)
		assert.Equal(t, before, s.asked.Load(), "those after it are not asked")
		if want == "7" {
			assert.Equal(t, "seven@example.com", who.Email)
			assert.NotContains(t, who.Claims, "hidden")
		}
	}
	down := errors.New("down")
	host.Others.Fail = down
	_, err = guesttest.Ask(t, a, "Authorization: Token "+ours)
	require.ErrorIs(t, err, down, "the first may have known it")
}

// lagging is a store in which users are slow to be read, and tokens fail as they are told to.
type lagging struct {
	store.Store

	tokens func() error
	ended  atomic.Bool // the look-up of a user
}

func (l *lagging) Get(ctx context.Context, key string) (store.Record, error) {
	if strings.HasPrefix(key, "user:") {
		time.Sleep(time.Second)
		defer l.ended.Store(true)
	} else if err := l.tokens(); err != nil {
		return store.Record{}, err
	}
	return l.Store.Get(ctx, key)
}

func TestLookUpAheadEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	for name, tokens := range map[string]func() error{
		"fails":  func() error { return errors.New("connection reset") },
		"panics": func() error { panic("connection reset") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lagging{Store: memstore.New(), tokens: func() error { return nil }}
				require.NoError(t, records.PutUser(t.Context(), l.Store, records.User{ID: "alice"}))
				secret, _, err := records.NewToken(t.Context(), l.Store, records.Token{User: "alice"}, 0)
				require.NoError(t, err)
				o := newOwn(l, "", zap.NewNop())
				_, err = o.find(t.Context(), authenticators.Secret(secret))
				require.NoError(t, err)
				synctest.Wait() // its use is noted by now
				l.ended.Store(false)
				l.tokens = tokens
				func() {
					defer func() { _ = recover() }()
					_, err = o.find(t.Context(), authenticators.Secret(secret))
					assert.ErrorContains(t, err, "connection reset")
				}()
				assert.True(t, l.ended.Load(), "it goes on when its request has ended")
			})
		})
	}
}

func TestS65T31TokenOfAUserWhoIsDisabledOrGone(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token"))
	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice", Groups: []string{"staff"}}))
	plain, _, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice"}, 0)
	require.NoError(t, err)
	none, _, err := records.NewToken(t.Context(), host.Records, records.Token{User: "alice", Groups: []string{}}, 0)
	require.NoError(t, err)
	ask := func(token string) ([]string, error) {
		who, err := guesttest.Ask(t, a, "Authorization: Token "+token)
		if err != nil {
			return nil, err
		}
		return who.Groups, nil
	}
	groups, err := ask(plain)
	require.NoError(t, err)
	assert.Equal(t, []string{"staff"}, groups)
	ctx, reads := store.Collecting(t.Context())
	_, err = a.Verify(ctx, authenticators.Credential{Value: authenticators.Secret(plain)})
	require.NoError(t, err)
	_, end, _ := reads.Known()
	assert.WithinDuration(t, time.Now().Add(records.UseEvery), end, 5*time.Second, "then its use is noted again")
	groups, err = ask(none)
	require.NoError(t, err)
	assert.Empty(t, groups, "it was made to stand for no group")

	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice", Groups: []string{"sales"}}))
	groups, err = ask(plain)
	require.NoError(t, err)
	assert.Equal(t, []string{"sales"}, groups, "those of today")

	var rejected *authenticators.RejectedError
	require.NoError(t, records.SetActive(t.Context(), host.Records, "alice", false))
	_, err = ask(plain)
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, "User inactive or deleted.", rejected.Detail)
	assert.Equal(t, authenticators.CodeUserInactive, rejected.Code)
	require.NoError(t, records.SetActive(t.Context(), host.Records, "alice", true))
	_, err = ask(plain)
	require.NoError(t, err)
	require.NoError(t, host.Records.Delete(t.Context(), "user:alice"))
	_, err = ask(plain)
	require.ErrorAs(t, err, &rejected)

	require.NoError(t, host.Records.Put(t.Context(), "user:alice", []byte(`{"active":"no"}`), 0))
	_, err = ask(plain)
	require.Error(t, err)
	require.NotErrorAs(t, err, new(*authenticators.RejectedError), "a record that can't be read says nothing")
}

// Whose a token was the last time is a guess, and its record decides.
func TestTokenThatIsAnothersByNow(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token"))
	const text = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
	digest, err := records.TokenDigest(text)
	require.NoError(t, err)
	give := func(user string, active bool) {
		t.Helper()
		require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: user, Active: &active}))
		_ = records.RevokeToken(t.Context(), host.Records, digest)
		_, why, err := records.Importing{Overwrite: true}.Token(t.Context(), host.Records, records.ImportedToken{Digest: digest, User: user})
		require.NoError(t, err)
		require.Empty(t, why)
	}
	ask := func() (string, error) {
		who, err := guesttest.Ask(t, a, "Authorization: Token "+text)
		if err != nil {
			return "", err
		}
		return who.ID, nil
	}
	give("alice", true)
	for range 3 {
		id, err := ask()
		require.NoError(t, err)
		assert.Equal(t, "alice", id)
	}
	give("bob", true)
	for range 2 {
		id, err := ask()
		require.NoError(t, err)
		assert.Equal(t, "bob", id)
	}
	give("carol", false)
	for range 2 {
		_, err = ask()
		require.ErrorAs(t, err, new(*authenticators.RejectedError), "that bob may come in says nothing of carol")
	}
	give("bob", true)
	require.NoError(t, records.SetActive(t.Context(), host.Records, "bob", false))
	for range 2 {
		_, err = ask()
		require.ErrorAs(t, err, new(*authenticators.RejectedError))
	}
}

func TestOwnersAreBounded(t *testing.T) {
	t.Parallel()
	o, s := new(owners), memstore.New()
	for n := range 2*maxOwners + 10 {
		var token [32]byte
		token[0], token[1], token[2] = byte(n), byte(n>>8), byte(n>>16)
		_, err := o.lookUp(t.Context(), s, token).user(t.Context(), "alice")
		require.ErrorIs(t, err, store.ErrNotFound)
	}
	assert.LessOrEqual(t, len(o.known), maxOwners)
}

func TestT32LastUseIsWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	secret, made, err := records.NewToken(t.Context(), s, records.Token{User: "alice"}, 0)
	require.NoError(t, err)
	token, err := records.FindToken(t.Context(), s, secret)
	require.NoError(t, err)
	u := newUses(s, zap.NewNop())
	shown := func() time.Time {
		token, err := records.ShowToken(t.Context(), s, made.ID)
		require.NoError(t, err)
		return token.LastUsed
	}
	assert.Zero(t, shown())
	for range 100 {
		u.note(token)
	}
	require.Eventually(t, func() bool { return !shown().IsZero() }, 5*time.Second, time.Millisecond)
	assert.WithinDuration(t, time.Now(), shown(), 5*time.Second)

	// Another gateway has written it within the minute: this one leaves it at that.
	first := shown()
	other := newUses(s, zap.NewNop())
	reads := s.Reads
	for range 100 {
		other.note(token)
	}
	require.Eventually(t, func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return !other.writing
	}, 5*time.Second, time.Millisecond)
	assert.Equal(t, reads+1, s.Reads)
	assert.Equal(t, first, shown())
}

func TestUsesThatCannotBeWrittenDoNotPileUp(t *testing.T) {
	t.Parallel()
	u := newUses(memstore.New(), zap.NewNop())
	u.writing = true // and never done, as with a store that hangs
	for i := range 3 * maxNoted {
		u.note(records.Token{ID: string(rune(i)), User: "alice"})
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	assert.LessOrEqual(t, len(u.noted), maxNoted)
	assert.LessOrEqual(t, len(u.waiting), maxWaiting)
}

func TestSourcesWithIDsInOneSpaceAreWarnedOf(t *testing.T) {
	t.Parallel()
	for config, warns := range map[string]bool{
		"own":                                     false,
		"key a:{token}\n key b:{token}":           false,
		"own\n key a:{token}":                     true,
		"own\n key a:{token}\n id_prefix x:":      true,
		"own\n key a:{token} {\n id_prefix a:\n}": false,
	} {
		core, logs := observer.New(zap.WarnLevel)
		a := new(Authenticator)
		require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "token {\n "+config+"\n}"))
		a.Warn(zap.New(core))
		assert.Equal(t, warns, logs.Len() == 1, config)
	}
}

func TestTwoKindsOfOpaqueTokensDoNotShareAScheme(t *testing.T) {
	t.Parallel()
	a, b := new(Authenticator), new(Authenticator)
	require.ErrorContains(t, a.ShareScheme("authorization token", authenticators.Sharing{a, b}), "put the lines of both into one")
	require.NoError(t, a.ShareScheme("authorization bearer", authenticators.Sharing{a, takesJWTs{}}))
}
