package attacks

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/integration/harness"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// What is almost a token is none.
func TestFormsOfTokens(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	redis := redistest.Start(t)
	s := newCredentialSite(t, "edge_auth {\n store redis "+redis.URL()+"\n}", "token", "")
	s.own("alice")
	good := s.known["alice.token"]
	sum := sha256.Sum256([]byte(good))
	digest := hex.EncodeToString(sum[:])
	header := func(token string) []string { return []string{"Authorization: Token " + token} }
	upper := strings.ToUpper(good)
	if upper == good {
		upper = strings.ToLower(good)
	}
	rows := []credentialRow{ //nolint:prealloc // a table
		{name: "T03 baseline", headers: header(good), want: "alice"},
		{name: "T02 its digest", headers: header(digest), want: isRejected},
		{name: "T02 its digest, upper case", headers: header(strings.ToUpper(digest)), want: isRejected},
		{name: "T02 its key in the store", headers: header("edge_auth:token:" + digest), want: isRejected},
		{name: "T02 its key", headers: header("token:" + digest), want: isRejected},
		{name: "T03 another case", headers: header(upper), want: isRejected},
		{name: "T03 one more", headers: header(good + "0"), want: isRejected},
		{name: "T03 one less", headers: header(good[:len(good)-1]), want: isRejected},
		{name: "T03 without its beginning", headers: header(good[3:]), want: isRejected},
		{name: "T03 percent-encoded", headers: header("%65" + good[1:]), want: isRejected},
		{name: "T03 line end", headers: header(good + "\n"), want: isMalformed, doors: []string{"h2", "h3"}},
		{name: "T21 checksum wrong", headers: header(good[:len(good)-1] + "~"), want: isRejected},
	}
	for _, word := range []string{"null", "undefined", "0", "[object Object]", "false", "None", "nil", "NaN", `""`} {
		rows = append(rows, credentialRow{name: "T01 " + word, headers: header(word), want: isRejected})
	}
	rows = append(rows, credentialRow{name: "T01 empty", headers: header(""), want: isRejected}, credentialRow{name: "T01 blank", headers: header(" "), want: isRejected})
	s.run(t, rows)
}

// The right beginning gets the same answer as a wrong one, for the same work.
func TestT12BeginningOfATokenTellsNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := newCredentialSite(t, "edge_auth {\n store redis "+redis.URL()+" {\n cache off\n}\n}", "token {\n key tok:{token}\n }", "")
	redis.Do(t, "SET", "tok:abcdefghijklmnopqrstuvwxyz", `{"user":"alice"}`)
	ask := func(token string) (harness.Answer, int) {
		before := getRanges(t, redis)
		a, err := harness.Doors[0].Ask(t, s.g, harness.Request{Path: "/guarded/x", Headers: []string{"Authorization: Token " + token}})
		require.NoError(t, err)
		return a, getRanges(t, redis) - before
	}
	a, _ := ask("abcdefghijklmnopqrstuvwxyz")
	require.Equal(t, 200, a.Status, "the baseline")
	s.up.Taken()
	right, rightReads := ask("abcdefghijklmnopqrstuvwxyA")
	wrong, wrongReads := ask("zzzzzzzzzzzzzzzzzzzzzzzzzz")
	for _, a := range []harness.Answer{right, wrong} {
		assert.Equal(t, http.StatusUnauthorized, a.Status)
		a.Header.Del(authenticators.RequestIDHeader)
		a.Header.Del("Date")
	}
	assert.Equal(t, wrong.Body, right.Body)
	assert.Equal(t, wrong.Header, right.Header)
	assert.Equal(t, wrongReads, rightReads)
	assert.Equal(t, 1, rightReads)
}

// getRanges is how many records Redis has been asked for.
func getRanges(t *testing.T, redis *redistest.Server) int {
	t.Helper()
	_, after, _ := strings.Cut(redis.Do(t, "INFO", "commandstats"), "cmdstat_getrange:calls=")
	count, _, _ := strings.Cut(after, ",")
	n := 0
	for _, digit := range count {
		n = 10*n + int(digit-'0')
	}
	return n
}

// What lies in the store opens nothing.
func TestT11StoresHoldNoCredential(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for name, store := range map[string]string{"redis": "store redis " + redis.URL(), "embedded": "store embedded $DIR/edge_auth.db"} {
		t.Run("T11 "+name, func(t *testing.T) {
			t.Parallel()
			s := newCredentialSite(t, "edge_auth {\n"+store+"\n}", ownPolicy, "")
			s.own("alice")
			var dump string
			if name == "redis" {
				for key := range strings.SplitSeq(redis.Do(t, "KEYS", "*"), "\n") {
					dump += key
					if redis.Do(t, "TYPE", key) == "string" {
						dump += redis.Do(t, "GET", key)
					}
				}
			} else {
				data, err := os.ReadFile(s.g.Dir + "/edge_auth.db")
				require.NoError(t, err)
				dump = string(data)
			}
			require.Contains(t, dump, "alice", "the baseline")
			for what, secret := range s.known {
				assert.NotContains(t, dump, secret, what)
				assert.NotContains(t, dump, secret[8:], what)
			}
			assert.NotContains(t, dump, "correct horse")
		})
	}
}
