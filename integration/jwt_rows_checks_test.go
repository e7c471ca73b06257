package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// seconds is a time as a token has it, with a fraction.
func seconds(at time.Time) string { return fmt.Sprintf("%.3f", float64(at.UnixMilli())/1000) }

// checkEdgesOfTime is J41: around the end of a token. Its tokens are made when
// they are sent.
func checkEdgesOfTime(r *jwtRows, t testing.TB) {
	for _, row := range []struct {
		name, site string
		ends       time.Duration // from now
		want       outcome
	}{
		{"J41 now+5s", "/a", 5 * time.Second, accepted("alice")},
		{"J41 now", "/a", 0, refused("expired")},
		{"J41 now-leeway-1s", "/leeway", -11 * time.Second, refused("expired")},
		{"J41 now-leeway", "/leeway", -10 * time.Second, refused("expired")},
		{"J41 now-leeway+5s", "/leeway", -5 * time.Second, accepted("alice")},
		{"J41 now, with a leeway", "/leeway", 0, accepted("alice")},
	} {
		claims := rowClaims("exp", seconds(time.Now().Add(row.ends)), "iat", "")
		r.check(t, jwtRow{name: row.name, site: row.site, token: jws(headEd, claims, signEd(r.keys.ed)), want: row.want})
	}
}

// checkClocksApart is J79: the issuer's clock is ten minutes off, with tokens
// that live for five.
func checkClocksApart(r *jwtRows, t testing.TB) {
	for site, leeway := range map[string]string{"/a": "", "/leeway": " with a leeway"} {
		now := time.Now()
		ahead, behind := now.Add(10*time.Minute), now.Add(-10*time.Minute)
		of := func(at time.Time) []string {
			return []string{"iat", seconds(at), "nbf", seconds(at), "exp", seconds(at.Add(5 * time.Minute))}
		}
		r.check(t, jwtRow{name: "J79 ahead" + leeway, site: site, token: r.ed(of(ahead)...), want: refused("is in the future: are the clocks right?")})
		r.check(t, jwtRow{name: "J79 ahead, iat only" + leeway, site: site, token: r.ed(append(of(ahead), "nbf", "")...), want: refused("iat is in the future: are the clocks right?")})
		r.check(t, jwtRow{name: "J79 ahead, nbf only" + leeway, site: site, token: r.ed(append(of(ahead), "iat", "")...), want: refused("nbf is in the future: are the clocks right?")})
		r.check(t, jwtRow{name: "J79 behind" + leeway, site: site, token: r.ed(of(behind)...), want: refused("expired")})
	}
}

// checkExpiryEndsVerdict is J78: what was accepted, and is remembered, ends
// with the token, and not when it would be forgotten.
func checkExpiryEndsVerdict(r *jwtRows, t testing.TB) {
	ends := time.Now().Add(1500 * time.Millisecond).Truncate(time.Millisecond)
	token := r.ed("exp", seconds(ends), "iat", "")
	r.note(token)
	seen := 0
	harness.Eventually(t, 20*time.Second, func() bool {
		began := time.Now()
		a, err := r.line.send("/a", "Authorization: Bearer "+token)
		require.NoError(t, err)
		if a.Status == http.StatusOK {
			require.True(t, began.Before(ends), "J78 accepted %v after its end", began.Sub(ends))
			seen++
			return false
		}
		require.False(t, time.Now().Before(ends), "J78 refused before its end: %s", a.Body)
		assert.Equal(t, http.StatusUnauthorized, a.Status)
		assert.Contains(t, a.Body, "Token is expired")
		return true
	}, "J78 the token never ends")
	assert.Greater(t, seen, 1, "J78 seen before")
	assert.Len(t, r.up.Taken(), seen)
	assert.Contains(t, r.refusals(t, 1)[0].Error, "expired")
}

// checkRevocation is the end of J06: a revocation holds for a token however its
// signature is spelled.
func checkRevocation(r *jwtRows, t testing.TB) {
	for name, claims := range map[string]string{"with jti": rowClaims("jti", `"one"`), "without jti": rowClaims()} {
		first := jws(headES, claims, signEC(r.keys.es))
		second := otherSpelling(t, r, first)
		other := jws(headES, rowClaims("jti", `"two"`), signEC(r.keys.es))
		for _, token := range []string{first, first, second} {
			r.check(t, jwtRow{name: "J06 before, " + name, site: "/revoked", token: token, want: accepted("alice")})
		}
		r.EdgeAuth(first, "jwt", "revoke")
		revoked := refusedSaying("revoked", "Token is blacklisted")
		r.check(t, jwtRow{name: "J06 revoked, " + name, site: "/revoked", token: first, want: revoked})
		r.check(t, jwtRow{name: "J06 revoked, other spelling, " + name, site: "/revoked", token: second, want: revoked})
		r.check(t, jwtRow{name: "J06 revoked, padded, " + name, site: "/revoked", token: second + "=", want: refused("not canonical base64url")})
		// The same claims signed again are the same token only by their jti.
		again := jws(headES, claims+" ", signEC(r.keys.es))
		want := accepted("alice")
		if name == "with jti" {
			want = revoked
		}
		r.check(t, jwtRow{name: "J06 revoked, signed anew, " + name, site: "/revoked", token: again, want: want})
		r.check(t, jwtRow{name: "J06 another token, " + name, site: "/revoked", token: other, want: accepted("alice")})
		r.check(t, jwtRow{name: "J06 where nobody asks, " + name, site: "/a", token: second, want: accepted("alice")})
	}
}

// flood sends tokens from several goroutines, and holds each answer to what is
// wanted. It returns why they were refused, with how often.
func (r *jwtRows) flood(t testing.TB, name, site string, tokens []string) map[string]int {
	t.Helper()
	const senders = 4
	judged := make([]int, senders) // how many got an answer of ours
	var wg sync.WaitGroup
	for sender := range senders {
		line := newWire(t, r.Gateway)
		wg.Go(func() {
			for i := sender; i < len(tokens); i += senders {
				a, err := line.send(site, "Authorization: Bearer "+tokens[i])
				if err != nil {
					assert.Fail(t, name, err)
					return
				}
				if strings.Contains(a.Body, `"code":`) {
					judged[sender]++
				}
				ours := a.Status == http.StatusUnauthorized && strings.Contains(a.Header.Get("WWW-Authenticate"), "error=")
				assert.True(t, ours || a.Status == http.StatusBadRequest, "%s: %d for token %d %q", name, a.Status, i, tokens[i])
			}
		})
	}
	wg.Wait()
	assert.Empty(t, r.up.Taken(), name)
	n := 0
	for _, count := range judged {
		n += count
	}
	why := make(map[string]int)
	for _, line := range r.refusals(t, n) {
		why[line.Error]++
	}
	return why
}

// checkMutants is J75: tokens with a bit flipped, and splices of two. Since each
// token has one spelling, nobody who has no key can make another one of it.
func checkMutants(r *jwtRows, t testing.TB) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("J75 seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 75))
	originals := []string{
		r.ed(), r.ed("sub", `"bob"`), jws(headES, rowClaims(), signEC(r.keys.es)), jws(headES, rowClaims("sub", `"bob"`), signEC(r.keys.es)),
		jws(headRS, rowClaims(), signRSA(r.keys.rsa)), jws(headRS, rowClaims("sub", `"bob"`), signRSA(r.keys.rsa)),
	}
	good := make(map[string]bool)
	for _, token := range originals {
		good[token] = true
		r.check(t, jwtRow{name: "J75 unchanged", site: "/open", token: token, want: accepted(map[bool]string{true: "alice", false: "bob"}[!strings.Contains(string(decoded(t, strings.Split(token, ".")[1])), "bob")])})
	}
	const count = 2000
	mutants := make([]string, 0, count)
	for len(mutants) < count {
		one, two := originals[random.IntN(len(originals))], originals[random.IntN(len(originals))]
		var mutant string
		switch random.IntN(4) {
		case 0: // a bit
			data := []byte(one)
			data[random.IntN(len(data))] ^= 1 << random.IntN(8)
			mutant = string(data)
		case 1: // a bit of what the text stands for
			parts := strings.Split(one, ".")
			i := random.IntN(3)
			data := decoded(t, parts[i])
			data[random.IntN(len(data))] ^= 1 << random.IntN(8)
			parts[i] = b64(data)
			mutant = strings.Join(parts, ".")
		case 2: // parts of both
			parts, others := strings.Split(one, "."), strings.Split(two, ".")
			for i := range parts {
				if random.IntN(2) == 0 {
					parts[i] = others[i]
				}
			}
			mutant = strings.Join(parts, ".")
		case 3: // the beginning of one and the end of the other
			mutant = one[:random.IntN(len(one))] + two[random.IntN(len(two)):]
		}
		if trimmed := strings.Trim(mutant, " \t"); trimmed != "" && !good[trimmed] && !strings.ContainsAny(mutant, "\r\n") {
			mutants = append(mutants, mutant)
		}
	}
	for _, mutant := range mutants[:100] {
		r.note(mutant)
	}
	why := r.flood(t, "J75", "/open", mutants)
	t.Logf("J75: %v", why)
	assert.Greater(t, len(why), 4, "several checks were reached")
	assert.NotZero(t, why["token_not_valid: signature does not fit"])
}

// checkRepeats is J80: one bad token over and over, and many different ones.
func checkRepeats(r *jwtRows, t testing.TB) {
	fetched := r.idp.times("/a")
	began := time.Now()
	bad := jws(headES, rowClaims("sub", `"admin"`), signEC(r.keys.mallory))
	same := make([]string, 1000)
	for i := range same {
		same[i] = bad
	}
	r.note(bad)
	assert.Equal(t, map[string]int{"token_not_valid: signature does not fit": 1000}, r.flood(t, "J80 the same", "/a", same))

	unknown := make([]string, 1000)
	for i := range unknown {
		unknown[i] = jws(fmt.Sprintf(`{"alg":"EdDSA","kid":"%s-%d"}`, mark, i), rowClaims(), signEd(r.keys.ed))
	}
	assert.Equal(t, map[string]int{"token_not_valid: no key fits, for algorithm EdDSA": 1000}, r.flood(t, "J80 unknown kids", "/a", unknown))
	assert.LessOrEqual(t, r.idp.times("/a")-fetched, 1+int(time.Since(began)/(30*time.Second)), "fetches for unknown kids")
	r.check(t, jwtRow{name: "J80 a good one after", site: "/a", token: r.ed(), want: accepted("alice")})
}

// checkWarnings is what the log says at load and of key sets: J34, J52.
func checkWarnings(r *jwtRows, t testing.TB) {
	for _, issuer := range []string{issuerA, "joe"} { // of /open and /rfc, and of no other
		said := slices.DeleteFunc(r.Log.Lines("no audience is demanded"), func(line string) bool { return !strings.Contains(line, `["`+issuer+`"]`) })
		assert.Len(t, said, 1, "J52 one warning of %s", issuer)
	}
	for _, kid := range []string{"rsa1024", "e1", "e2", "e3", "roca", "off", "enc", "ops", "x25519", "later", "es384 for ES256"} {
		said := r.Log.Lines(`key \"` + kid + `\"`)
		if assert.Len(t, said, 1, "J34 one warning of key %s", kid) {
			assert.Contains(t, said[0], `"level":"warn"`)
		}
	}
	for _, kid := range []string{"rs", "any", "es", "ed", "es384"} {
		assert.Empty(t, r.Log.Lines(`key \"`+kid+`\"`), "nothing is wrong with key %s", kid)
	}
}

// checkNetwork is the end of J31, J32 and J60: no token led anywhere, and what
// it called its key led to no more fetches than one in 30 seconds.
func checkNetwork(r *jwtRows, t testing.TB) {
	assert.Zero(t, r.idp.times("/mallory"), "J31 an address in a token was asked")
	assert.Zero(t, r.idp.times("/mallory/.well-known/openid-configuration"), "J60 an issuer that nobody trusts was asked")
	most := 2 + int(time.Since(r.started)/(30*time.Second))
	for _, set := range []string{"/a", "/b", "/fresh", "/one", "/weak"} {
		assert.LessOrEqual(t, r.idp.times(set), most, "J32 fetches of %s", set)
		assert.NotZero(t, r.idp.times(set), set)
	}
}
