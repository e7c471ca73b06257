package records

import (
	"crypto/rand"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/memstore"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestTokenIsFoundByItsSecret(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	secret, made, err := NewToken(t.Context(), s, Token{User: "alice", Label: "ci", Groups: []string{"g"}, Scopes: []string{"read"}}, time.Hour)
	require.NoError(t, err)
	assert.Regexp(t, `^ea_[0-9A-Za-z]{49}$`, secret)
	found, err := FindToken(t.Context(), s, secret)
	require.NoError(t, err)
	assert.Equal(t, made, found)
	assert.Equal(t, "alice", found.User)
	assert.Equal(t, "ci", found.Label)
	assert.Equal(t, found.Created.Add(time.Hour), found.Expires)
	assert.Equal(t, digest(secret)[:16], found.ID)

	forGood, made, err := NewToken(t.Context(), s, Token{User: "alice", Expires: time.Now().Add(-time.Hour)}, 0)
	require.NoError(t, err)
	assert.Zero(t, made.Expires)
	_, err = FindToken(t.Context(), s, forGood)
	require.NoError(t, err)
	_, _, err = NewToken(t.Context(), s, Token{User: "alice"}, -time.Second)
	require.Error(t, err)
}

func TestT11StoreHoldsNoCredential(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	token, _, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	session, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	keys, err := s.List(t.Context(), "of:alice")
	require.NoError(t, err)
	require.Len(t, keys, 2, "baseline: both are there")
	for _, key := range keys {
		record, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		for _, secret := range []string{token, session, token[3:46]} {
			assert.NotContains(t, key+string(record.Value), secret)
		}
		_, digest, _ := strings.Cut(key, ":")
		assert.NotContains(t, string(record.Value), digest, "a list of records names no key")
		_, err = FindToken(t.Context(), s, digest)
		require.ErrorIs(t, err, store.ErrNotFound, "a digest opens nothing")
		_, err = FindSession(t.Context(), s, digest)
		require.ErrorIs(t, err, store.ErrNotFound)
	}
}

func TestT01T03T21MistypedTokenIsToldWithoutALookUp(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	secret, _, err := NewToken(t.Context(), s, Token{User: "alice"}, 0)
	require.NoError(t, err)
	wrong := []string{"", secret + "a", secret + "\n", " " + secret[1:] + strings.Repeat("a", 600), strings.Repeat("a", 513), "null", "undefined", strings.Repeat("a", 19), strings.Repeat("a", 39) + "\n"}
	for i := range len(secret) {
		if i >= len("ea_") {
			wrong = append(wrong, secret[:i])
		}
		flipped := []byte(secret)
		flipped[i] ^= 1
		if strings.HasPrefix(string(flipped), "ea_") {
			wrong = append(wrong, string(flipped))
		}
	}
	require.Greater(t, len(wrong), 90)
	for _, text := range wrong {
		_, err := FindToken(t.Context(), s, text)
		require.ErrorIs(t, err, ErrMalformed, "%q", text)
	}
	require.Zero(t, s.Reads)
	for _, foreign := range []string{"9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", strings.ToUpper(secret), "Ea_" + strings.Repeat("x", 17), strings.Repeat("a", 512)} {
		_, err := FindToken(t.Context(), s, foreign)
		require.ErrorIs(t, err, store.ErrNotFound)
	}
	assert.Equal(t, 4, s.Reads)
}

func TestT33TokenEndsByItsFieldThoughTheRecordLives(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	s.Now = func() time.Time { return time.Now().Add(-24 * time.Hour) } // a store that doesn't sweep
	secret := newTestToken()
	require.NoError(t, put(t.Context(), s, tokenKey+digest(secret), Token{User: "alice", Expires: time.Now().Add(-time.Millisecond)}, time.Hour))
	_, err := FindToken(t.Context(), s, secret)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestT34TokenIsRevokedByWhatListsShow(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	secrets := make([]string, 3)
	tokens := make([]Token, 3)
	for i, user := range []string{"alice", "alice", "bob"} {
		var err error
		secrets[i], tokens[i], err = NewToken(t.Context(), s, Token{User: user}, 0)
		require.NoError(t, err)
	}
	_, err := NewSession(t.Context(), s, Session{User: "alice"}, time.Hour)
	require.NoError(t, err)
	alices, err := ListTokens(t.Context(), s, TokenFilter{User: "alice"})
	require.NoError(t, err)
	assert.ElementsMatch(t, tokens[:2], alices)
	all, err := ListTokens(t.Context(), s, TokenFilter{User: ""})
	require.NoError(t, err)
	assert.ElementsMatch(t, tokens, all)

	require.NoError(t, RevokeToken(t.Context(), s, tokens[0].ID))
	require.NoError(t, RevokeToken(t.Context(), s, digest(secrets[2])))
	for i, found := range []bool{false, true, false} {
		_, err := FindToken(t.Context(), s, secrets[i])
		assert.Equal(t, found, err == nil, i)
	}
	for _, id := range []string{"", tokens[1].ID[:7], tokens[0].ID, strings.Repeat("0", 16), "*", tokens[1].ID + "*"} {
		require.ErrorIs(t, RevokeToken(t.Context(), s, id), store.ErrNotFound, "%q", id)
	}
	_, err = FindToken(t.Context(), s, secrets[1])
	require.NoError(t, err)
}

func TestTwoTokensThatListsShowAlikeAreNotRevokedByAccident(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for _, end := range []string{"a", "b"} {
		require.NoError(t, put(t.Context(), s, tokenKey+strings.Repeat("0", 63)+end, Token{User: "alice"}, 0, tokensList))
	}
	err := RevokeToken(t.Context(), s, strings.Repeat("0", 16))
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrNotFound)
	require.NoError(t, RevokeToken(t.Context(), s, strings.Repeat("0", 63)+"a"))
	keys, err := s.List(t.Context(), tokensList)
	require.NoError(t, err)
	assert.Equal(t, []string{tokenKey + strings.Repeat("0", 63) + "b"}, keys)
}

func TestD46RecordThatCannotBeReadIsNeverNotFound(t *testing.T) {
	t.Parallel()
	token, session := newTestToken(), strings.Repeat("A", 43)
	for name, record := range map[string]string{
		"empty":      ``,
		"null":       `null`,
		"no user":    `{"expires":"2999-01-01T00:00:00Z","hash":""}`,
		"bad user":   `{"user":"a\n","expires":"2999-01-01T00:00:00Z","hash":7}`,
		"cut":        `{"user":"alice"`,
		"bad time":   `{"user":"alice","expires":7,"hash":[]}`,
		"later form": `{"v":2,"user":"alice","expires":"2999-01-01T00:00:00Z","hash":"h"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memstore.New()
			for _, key := range []string{tokenKey + digest(token), sessionKey + digest(session), passwordKey + "alice"} {
				require.NoError(t, s.Put(t.Context(), key, []byte(record), 0))
			}
			_, tokenErr := FindToken(t.Context(), s, token)
			_, sessionErr := FindSession(t.Context(), s, session)
			_, passwordErr := PasswordHash(t.Context(), s, "alice")
			for _, err := range []error{tokenErr, sessionErr, passwordErr} {
				require.ErrorContains(t, err, "reading record ")
				require.NotErrorIs(t, err, store.ErrNotFound)
				assert.NotContains(t, err.Error(), digest(token))
				assert.NotContains(t, err.Error(), digest(session))
			}
		})
	}
}

func TestT20TokenTextHoldsAllRandomBits(t *testing.T) {
	t.Parallel()
	highest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	lowest, next := base62(new(big.Int)), base62(big.NewInt(1))
	assert.Equal(t, strings.Repeat("0", 43), lowest)
	assert.Equal(t, strings.Repeat("0", 42)+"1", next)
	text := base62(new(big.Int).Set(highest))
	back := new(big.Int)
	for _, c := range text {
		back.Mul(back, big.NewInt(62))
		back.Add(back, big.NewInt(int64(strings.IndexRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c))))
	}
	assert.Equal(t, highest, back)

	seen := make(map[string]bool)
	for range 10_000 {
		text := newTestToken()
		require.NoError(t, checkTokenText(text))
		seen[text] = true
	}
	assert.Len(t, seen, 10_000)
}

// A text that passes for a token of ours is one, and no other text is long.
func FuzzTokenText(f *testing.F) {
	for _, seed := range []string{"", "ea_", newTestToken(), newTestToken()[:51], "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", "ea_\xff", strings.Repeat("ea_", 17) + "e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := checkTokenText(text)
		if own := strings.HasPrefix(text, "ea_"); own && err == nil {
			require.Len(t, text, 52)
			require.Equal(t, text[46:], checksum(text[:46]))
		} else if !own {
			plain := strings.Trim(text, "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") == ""
			if err == nil {
				require.True(t, plain && len(text) >= 20 && len(text) <= 512)
			}
		}
	})
}

// newTestToken is the text of a token that nobody has.
func newTestToken() string {
	var random [32]byte
	_, _ = rand.Read(random[:])
	return tokenText(random[:])
}
