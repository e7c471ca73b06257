package issuer

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/faultstore"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// failing puts a store below an issuer that fails where it is told to.
func failing(i *testIssuer) *faultstore.Store {
	s := &faultstore.Store{Store: i.store}
	i.store, i.guard.store = s, s
	i.users = ofStore{s, i.passwords}
	return s
}

// faults calls a test for each way in which each call of the store fails that a
// request makes, until the request makes no more.
func faults(t *testing.T, test func(t *testing.T, fault faultstore.Fault, nth int) (calls int)) {
	t.Helper()
	for name, fault := range map[string]faultstore.Fault{"lost": faultstore.Lost, "crashed after": faultstore.Crashed, "panics": faultstore.Panics} {
		for nth := 1; ; nth++ {
			calls := 0
			t.Run(fmt.Sprintf("%s %d", name, nth), func(t *testing.T) { calls = test(t, fault, nth) })
			if calls < nth {
				require.Greater(t, nth, 2, "no call failed")
				break
			}
		}
	}
}

// Wherever the gateway dies between what it reads and what it writes, the client
// that asks again gets the one successor that there is, and the token before is dead
// in anybody else's hands.
func TestR21R22CrashAtAnyStepOfARefreshLeavesOneSuccessor(t *testing.T) { //nolint:tparallel // the steps share a store
	t.Parallel()
	i, pass := rotating(t)
	s := failing(i)
	faults(t, func(t *testing.T, fault faultstore.Fault, nth int) int {
		first := obtained(t, i)
		pass(time.Second)
		s.Fail(nth, fault, false)
		w := i.post("/api/token/refresh/", `{"refresh":"`+first["refresh"]+`"}`, "User-Agent: owner")
		calls := s.Heal()
		if calls < nth {
			assert.Equal(t, http.StatusOK, w.Code, w.Body)
		} else {
			assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
			assert.NotEmpty(t, w.Header().Get("Retry-After"))
			assert.NotContains(t, w.Body.String(), "eyJ")
		}
		second := use(t, i, first["refresh"], "User-Agent: owner") // never both dead
		assert.Equal(t, second, use(t, i, first["refresh"], "User-Agent: owner"), "one successor")
		third := use(t, i, second["refresh"], "User-Agent: owner")
		logins, err := records.ListLogins(t.Context(), i.store, "alice")
		require.NoError(t, err)
		require.Len(t, logins, 1)
		refuses(t, i, first["refresh"], "Token is blacklisted") // never two alive
		refuses(t, i, third["refresh"], "Token is blacklisted")
		return calls
	})
	for _, entry := range i.logs.All() {
		assert.NotContains(t, fmt.Sprint(entry.ContextMap()), "eyJ", entry.Message)
	}
}

// What was not ended is never said to be: neither a login, nor a session.
func TestR31L21NothingIsSaidToHaveEndedThatMayNotHave(t *testing.T) { //nolint:tparallel // the steps share a store
	t.Parallel()
	i := browsed(t, "")
	s := failing(i)
	t.Run("blacklist", func(t *testing.T) {
		faults(t, func(t *testing.T, fault faultstore.Fault, nth int) int {
			pair := obtained(t, i)
			s.Fail(nth, fault, false)
			w := i.post("/api/token/blacklist/", `{"refresh":"`+pair["refresh"]+`"}`)
			calls := s.Heal()
			if calls >= nth {
				assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
				i.post("/api/token/blacklist/", `{"refresh":"`+pair["refresh"]+`"}`) // again
			}
			refuses(t, i, pair["refresh"], "Token is blacklisted")
			return calls
		})
	})
	for name, form := range map[string]url.Values{"logout": nil, "logout everywhere": {"everywhere": {"1"}}} {
		t.Run(name, func(t *testing.T) {
			faults(t, func(t *testing.T, fault faultstore.Fault, nth int) int {
				cookie := loggedIn(t, i)
				s.Fail(nth, fault, false)
				w := i.submit("/logout/", form, cookie)
				calls := s.Heal()
				if calls >= nth {
					assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
					assert.Empty(t, w.Header().Values("Set-Cookie"), "the browser still knows what to end")
					i.submit("/logout/", form, cookie)
				}
				assert.Equal(t, http.StatusSeeOther, i.page("/account/", cookie).Code)
				return calls
			})
		})
	}
}

// A login that could not be counted, checked or kept gives nothing.
func TestE01E02L21LoginsGiveNothingWhileTheStoreFails(t *testing.T) { //nolint:tparallel // the steps share a store
	t.Parallel()
	i := configured(t, "edge_auth_issuer {\n jwt\n token\n session\n login_rate 10000 1m\n}", djangoKey)
	s := failing(i)
	for path, body := range map[string]string{"/api/token/": credentials, "/api-token-auth/": credentials, "/login/": credentials} {
		t.Run(path, func(t *testing.T) {
			faults(t, func(t *testing.T, fault faultstore.Fault, nth int) int {
				s.Fail(nth, fault, false)
				w := i.post(path, body)
				calls := s.Heal()
				if w.Code != http.StatusOK { // what only notes when it was may fail
					assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
					assert.JSONEq(t, `{"detail":"Service temporarily unavailable, try again later.","code":"service_unavailable"}`, w.Body.String())
					assert.Empty(t, w.Header().Values("Set-Cookie"))
				}
				return calls
			})
		})
	}
	for _, entry := range i.logs.All() {
		assert.NotContains(t, fmt.Sprint(entry.ContextMap()), "wonderland", entry.Message)
	}
}

// A failover that loses the last write brings the token before back to life. Whoever
// then comes with the one that was lost is told to log in anew, and so is a thief.
func TestR23LostWriteIsNoticedAtTheNextUse(t *testing.T) {
	t.Parallel()
	i, _ := rotating(t)
	first := obtained(t, i)
	keys, err := i.store.List(t.Context(), "of:alice")
	require.NoError(t, err)
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, "login:") })
	require.Len(t, keys, 1)
	before, err := i.store.Get(t.Context(), keys[0])
	require.NoError(t, err)
	second := use(t, i, first["refresh"])
	require.NoError(t, i.store.Put(t.Context(), keys[0], before.Value, before.TTL))
	stolen := use(t, i, first["refresh"], "User-Agent: thief") // it lives again
	refuses(t, i, second["refresh"], "Token is blacklisted")
	refuses(t, i, stolen["refresh"], "Token is blacklisted")
	assert.Equal(t, 1, i.logs.FilterMessage("token reused").Len())
}
