package token

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// Find refuses it, so that nothing is computed from it, and nobody is asked.
func TestC10TokenLongerThanAnyIsRefusedBeforeItIsHashed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config  string
		longest int
	}{
		"C10 own":           {"token", maxToken},
		"C10 foreign":       {"token {\n key token:{sha256}\n}", maxToken},
		"C10 introspection": {"token {\n introspect http://127.0.0.1:1/ {\n client_id a\n client_secret b\n}\n}", maxIntrospected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			a := new(Authenticator)
			require.NoError(t, guesttest.Load(t, host, a, c.config))
			find := func(size int) error {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
				r.Header.Set("Authorization", "Token "+strings.Repeat("a", size))
				_, err := a.Find(r)
				return err
			}
			require.NoError(t, find(c.longest))
			for _, size := range []int{c.longest + 1, 15 << 10, 64 << 10, 1 << 20} {
				var rejected *authenticators.RejectedError
				require.ErrorAs(t, find(size), &rejected)
				assert.Equal(t, authenticators.CodeNotValid, rejected.Code)
			}
			assert.Zero(t, host.Records.Reads+host.Others.Reads)
		})
	}
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, guesttest.NewHost(), a, "token {\n cookie tok\n}"))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "tok="+strings.Repeat("a", maxToken+1))
	_, err := a.Find(r)
	require.ErrorIs(t, err, authenticators.ErrNoCredential)
}

// Who knows the beginning of a token learns nothing by trying.
func TestT12RightBeginningOfATokenCostsAndSaysWhatAWrongOneDoes(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	require.NoError(t, records.PutUser(t.Context(), host.Records, records.User{ID: "alice"}))
	a := new(Authenticator)
	require.NoError(t, guesttest.Load(t, host, a, "token"))
	imported := "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
	_, _, err := records.Importing{}.Token(t.Context(), host.Records, records.ImportedToken{Digest: authenticators.Secret(imported).Digest(), User: "alice"})
	require.NoError(t, err)
	_, err = guesttest.Ask(t, a, "Authorization: Token "+imported)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // its use is noted meanwhile, which reads too
		tokens, err := records.ListTokens(t.Context(), host.Records, records.TokenFilter{User: "alice"})
		return err == nil && !tokens[0].LastUsed.IsZero()
	}, 10*time.Second, time.Millisecond)
	answers := make(map[string]int)
	for n := range len(imported) {
		guess := imported[:n] + strings.Map(func(c rune) rune {
			if c == '0' {
				return '1'
			}
			return '0'
		}, imported[n:])
		before := host.Records.ReadsSoFar()
		_, err := guesttest.Ask(t, a, "Authorization: Token "+guess)
		var rejected *authenticators.RejectedError
		require.ErrorAs(t, err, &rejected)
		answers[rejected.Code+rejected.Detail+rejected.Error()]++
		require.Equal(t, 1, host.Records.ReadsSoFar()-before, "one look-up each, however much of it is right: %d", n)
	}
	assert.Len(t, answers, 1)
}

// D38: more tokens than a server can be asked about.
func TestD38QuestionsBeyondTheBoundAreTurnedAwayAndWhoWasLetInLatelyIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := newOAuthServer(t)
	release := make(chan struct{})
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"active":true,"sub":"alice"}`))
	})
	a := s.introspecting(t, "timeout 30s")
	i := a.lookUps[0].(*introspector)
	var all sync.WaitGroup
	ask := func(n int) {
		all.Go(func() { _, _ = i.find(t.Context(), authenticators.Secret("bad"+strconv.Itoa(n))) })
	}
	for n := range maxAsking {
		ask(n)
	}
	require.Eventually(t, func() bool { return s.asked.Load() == maxAsking }, 20*time.Second, time.Millisecond)
	known := make(chan error, 1)
	go func() {
		_, err := i.find(queue.First(t.Context()), "known")
		known <- err
	}()
	require.Eventually(t, func() bool { return i.slots.Waiting() == 1 }, 20*time.Second, time.Millisecond)
	turned := make(chan error, 2*maxToAsk)
	for n := range 2 * maxToAsk {
		go func() {
			_, err := i.find(t.Context(), authenticators.Secret("worse"+strconv.Itoa(n)))
			turned <- err
		}()
	}
	for range maxToAsk + 1 { // all that don't fit, while nobody is answered
		require.ErrorContains(t, <-turned, "too many")
	}
	assert.Equal(t, maxToAsk, i.slots.Waiting())
	assert.EqualValues(t, maxAsking, s.asked.Load())
	release <- struct{}{} // one is answered, and the next asked about
	release <- struct{}{}
	close(release)
	require.NoError(t, <-known)
	all.Wait()
}

func TestX24QuestionThatPanicsIsUnavailableForAllWhoWait(t *testing.T) {
	t.Parallel()
	s := newOAuthServer(t)
	s.says(`{"active":true,"sub":"alice"}`)
	a := s.introspecting(t, "")
	i := a.lookUps[0].(*introspector)
	mapping := i.mapping
	i.mapping = nil
	_, err := guesttest.Ask(t, a, opaque)
	require.ErrorContains(t, err, "panic")
	require.NotErrorIs(t, err, authenticators.ErrNoCredential)
	i.mapping = mapping
	_, err = guesttest.Ask(t, a, opaque)
	require.NoError(t, err, "nothing is left taken")
}
