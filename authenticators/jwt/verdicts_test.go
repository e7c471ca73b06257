package jwt

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/big"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// remembers reports whether a has a verdict on a token.
func remembers(a *Authenticator, token string) bool {
	return a.verdicts.get(verdictKey{sha256.Sum256([]byte(token)), a.scope}) != nil
}

func TestTokenSeenBeforeIsOnlyLookedUp(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	good := token("HS256", nil)
	first, err := ask(t, a, good)
	require.NoError(t, err)
	again, err := ask(t, a, good)
	require.NoError(t, err)
	assert.Same(t, first, again)
}

func TestForgeriesAreNotRemembered(t *testing.T) {
	t.Parallel()
	a := withSecret(t)
	for _, bad := range []string{
		token("HS256", object{"exp": now.Unix() - 1}), token("ES256", nil), tokenOf(`{}`), "a.b.c", token("HS256", nil)[:60] + "x",
	} {
		_, err := ask(t, a, bad)
		require.Error(t, err)
		assert.False(t, remembers(a, bad))
	}
}

func TestRememberedTokenEndsWithItsTime(t *testing.T) {
	t.Parallel()
	a := withSecret(t, "leeway 2s")
	good := token("HS256", nil)
	_, err := ask(t, a, good)
	require.NoError(t, err)
	for after, ok := range map[time.Duration]bool{301 * time.Second: true, 302 * time.Second: false, time.Hour: false} {
		a.now = func() time.Time { return now.Add(after) }
		_, err = ask(t, a, good)
		assert.Equal(t, ok, err == nil, "%v: %v", after, err)
	}
}

func TestRememberedTokenEndsWithItsKey(t *testing.T) {
	t.Parallel()
	file := keyFile(t, "ES256")
	a := ready(t, "jwt {\n key ES256 "+file+"\n}")
	good := token("ES256", nil)
	_, err := ask(t, a, good)
	require.NoError(t, err)
	require.True(t, remembers(a, good))
	require.NoError(t, os.WriteFile(file, publicPEM(otherKey().Public()), 0o600))
	require.Eventually(t, func() bool {
		_, err := ask(t, a, good)
		return err != nil
	}, 10*time.Second, 10*time.Millisecond, "the file is looked at once a second")
	_, err = ask(t, a, good)
	refusal(t, err)
}

// Two policies may say different things of one token, also by their defaults.
func TestPoliciesDoNotShareVerdictsThatTheirOptionsWouldNot(t *testing.T) {
	t.Parallel()
	host := &sharingHost{Host: guesttest.NewHost(), all: newVerdicts(1 << 20)}
	at := func(options string) *Authenticator {
		a := new(Authenticator)
		require.NoError(t, guesttest.Load(t, host, a, "jwt {\n key HS256 "+secret+"\n "+options+"\n}"))
		a.now = func() time.Time { return now }
		return a
	}
	loose := at("")
	good := token("HS256", object{"groups": []string{"staff"}, "roles": []string{"admin"}, "user_id": 7, "jti": "a", "token_type": "access"})
	who, err := ask(t, loose, good)
	require.NoError(t, err)
	assert.Equal(t, []string{"staff"}, who.Groups)
	for options, refused := range map[string]bool{
		"audience web":                         true,
		"issuer https://other.example":         true,
		"typ at+jwt":                           true,
		"require_claim scope":                  true,
		"max_lifetime 10s":                     true,
		"max_size 256B":                        true,
		"claim groups roles":                   false,
		"preset simplejwt":                     false,
		"id_prefix idp:":                       false,
		"user user_id":                         false,
		"preset simplejwt\n jti_claim tid":     true,
		"key HS256 " + strings.ToUpper(secret): false,
	} {
		a := at(options)
		got, err := ask(t, a, good)
		assert.Equal(t, refused, err != nil, "%s: %v", options, err)
		if err == nil {
			assert.NotSame(t, who, got, options)
		}
	}
	same := at("")
	assert.Equal(t, loose.scope, same.scope, "after a reload of the same config")
}

// sharingHost is an app whose guests share their verdicts.
type sharingHost struct {
	*guesttest.Host

	all *verdicts
}

func (h *sharingHost) Pooled(string, func() (caddy.Destructor, error)) (caddy.Destructor, error) {
	return h.all, nil
}

func TestBothSpellingsOfAnECDSASignatureAreRemembered(t *testing.T) {
	t.Parallel()
	a := ready(t, "jwt {\n key ES256 "+keyFile(t, "ES256")+"\n}")
	good := token("ES256", nil)
	other := otherSpelling(t, good)
	for range 2 {
		for _, token := range []string{good, other} {
			_, err := ask(t, a, token)
			require.NoError(t, err)
		}
	}
}

// otherSpelling replaces s of an ES256 signature by n - s.
func otherSpelling(t *testing.T, token string) string {
	t.Helper()
	parts, err := split(token)
	require.NoError(t, err)
	s := new(big.Int).SetBytes(parts.signature[32:])
	s.Sub(p256().Params().N, s).FillBytes(parts.signature[32:])
	return string(parts.input) + "." + encode(parts.signature)
}

func TestVerdictsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	v := newVerdicts(most)
	keyOf := func(i int) verdictKey { return verdictKey{token: sha256.Sum256(fmt.Append(nil, i))} }
	hot := keyOf(-1)
	v.put(hot, &verdict{bytes: 2500})
	for i := range 100_000 {
		v.put(keyOf(i), &verdict{bytes: 2500})
		require.NotNil(t, v.get(hot), "what is used stays: %d", i)
	}
	held := 0
	for i := range v.shards {
		held += len(v.shards[i].young) + len(v.shards[i].old)
	}
	assert.LessOrEqual(t, held*2500, most)
	assert.Greater(t, held, most/2500/3, "and is used")
	assert.Nil(t, v.get(keyOf(0)))
	assert.NotNil(t, v.get(keyOf(99_999)))
}

// What a verdict is reckoned at must not be less than it takes.
func TestVerdictsTakeNoMoreThanTheyAreReckonedAt(t *testing.T) {
	for name, extra := range map[string]object{
		"small": nil,
		"usual": {
			"scope": "openid profile email", "azp": "web", "sid": "8f7c", "jti": "b7a1c119c13f4c51b4cd8fc2d68f7596", "name": "Alice Liddell",
			"preferred_username": "alice", "email": "alice@example.com", "email_verified": true, "groups": []string{"staff", "admins", "sales"},
			"realm_access":    object{"roles": []string{"offline_access", "uma_authorization", "default-roles-main"}},
			"resource_access": object{"account": object{"roles": []string{"manage-account", "view-profile"}}},
		},
		"many scopes":       {"scope": strings.Repeat("a ", 2000), "groups": strings.Split(strings.Repeat("g,", 100), ",")},
		"many small values": {"list": make([]int, 2000)},
	} {
		a := withSecret(t)
		const count = 300
		tokens, reckoned := make([]string, count), 0
		for i := range tokens {
			claims := object{"n": i}
			maps.Copy(claims, extra)
			tokens[i] = token("HS256", claims)
		}
		before := heap()
		for _, token := range tokens {
			who, err := a.Verify(t.Context(), authenticators.Credential{Value: authenticators.Secret(token)})
			require.NoError(t, err)
			reckoned += weigh(who, token)
		}
		taken := int(heap() - before)
		t.Logf("%s: %d bytes each, reckoned at %d", name, taken/count, reckoned/count)
		assert.Less(t, taken, reckoned, name)
		runtime.KeepAlive(a)
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
