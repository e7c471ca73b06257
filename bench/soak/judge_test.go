package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := now.Add
	alice, bob := identity{"remote-user": "alice"}, identity{"remote-user": "bob"}
	good := asked{sent: now, got: at(time.Millisecond), nonce: "n", good: true, caller: alice, bound: 3 * time.Second}
	with := func(change func(*asked)) asked {
		q := good
		change(&q)
		return q
	}
	bad := with(func(q *asked) { q.good, q.caller = false, nil })
	ok := answer{status: 200, nonce: "n", told: alice}
	for _, c := range []struct {
		name  string
		asked asked
		answer
		want outcome
		why  string
	}{
		{"the right caller", good, ok, through, ""},
		{"a socket", good, answer{status: 101, nonce: "n", told: alice}, through, ""},
		{"nobody, who may pass", with(func(q *asked) { q.caller = identity{} }), answer{status: 200, nonce: "n", told: identity{}}, through, ""},
		{"nobody is taken for somebody", with(func(q *asked) { q.caller = identity{} }), ok, wrong, "I2"},
		{"a bad credential passes", bad, ok, wrong, "I1"},
		{"a bad credential is refused", bad, answer{status: 401}, refused, ""},
		{"another caller", good, answer{status: 200, nonce: "n", told: bob}, wrong, "I2"},
		{"somebody is taken for nobody", good, answer{status: 200, nonce: "n", told: identity{}}, wrong, "I2"},
		{"a header too many", good, answer{status: 200, nonce: "n", told: identity{"remote-user": "alice", "x-remote-user": "mallory"}}, wrong, "I2"},
		{"the answer of another request", good, answer{status: 200, nonce: "m", told: alice}, wrong, "I2"},
		{"a credential reaches the upstream", good, answer{status: 200, nonce: "n", told: alice, spoilt: "x"}, wrong, "upstream"},
		{"refused, and nothing is out of order", good, answer{status: 401}, wrong, "I7"},
		{"refused for a fault", with(func(q *asked) { q.faulty = true }), answer{status: 401}, wrong, "I3"},
		{"unavailable in a fault", with(func(q *asked) { q.faulty = true }), answer{status: 503}, unavailable, ""},
		{"unavailable without", good, answer{status: 503}, late, "I6"},
		{"let through to nobody", good, answer{status: 502}, late, "502"},
		{"a bad credential let through to nobody", bad, answer{status: 502}, wrong, "status 502"},
		{"forbidden", good, answer{status: 403}, wrong, "status 403"},
		{"refused while it is revoked", with(func(q *asked) { q.revoking = now }), answer{status: 401}, refused, ""},
		{"refused before it is revoked", with(func(q *asked) { q.revoking = at(time.Second) }), answer{status: 401}, wrong, "I7"},
		{"accepted while it is revoked", with(func(q *asked) { q.revoking = at(-time.Hour) }), ok, through, ""},
		{"accepted within the bound", with(func(q *asked) { q.revoking, q.revoked = at(-3*time.Second), at(-3*time.Second) }), ok, through, ""},
		{"accepted beyond the bound", with(func(q *asked) { q.revoking, q.revoked = at(-4*time.Second), at(-3*time.Second-1) }), ok, wrong, "I4"},
		{"refused once it is revoked", with(func(q *asked) { q.revoking, q.revoked = at(-time.Hour), at(-time.Hour) }), answer{status: 401}, refused, ""},
		{"accepted until its end", with(func(q *asked) { q.expires = now }), ok, through, ""},
		{"accepted after its end", with(func(q *asked) { q.expires = at(-1) }), ok, wrong, "I4"},
		{"refused after its end", with(func(q *asked) { q.expires = at(time.Millisecond) }), answer{status: 401}, refused, ""},
		{"refused before its end", with(func(q *asked) { q.expires = at(time.Second) }), answer{status: 401}, wrong, "I7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, why := judge(c.asked, c.answer)
			assert.Equal(t, outcomeNames[c.want], outcomeNames[got])
			if c.why == "" {
				assert.Empty(t, why)
			}
			assert.Contains(t, why, c.why)
		})
	}
}

func TestOutagesExcuseOnlyWhatTheyAreOfAndNotForLong(t *testing.T) {
	t.Parallel()
	var o outages
	before := time.Now()
	end := o.begin("x", "one/store")
	assert.True(t, o.during("one/store", before, time.Now()))
	assert.False(t, o.during("two/store", before, time.Now()))
	assert.False(t, o.during("one/store", before.Add(-2), before.Add(-1)), "it had not begun")
	end()
	ended := time.Now()
	assert.True(t, o.during("one/store", ended.Add(recovery-time.Second), ended.Add(recovery)))
	assert.False(t, o.during("one/store", ended.Add(recovery), ended.Add(recovery+1)))
	o.note("one/store", ended.Add(time.Second), ended.Add(time.Second))
	assert.Equal(t, 1, o.list()[0].count)
	assert.InDelta(t, time.Second, o.list()[0].after, float64(100*time.Millisecond))
}

func TestEchoFoldsNamesAsServersBehindDo(t *testing.T) {
	t.Parallel()
	for name, ours := range map[string]bool{"Remote-User": true, "remote_user": true, "REMOTE.USER": true, "X_Forwarded_User": true, "X-Forwarded-For": false, "Accept": false} {
		assert.Equal(t, ours, isIdentity(fold(name)), name)
	}
}

func TestSlopeIsGrowthInAnHour(t *testing.T) {
	t.Parallel()
	x, y := []float64{0, 60, 120, 180}, []float64{10, 11, 12, 13}
	assert.InDelta(t, 60, slope(x, y), 1e-9)
	assert.InDelta(t, 0, slope(x, []float64{5, 5, 5, 5}), 1e-9)
	assert.Zero(t, slope(x[:1], y[:1]))
	assert.Zero(t, slope([]float64{1, 1}, []float64{1, 2}))
	assert.Len(t, secondHalf([]sample{{At: 0}, {At: 49}, {At: 50}, {At: 100}}), 2)
}
